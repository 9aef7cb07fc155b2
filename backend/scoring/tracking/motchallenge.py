"""MOTChallenge text files: boxes with identities, one row each, sequence by sequence.

A row is ``frame,id,x,y,w,h[,score[,class[,...]]]``: frames count from 1, boxes are left, top,
width and height in pixels. In ground truth the seventh number is a mark, and 0 drops the row.
The eighth is the class, -1 for unknown. The 2015 format has world coordinates there instead:
a file of ten columns in which that number is not whole names no classes.

trackeval answers a wrong row with a traceback, a wrong number or a class that silently
vanishes, so each row is checked here; an error names the file and the line.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.core.wording import some
from backend.scoring.tracking.seqinfo import FILE, read_seqinfo

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNKNOWN = -1
"""The class of a row that names none."""

_LARGEST = 1e9  # pixels; the area of a box stays a finite number
_EXACT = 2.0**53  # from here on, different ids may be one float
_WORLD_COLUMNS = 10
_BOX, _MARK, _CLASS = slice(2, 6), 6, 7
_LAYOUT = "expected frame,id,x,y,w,h[,score[,class]]"


@dataclass(frozen=True)
class Tracks:
    """Boxes with identities, one row each: ``boxes`` is (rows, 4), the others (rows,).

    ``classes`` holds class ids, ``UNKNOWN`` where none is given. ``source`` and ``lines`` say
    in errors where a row comes from.
    """

    frames: Ints
    ids: Ints
    boxes: Floats
    classes: Ints
    source: str = "rows"
    lines: Ints | None = None

    def where(self, row: int) -> str:
        """File and line of a row; its number, for rows from memory."""
        return _where(self.source, self.lines, row)

    def only(self, rows: Bools) -> "Tracks":
        """Some of the rows."""
        lines = None if self.lines is None else self.lines[rows]
        return Tracks(
            self.frames[rows], self.ids[rows], self.boxes[rows], self.classes[rows],
            self.source, lines,
        )  # fmt: skip


@dataclass(frozen=True)
class Sequence:
    """One sequence under one tracker; ``length`` in frames, None: not known."""

    name: str
    length: int | None
    truth: Tracks
    predictions: Tracks


def tracks(
    table: Floats, source: str = "rows", *, truth: bool = False, lines: Ints | None = None
) -> Tracks:
    """MOT rows as numbers, (rows, at least 6 columns), as tracks; ``truth``: drop those of mark 0.

    Raises DataError for what is not finite, frames below 1, ids or classes that are not whole
    numbers from 0 (class: or -1), and boxes of negative size.
    """
    if table.ndim != 2 or table.shape[1] <= _BOX.stop - 1:
        raise DataError(f"{source}: {_LAYOUT}, but its shape is {table.shape}")
    if truth and table.shape[1] > _MARK:
        kept = table[:, _MARK] != 0
        lines = np.flatnonzero(kept) + 1 if lines is None else lines[kept]
        table = table[kept]

    def refuse(bad: Bools, why: Callable[[Floats], str]) -> None:
        if bad.any():
            row = int(bad.argmax())
            raise DataError(f"{_where(source, lines, row)}: {why(table[row])}")

    frames, ids, boxes = table[:, 0], table[:, 1], table[:, _BOX]
    refuse(~_whole(frames, 1), lambda row: f"frame {row[0]:g}; frames are whole numbers from 1")
    refuse(
        ~_whole(ids, 0),
        lambda row: (
            f"id {row[1]:g}; an identity is a whole number from 0 (detections without "
            "identities cannot be scored as tracks)"
        ),
    )
    refuse(
        np.any(~(np.abs(boxes) < _LARGEST), axis=1),
        lambda row: f"box {_text(row[_BOX])} is not made of finite numbers of pixels",
    )
    refuse(
        np.any(boxes[:, 2:] < 0, axis=1),
        lambda row: f"box {_text(row[_BOX])} has a negative size; expected x,y,w,h",
    )
    classes = _classes(table)
    refuse(
        ~_whole(classes, UNKNOWN),
        lambda row: f"class {row[_CLASS]:g}; a class is a whole number from 0, or -1 for unknown",
    )
    return Tracks(
        frames=frames.astype(np.int64),
        ids=ids.astype(np.int64),
        boxes=np.ascontiguousarray(boxes),
        classes=classes.astype(np.int64),
        source=source,
        lines=lines,
    )


def read_tracks(path: Path, *, truth: bool = False) -> Tracks:
    """The rows of one file as tracks; an empty file has none.

    Raises DataError as ``tracks`` and ``read_table`` do.
    """
    table, lines = read_table(path)
    return tracks(table, str(path), truth=truth, lines=lines)


def read_table(path: Path) -> tuple[Floats, Ints]:
    """The numbers of a file, (rows, columns), and the line of each row.

    Commas or blanks part them. Raises DataError for a file that cannot be read as numbers.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file (UTF-8); {_LAYOUT}") from None
    except (OSError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def read_sequences(
    ground_truth: Path, predictions: Path
) -> tuple[tuple[Sequence, ...], tuple[str, ...]]:
    """All sequences of a ground truth with one tracker's files, sorted by name, and warnings.

    ``ground_truth`` is a folder of sequences (``<name>/gt/gt.txt`` beside ``seqinfo.ini``), a
    folder above one, a single sequence, or its ``gt.txt``; ``predictions`` a folder of
    ``<name>.txt`` or ``data/<name>.txt``, or one file for a single sequence. Raises DataError
    for missing files and for rows that ``tracks`` refuses.
    """
    found, warnings = _truth_files(ground_truth)
    files = _prediction_files(predictions, list(found), warnings)
    lengths = {name: _length(path) for name, path in found.items()}
    unknown = [name for name, length in lengths.items() if length is None]
    if unknown:
        warnings.append(f"Rows beyond the end go unnoticed without seqinfo.ini: {some(unknown)}.")
    sequences = tuple(
        Sequence(name, lengths[name], read_tracks(path, truth=True), read_tracks(files[name]))
        for name, path in found.items()
    )
    return sequences, tuple(warnings)


def _where(source: str, lines: Ints | None, row: int) -> str:
    return f"{source}, row {row + 1}" if lines is None else f"{source}, line {lines[row]}"


def _whole(values: Floats, least: int) -> Bools:
    whole: Bools = (values >= least) & (values < _EXACT) & (values == np.floor(values))
    return whole


def _text(box: Floats) -> str:
    return ",".join(f"{value:g}" for value in box)


def _classes(table: Floats) -> Floats:
    rows, columns = table.shape
    unknown = np.full(rows, float(UNKNOWN))
    if columns <= _CLASS:
        return unknown
    classes = table[:, _CLASS]
    if np.isnan(classes).all():  # a comma at the end of each row
        return unknown
    fractions = np.isfinite(classes) & (classes != np.floor(classes))
    return unknown if columns >= _WORLD_COLUMNS and fractions.any() else classes


def _read(path: Path) -> tuple[Floats, Ints]:
    """The numbers of a file and the line of each row."""
    with path.open(encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
    if not first:
        return np.empty((0, _BOX.stop)), np.empty(0, dtype=np.int64)
    comma = "," in first
    columns = min(len(first.split("," if comma else None)), _WORLD_COLUMNS)
    if columns < _BOX.stop:
        raise DataError(f"{path}: {_LAYOUT}, but its first row is {first.strip()[:60]!r}")
    try:
        table = pd.read_csv(
            path,
            header=None,
            sep="," if comma else r"\s+",
            usecols=range(columns),
            dtype=np.float64,
            encoding="utf-8-sig",
            skip_blank_lines=False,  # so that rows are lines
            quoting=csv.QUOTE_NONE,
        ).to_numpy()
    except UnicodeDecodeError:
        raise
    except ValueError:
        table = _read_slowly(path, "," if comma else None, columns)
    filled = ~np.isnan(table).all(axis=1)
    return table if filled.all() else table[filled], np.flatnonzero(filled) + 1


def _read_slowly(path: Path, separator: str | None, columns: int) -> Floats:
    """Line by line, to name the line that is wrong."""
    rows = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            cells = line.strip().split(separator)[:columns] if line.strip() else []
            try:
                values = [float(cell) if cell.strip() else np.nan for cell in cells]
            except ValueError:
                raise DataError(
                    f"{path}, line {number}: {line.strip()[:60]!r} is not a row of numbers; "
                    f"{_LAYOUT}"
                ) from None
            rows.append(values + [np.nan] * (columns - len(values)))
    return np.array(rows, dtype=np.float64)


def _truth_files(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The ``gt.txt`` of each sequence, by name, and warnings."""
    if root.is_file():
        return {_name_of(root): root}, []
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of ground truth")
    if (root / "gt" / "gt.txt").is_file():
        return {root.resolve().name: root / "gt" / "gt.txt"}, []
    folders = _sequence_folders(root)
    if not folders:
        splits = {path.name: _sequence_folders(path) for path in root.iterdir() if path.is_dir()}
        splits = {name: found for name, found in splits.items() if found}
        if len(splits) > 1:
            raise DataError(f"{root}: has sequences in {some(sorted(splits))}; name one")
        folders = next(iter(splits.values()), [])
    if not folders:
        raise DataError(
            f"{root}: no ground truth found; expected <sequence>/gt/gt.txt, as MOTChallenge has it"
        )
    bare = sorted(
        path.parent.name
        for path in folders[0].parent.glob("*/seqinfo.ini")
        if path.parent not in folders
    )
    warnings = [f"Left out, for want of gt/gt.txt: {some(bare)}."] if bare else []
    return {folder.name: folder / "gt" / "gt.txt" for folder in folders}, warnings


def _sequence_folders(root: Path) -> list[Path]:
    return sorted(path.parent.parent for path in root.glob("*/gt/gt.txt"))


def _name_of(file: Path) -> str:
    """A sequence's name, from its folder where the file lies in ``<sequence>/gt``."""
    return file.resolve().parent.parent.name if file.parent.name == "gt" else file.stem


def _prediction_files(root: Path, names: list[str], warnings: list[str]) -> dict[str, Path]:
    if root.is_file():
        if len(names) > 1:
            raise DataError(
                f"{root}: one file for {len(names)} sequences; give the folder with "
                f"{names[0]}.txt and the others"
            )
        return {names[0]: root}
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder of predictions")
    folder = root
    if not any((root / f"{name}.txt").is_file() for name in names) and (root / "data").is_dir():
        folder = root / "data"
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{folder}: no predictions for {some(missing)}; expected {missing[0]}.txt, empty "
            "if nothing was tracked"
        )
    others = [name for name in files if name not in names]
    if others:
        warnings.append(f"Predictions without ground truth, not scored: {some(others)}.")
    return files


def _length(truth_file: Path) -> int | None:
    """Frames of a sequence, from its ``seqinfo.ini``; None if there is none."""
    folder = truth_file.parent.parent if truth_file.parent.name == "gt" else truth_file.parent
    path = folder / FILE
    if not path.is_file():
        return None
    length = read_seqinfo(path).whole("seqLength", "frames")
    if length is None:
        raise DataError(f"{path}: no usable seqLength in [Sequence] (it has none)")
    return length
