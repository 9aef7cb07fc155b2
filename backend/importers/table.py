"""A table of epochs: comma, semicolon or tab, percent signs, holes, several files."""

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.core.errors import DataError
from backend.importers.keys import Keys
from backend.importers.reading import is_percent, modified, number, read_text, whole
from backend.importers.settings import CHANGES, is_settings, read_settings
from backend.importers.source import Asked, Found, Point

EPOCHS = frozenset({"epoch", "epochs", "ep", "轮次", "轮", "轮数", "周期", "训练轮次"})
STEPS = frozenset({"step", "steps", "iter", "iteration", "globalstep", "步数", "步", "迭代"})
ONE_EPOCH = re.compile(
    r"(?:epoch|轮次|第)\s*(\d+)\s*(?:轮|期)?\s*(?:[(（].*[)）])?", re.IGNORECASE
)
A_COUNT = re.compile(r"(?:epoch|第)?\s*(\d+(?:\.\d+)?)\s*轮?", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """Which columns count, where their names do not tell."""

    epoch: str = ""
    step: str = ""


@dataclass(frozen=True)
class Grid:
    """The cells of one file, stripped; ``rows`` with the number of their line."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    decimal_comma: bool

    def cell(self, line: int, name: str, text: str) -> float | None:
        """A measured value, None for an empty cell. Raises DataError naming line and column."""
        try:
            return number(text, self.decimal_comma)
        except ValueError:
            raise DataError(
                f"{self.path}, line {line}, column '{name}': '{text}' is no number; write one, or "
                "leave the cell empty if nothing was measured"
            ) from None


class Merged:
    """Values by step and key, from one file after the other.

    Within a file a later row replaces an earlier one of the same step (a resumed training);
    two files must agree.
    """

    def __init__(self) -> None:
        self.epochs: dict[int, int] = {}
        self.times: dict[int, float] = {}
        self.values: dict[int, dict[str, float]] = {}
        self.notes: list[str] = []
        self._from: dict[tuple[int, str], Path] = {}

    def put(self, path: Path, step: int, epoch: int, key: str, value: float) -> None:
        """Add a value. Raises DataError if another file says something else."""
        row = self.values.setdefault(step, {})
        owner = self._from.setdefault((step, key), path)
        known = row.get(key, value)
        if repr(known) != repr(value):
            if owner != path:
                raise DataError(
                    f"{owner} says {key} is {known:g} at epoch {epoch} and {path} says {value:g}; "
                    "correct one of them"
                )
            self.notes.append(f"{path.name}: epoch {epoch} is there twice; the later one counts")
        row[key] = value
        self.epochs[step] = epoch
        self.times.setdefault(step, modified(path))

    def points(self) -> tuple[Point, ...]:
        """What was measured, in order of step."""
        return tuple(
            Point(step, self.epochs[step], self.times[step], self.values[step])
            for step in sorted(self.values)
        )


def read(paths: Sequence[Path], columns: Columns, asked: Asked, growing: bool = False) -> Found:
    """The tables of one training; a folder stands for the .csv and .tsv files in it.

    A table has a row per epoch, or a column per epoch (``Epoch 57``) and a row per metric, or a
    row per setting. An unfinished last line is left out if the file is ``growing``. Raises
    DataError.
    """
    merged = Merged()
    params: dict[str, object] = {}
    for path in _files(paths):
        grid = read_grid(path, growing)
        if _turned(grid, columns):
            _take_turned(grid, asked, merged)
        elif is_settings(grid.header) and _column(grid, columns.epoch, EPOCHS) is None:
            settings, notes = read_settings(path, grid.header, grid.rows)
            _agree(path, params, settings)
            merged.notes += notes
        else:
            _take(grid, columns, asked, merged)
    named = paths[0]
    return Found(
        trainer="csv",
        paths=tuple(paths),
        name=named.stem,
        points=merged.points(),
        params=params,
        notes=tuple(dict.fromkeys(merged.notes)),
    )


def _agree(path: Path, params: dict[str, object], settings: Mapping[str, str]) -> None:
    """Add a file's settings. Raises DataError if another file says something else."""
    for name, value in settings.items():
        if params.setdefault(name, value) != value:
            raise DataError(
                f"{path}: '{name}' is '{value}', and '{params[name]}' in another table; correct "
                "one of them"
            )


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(f for f in path.iterdir() if f.suffix.lower() in {".csv", ".tsv"})
        if not inside:
            raise DataError(f"{path}: no .csv or .tsv file in it; name the table")
        files += inside
    return files


def read_grid(path: Path, growing: bool) -> Grid:
    """The cells of a file, in rows as long as its header. Raises DataError."""
    text = read_text(path)
    if growing and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
    lines = list(_cells(path, text))
    if not lines:
        raise DataError(f"{path}: empty, where a header with 'epoch' was expected")
    (_, header), rows = lines[0], lines[1:]
    while header and not header[-1]:
        header = header[:-1]
    even = []
    for place, cells in rows:
        if len(cells) < len(header) and (place, cells) == rows[-1] and not text.endswith("\n"):
            continue  # still being written
        if len(cells) < len(header) or any(cells[len(header) :]):
            raise DataError(
                f"{path}, line {place}: {len(cells)} cells below {len(header)} names; make the "
                "line as long as the header"
            )
        even.append((place, cells[: len(header)]))
    return Grid(path, header, tuple(even), _delimiter(text) != ",")


def _cells(path: Path, text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    reader = csv.reader(text.splitlines(), delimiter=_delimiter(text), skipinitialspace=True)
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in cells)
            if any(stripped) and not stripped[0].startswith("#"):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a table ({error})") from None


def _delimiter(text: str) -> str:
    """What most often parts the cells of the first line."""
    first = next((s for s in text.splitlines() if s.strip() and not s.startswith("#")), "")
    return max(",;\t", key=first.count)


def _column(grid: Grid, asked: str, known: frozenset[str]) -> int | None:
    """The column that was asked for, or that has a known name."""
    if asked:
        if asked not in grid.header:
            raise DataError(f"{grid.path}: no column '{asked}'; there is: {_shown(grid.header)}")
        return grid.header.index(asked)
    names = [re.sub(r"[\s_]", "", name).lower() for name in grid.header]
    return next((i for i, name in enumerate(names) if name in known), None)


def _shown(names: Sequence[str]) -> str:
    """Names for a sentence, which may be a whole file of something else."""
    text = ", ".join(names)
    return text if len(text) <= 200 else f"{text[:200]} ..."


def _turned(grid: Grid, columns: Columns) -> bool:
    if columns.epoch or columns.step or _column(grid, "", EPOCHS) is not None:
        return False
    return any(ONE_EPOCH.fullmatch(name) for name in grid.header)


def _take(grid: Grid, columns: Columns, asked: Asked, merged: Merged) -> None:
    epoch_at, step_at = _column(grid, columns.epoch, EPOCHS), _column(grid, columns.step, STEPS)
    counter = epoch_at if step_at is None else step_at
    if counter is None:
        raise DataError(
            f"{grid.path}: no column names the epoch or step; there is: {_shown(grid.header)}; "
            "name one with --epoch COLUMN"
        )
    keys = _keys(grid, {epoch_at, step_at}, asked)
    _same_unit(grid, keys)
    for line, cells in grid.rows:
        step = _count(grid, line, counter, cells[counter])
        epoch = step if epoch_at is None else _count(grid, line, epoch_at, cells[epoch_at])
        for index, key in keys.items():
            value = grid.cell(line, grid.header[index], cells[index])
            if value is not None:
                merged.put(grid.path, step, epoch, key, value)


def _keys(grid: Grid, counters: set[int | None], asked: Asked) -> dict[int, str]:
    """The key of each column that holds a metric."""
    keys = Keys(grid.path, asked.rename)
    return {
        index: keys.of(name)
        for index, name in enumerate(grid.header)
        if index not in counters and name
    }


def _same_unit(grid: Grid, keys: dict[int, str]) -> None:
    for index in keys:
        cells = [(line, row[index]) for line, row in grid.rows if row[index].strip("-–—/ ")]
        marked = [(line, text) for line, text in cells if is_percent(text)]
        bare = [pair for pair in cells if pair not in marked and pair[1].lower() != "nan"]
        if marked and bare:
            raise DataError(
                f"{grid.path}, column '{grid.header[index]}': '{marked[0][1]}' (line "
                f"{marked[0][0]}) is in percent, '{bare[0][1]}' (line {bare[0][0]}) is not; write "
                "the column in one unit"
            )


def _count(grid: Grid, line: int, index: int, text: str) -> int:
    found = A_COUNT.fullmatch(text.strip())
    try:
        return whole(float(found[1] if found else math.nan))
    except ValueError:
        raise DataError(
            f"{grid.path}, line {line}, column '{grid.header[index]}': '{text}' counts nothing; "
            "write the number of the epoch or step"
        ) from None


def _take_turned(grid: Grid, asked: Asked, merged: Merged) -> None:
    """A column per epoch: the first one holds the metrics' names."""
    epochs = {i: int(m[1]) for i, n in enumerate(grid.header) if (m := ONE_EPOCH.fullmatch(n))}
    for index, name in enumerate(grid.header[1:], start=1):
        if index not in epochs:
            known = name.strip().lower() in CHANGES
            why = "a difference, not a measurement" if known else "it names no epoch"
            merged.notes.append(f"{grid.path.name}: column '{name}' is left out: {why}")
    keys = Keys(grid.path, asked.rename)
    for line, cells in grid.rows:
        key = keys.of(cells[0])
        for index, epoch in epochs.items():
            value = grid.cell(line, grid.header[index], cells[index])
            if value is not None:
                merged.put(grid.path, epoch, epoch, key, value)
