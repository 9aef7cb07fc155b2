"""MOT folders: ``<root>/<split>/<sequence>/{seqinfo.ini, img1/, gt/gt.txt}`` and classes.json.

A row is ``frame,id,x,y,w,h,mark,class,visibility``. Images may be absent: annotations alone are
read as they are, and validation says what is missing.
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
from PIL import Image

from backend.core.errors import DataError
from backend.core.wording import some
from backend.datasets.split_names import by_use, own_name
from backend.datasets.tracking.records import (
    UNKNOWN,
    Bools,
    Identities,
    Ints,
    TrackingSplit,
    TrackSequence,
    Truth,
)
from backend.scoring.tracking.classes import checked_names, listed_names, read_names
from backend.scoring.tracking.motchallenge import Tracks, read_table, tracks
from backend.scoring.tracking.seqinfo import FILE, SeqInfo, read_seqinfo

CLASSES_FILE, MANIFEST_FILE = "classes.json", "manifest.json"
IMAGE_FOLDER = "img1"
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}
_MARK, _VISIBILITY = 6, 8
_MOST = 10_000  # class ids without names


@dataclass(frozen=True)
class MotOptions:
    """How a split is read: ``classes`` are names in the order of their ids from 1, for a data
    set that has no classes.json. ``drop``: name of a label filter to the class ids it takes."""

    classes: tuple[str, ...] = ()
    drop: Mapping[str, Collection[int]] = field(default_factory=dict)


def split_folders(root: Path) -> dict[str, Path]:
    """The splits of a data set, train first; a folder of sequences is one split of its name."""
    if _sequence_folders(root):
        return {root.resolve().name: root}
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    found = {path.name: path for path in folders if _sequence_folders(path)}
    return {name: found[name] for name in sorted(found, key=by_use)}


def read_mot(root: Path, split: str, options: MotOptions | None = None) -> TrackingSplit:
    """One split of a MOT folder. Raises DataError with one sentence.

    Classes are those of ``<root>/classes.json``, of ``options``, or the ids that occur.
    """
    options = options or MotOptions()
    places = split_folders(root)
    name = own_name(split, places)
    if name not in places:
        has = f"; it has {', '.join(places)}" if places else ""
        raise DataError(
            f"{root}: no split '{split}'{has}; put its sequences at "
            f"{root / split}/<sequence>/, each with img1/ and gt/gt.txt, as MOTChallenge has them"
        )
    folders = _sequence_folders(places[name])
    bare = [folder.name for folder in folders if not _truth_file(folder).is_file()]
    found = [read_sequence(folder) for folder in folders if folder.name not in bare]
    if not found:
        raise DataError(f"{places[name]}: no sequence has a gt/gt.txt")
    names = class_names(root, options.classes, found)
    labelled = [_labelled(sequence, tuple(names)) for sequence in found]
    dropped = {key: _count(labelled, set(ids)) for key, ids in options.drop.items()}
    gone = [label for ids in options.drop.values() for label in ids]
    return TrackingSplit(
        root=root,
        split=split,
        classes=tuple(names.values()),
        class_ids=tuple(names),
        sequences=tuple(_without(sequence, gone) for sequence in labelled),
        declared=bool(options.classes) or (root / CLASSES_FILE).is_file(),
        identities=identities_of(root),
        dropped=dropped,
        notes=(f"Left out, for want of gt/gt.txt: {some(bare)}.",) if bare else (),
    )


def read_together(
    root: Path, splits: Sequence[str], options: MotOptions | None = None
) -> list[TrackingSplit]:
    """Splits with one list of classes; where nothing names them, the ids that occur in any.

    Else a split without the highest class would have fewer than the others. Raises as
    ``read_mot``.
    """
    read = [read_mot(root, split, options) for split in splits]
    widest = max(read, key=lambda one: len(one.classes), default=None)
    return read if widest is None else [_with_classes_of(widest, one) for one in read]


def _with_classes_of(widest: TrackingSplit, split: TrackingSplit) -> TrackingSplit:
    ids = widest.class_ids
    if ids == split.class_ids:
        return replace(split, classes=widest.classes)
    relabelled = tuple(_labelled(sequence, ids) for sequence in split.sequences)
    return replace(split, classes=widest.classes, class_ids=ids, sequences=relabelled)


def read_sequence(folder: Path) -> TrackSequence:
    """A sequence with class ids as in its file and no labels yet; without gt.txt, no boxes.

    Raises DataError for a wrong row, naming file and line.
    """
    path = folder / FILE
    info = read_seqinfo(path) if path.is_file() else SeqInfo(path, {})
    images_in = info.text("imDir") or IMAGE_FOLDER
    images = _images(folder / images_in, info.text("imExt") or "")
    truth = _read_truth(_truth_file(folder))
    length = info.whole("seqLength", "frames")
    known = set(images) | set(truth.frames.tolist())
    if not images:
        known |= set(range(1, (length or 0) + 1))
    numbers = np.array(sorted(known), dtype=np.int64)
    width, height = info.whole("imWidth"), info.whole("imHeight")
    if images and (width is None or height is None):
        width, height = _size(images[min(images)])
    return TrackSequence(
        name=folder.name,
        folder=folder,
        numbers=numbers,
        images=tuple(images.get(number) for number in numbers.tolist()),
        width=width,
        height=height,
        fps=_rate(info),
        length=length,
        truth=truth,
        images_in=images_in,
    )


def class_names(
    root: Path, named: Sequence[str], sequences: Sequence[TrackSequence]
) -> dict[int, str]:
    """Class id to name: of classes.json, else as ``named`` from 1, else the ids that occur."""
    if (root / CLASSES_FILE).is_file():
        return read_names(root / CLASSES_FILE)
    if named:
        return listed_names(named)
    highest = max((int(s.truth.class_ids.max(initial=UNKNOWN)) for s in sequences), default=0)
    if highest > _MOST:
        raise DataError(
            f"{root}: a class has the id {highest}; name the classes in {CLASSES_FILE}"
        )
    return checked_names({label: str(label) for label in range(1, highest + 1)} or {1: "object"})


def identities_of(root: Path) -> Identities:
    """What the manifest of a conversion says of the ids; ``file`` without one."""
    path = root / MANIFEST_FILE
    if not path.is_file():
        return "file"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["ids"]
    except (OSError, ValueError, KeyError, TypeError):
        told = None
    if told not in get_args(Identities):
        raise DataError(f"{path}: 'ids' must be one of {', '.join(get_args(Identities))}")
    return cast(Identities, told)


def _sequence_folders(root: Path) -> list[Path]:
    found = {path.parent.parent for path in root.glob("*/gt/gt.txt")}
    return sorted(found | {path.parent for path in root.glob(f"*/{FILE}")})


def _truth_file(folder: Path) -> Path:
    return folder / "gt" / "gt.txt"


def _images(folder: Path, suffix: str) -> dict[int, Path]:
    """Image files by frame number; of ``suffix``, or of any kind if none ends in it."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        parts = sorted((*os.path.splitext(entry.name), entry.path) for entry in entries)  # noqa: PTH122
    numbered = [part for part in parts if part[0].isdecimal() and part[1].lower() in SUFFIXES]
    kept = [part for part in numbered if part[1].lower() == suffix.lower()] or numbered
    found: dict[int, Path] = {}
    for stem, _, path in kept:
        if int(stem) in found:
            raise DataError(
                f"{path}: frame {int(stem)} has another image, {found[int(stem)].name}"
            )
        found[int(stem)] = Path(path)
    return found


def _read_truth(path: Path) -> Truth:
    table, lines = read_table(path) if path.is_file() else (np.empty((0, 6)), None)
    rows = tracks(table, str(path), lines=lines)
    marks = table[:, _MARK] != 0 if table.shape[1] > _MARK else np.ones(len(table), bool)
    visibility = np.ones(len(table))
    if table.shape[1] > _VISIBILITY:
        told = table[:, _VISIBILITY]
        sound = (rows.classes != UNKNOWN) & (told >= 0) & (told <= 1)
        visibility = np.where(sound, told, visibility)
    _refuse_flat(rows, marks & np.any(rows.boxes[:, 2:] <= 0, axis=1))
    order = np.argsort(rows.frames, kind="stable")
    return Truth(
        frames=rows.frames[order],
        boxes=rows.boxes[order],
        ids=rows.ids[order],
        labels=np.full(len(order), UNKNOWN, np.int64),
        class_ids=rows.classes[order],
        marks=marks[order],
        visibility=visibility[order],
    )


def _refuse_flat(rows: Tracks, flat: Bools) -> None:
    if flat.any():
        raise DataError(
            f"{rows.where(int(flat.argmax()))}: the box has no width or no height; mend the row "
            "or mark it 0"
        )


def _labelled(sequence: TrackSequence, ids: Sequence[int]) -> TrackSequence:
    """With the labels of its class ids; without any class, everything is of an only one."""
    truth = sequence.truth
    labels = labels_of(truth.class_ids, ids)
    if len(ids) == 1 and (truth.class_ids == UNKNOWN).all():
        labels = np.zeros_like(labels)
    return replace(sequence, truth=replace(truth, labels=labels))


def labels_of(class_ids: Ints, ids: Sequence[int]) -> Ints:
    """The place of each class id in ``ids``, which rise; ``UNKNOWN`` if it is not among them."""
    known = np.array(ids, dtype=np.int64)
    places = np.searchsorted(known, class_ids).clip(max=len(known) - 1)
    return np.where(known[places] == class_ids, places, UNKNOWN).astype(np.int64)


def _count(sequences: Sequence[TrackSequence], ids: set[int]) -> dict[int, int]:
    found: Counter[int] = Counter(dict.fromkeys(sorted(ids), 0))
    for sequence in sequences:
        found.update(label for label in sequence.truth.class_ids.tolist() if label in ids)
    return dict(found)


def _without(sequence: TrackSequence, class_ids: Sequence[int]) -> TrackSequence:
    if not class_ids:
        return sequence
    truth = sequence.truth
    kept = ~np.isin(truth.class_ids, class_ids)
    rows = {name: values[kept] for name, values in vars(truth).items()}
    return replace(sequence, truth=Truth(**rows))


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from None


def _rate(info: SeqInfo) -> float | None:
    text = info.text("frameRate")
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < np.inf:
        raise DataError(f"{info.path}: frameRate is {text!r}; expected frames per second")
    return rate
