"""Detection databases: a JSON object from a frame's key to lines of text, one per detection.

Three orders of fields are in use: ``xywhs``, ``xywhcs`` and ``xywhsc`` (box in pixels, class,
score). Keys are paths of a frame's image or text file, in several spellings. A ``_meta`` object
may say what is in the file. What cannot be decided is refused, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from backend.datasets.tracking.detection_fields import (
    AUTO,
    DatabaseError,
    Fields,
    Lines,
    numbers,
    order_of,
)
from backend.datasets.tracking.detection_keys import KeyRule, frame_key
from backend.datasets.tracking.records import UNKNOWN, Bools, Floats, Ints
from backend.scoring.json_files import read_json

META = "_meta"
ENOUGH = 5
"""Detections from which on equal scores say something."""
NORMALISED, BEYOND = 1.5, 0.2
"""All coordinates below: shares of the image. More boxes right of it: corners, not sizes."""
_BOX = slice(0, 4)


@dataclass(frozen=True)
class DatabaseOptions:
    """What is known of a database before it is read.

    ``fields`` is an order or ``auto``; ``classes`` how many there are, None: not known. ``size``
    is the images' (width, height) where all have the same. ``keys`` says how keys are spelt.
    """

    fields: str = AUTO
    classes: int | None = None
    size: tuple[int, int] | None = None
    keys: KeyRule = field(default_factory=KeyRule)


@dataclass(frozen=True)
class DetectionDatabase:
    """Detections in the order of the file: ``boxes`` (n, 4) left, top, width, height.

    ``labels`` count from 0, -1 where none is given. ``rows``: a frame's key (``val/seq1:7``) to
    its first row and the one behind its last; ``spelt`` to how the file has it. ``names`` are the
    detector's classes as ``_meta`` tells them.
    """

    source: str
    fields: Fields
    rows: Mapping[str, tuple[int, int]]
    spelt: Mapping[str, str]
    boxes: Floats
    scores: Floats
    labels: Ints
    names: tuple[str, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict)

    @property
    def has_classes(self) -> bool:
        """Do detections tell their class?"""
        return self.fields != "xywhs"

    @property
    def constant_score(self) -> bool:
        """Is every score the same, so that scores carry nothing?"""
        return len(self.scores) >= ENOUGH and float(np.ptp(self.scores)) == 0


def read_database(path: Path, options: DatabaseOptions | None = None) -> DetectionDatabase:
    """A database file. Raises DataError, DatabaseError for what is wrong with its content."""
    return parse_database(read_json(path), options, str(path))


def parse_database(
    data: object, options: DatabaseOptions | None = None, source: str = "detection database"
) -> DetectionDatabase:
    """A database as JSON has it. Raises DatabaseError, naming the key where there is one."""
    options = options or DatabaseOptions()
    if not isinstance(data, dict):
        raise DatabaseError("FORMAT", f"{source}: expected an object from frames to lines")
    meta = _meta(data.get(META, {}), source)
    texts, rows, spelt = _lines(data, options.keys, source)
    lines = Lines(source, list(rows), [end for _, end in rows.values()], texts)
    table = numbers(lines)
    fields = order_of(table, lines, _declared(options.fields, meta, source))
    table = table if texts else np.empty((0, len(fields)))
    found = DetectionDatabase(
        source=source,
        fields=fields,
        rows=rows,
        spelt=spelt,
        boxes=np.ascontiguousarray(table[:, _BOX]),
        scores=table[:, fields.index("s")],
        labels=_labels(table, fields, meta, lines),
        names=_names(meta, source),
        meta=meta,
    )
    _check(found, options, lines)
    return found


def _meta(meta: object, source: str) -> Mapping[str, object]:
    if not isinstance(meta, dict):
        raise DatabaseError("FORMAT", f"{source}: '{META}' must be an object")
    return meta


def _names(meta: Mapping[str, object], source: str) -> tuple[str, ...]:
    names = meta.get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DatabaseError("FORMAT", f"{source}: '{META}.classes' must be a list of names")
    return tuple(names)


def _declared(asked: str, meta: Mapping[str, object], source: str) -> str:
    """The order of fields that was asked for or that the file tells."""
    told = meta.get("fields", AUTO)
    for name in (asked, told):
        if name not in (AUTO, *get_args(Fields)):
            raise DatabaseError(
                "FIELD_ORDER",
                f"{source}: fields {name!r}; expected {', '.join(get_args(Fields))} or {AUTO}",
            )
    if AUTO not in (asked, told) and asked != told:
        raise DatabaseError(
            "FIELD_ORDER", f"{source}: says that its fields are {told}, but {asked} was asked for"
        )
    return str(told if asked == AUTO else asked)


def _lines(
    data: Mapping[str, object], rule: KeyRule, source: str
) -> tuple[list[str], dict[str, tuple[int, int]], dict[str, str]]:
    texts: list[str] = []
    rows: dict[str, tuple[int, int]] = {}
    spelt: dict[str, str] = {}
    for key, value in data.items():
        if key == META:
            continue
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise DatabaseError("FORMAT", f"{source}, {key}: expected a list of lines of text")
        frame = frame_key(key, rule)
        if frame in rows:
            raise DatabaseError(
                "DUPLICATE_FRAME_KEY",
                f"{source}: {spelt[frame]} and {key} are both of frame {frame}",
            )
        first = len(texts)
        texts += [text for text in map(str.strip, value) if text]
        rows[frame], spelt[frame] = (first, len(texts)), key
    return texts, rows, spelt


def _labels(table: Floats, fields: Fields, meta: Mapping[str, object], lines: Lines) -> Ints:
    if "c" not in fields:
        return np.full(len(table), UNKNOWN, np.int64)
    base = meta.get("class_base", 1)
    if base not in (0, 1):
        raise DatabaseError("FORMAT", f"{lines.source}: '{META}.class_base' must be 0 or 1")
    classes = table[:, fields.index("c")]
    odd = (classes != np.floor(classes)) | (np.abs(classes) > 1e9)
    lines.refuse("BAD_CLASS", odd, f"a class must be a whole number; the fields are {fields}")
    return classes.astype(np.int64) - int(base == 1)


def _check(found: DetectionDatabase, options: DatabaseOptions, lines: Lines) -> None:
    boxes, scores, labels = found.boxes, found.scores, found.labels
    lines.refuse("BAD_BOX", np.any(boxes[:, 2:] <= 0, axis=1), "a box needs width and height")
    wrong = (scores < 0) | (scores > 1)
    lines.refuse("BAD_SCORE", wrong, f"a score lies in 0 to 1; the fields are {found.fields}")
    if found.has_classes:
        _check_classes(labels, options.classes or len(found.names) or None, lines)
    if len(boxes) and (boxes <= NORMALISED).all():
        raise DatabaseError(
            "NORMALISED_BOXES",
            f"{lines.source}: no coordinate of its {len(boxes)} boxes is above {NORMALISED}; they "
            "look like shares of the image, pixels are expected",
        )
    if options.size is not None and len(boxes):
        share = beyond(boxes, options.size[0])
        if share > BEYOND:
            raise DatabaseError("CORNER_BOXES", f"{lines.source}: {corners_sentence(share)}")


def _check_classes(labels: Ints, classes: int | None, lines: Lines) -> None:
    bad: Bools = labels < 0
    if classes is not None:
        bad = bad | (labels >= classes)
    if not bad.any():
        return
    low, high = int(labels.min()) + 1, int(labels.max()) + 1
    hint = (
        f"; classes reach from 0 to {high}, so they seem to count from 0: say so as class_base in "
        f"'{META}'"
        if low == 0 and (classes is None or high < classes)
        else ""
    )
    expected = f"1 to {classes}" if classes else "1 on"
    lines.refuse("CLASS_OUT_OF_RANGE", bad, f"expected classes from {expected}{hint}")


def beyond(boxes: Floats, width: float | Floats) -> float:
    """The share of boxes that end right of their image."""
    return float((boxes[:, 0] + boxes[:, 2] > width).mean()) if len(boxes) else 0.0


def corners_sentence(share: float) -> str:
    """What that share means."""
    return (
        f"{share:.0%} of the boxes end right of their image; they look like two corners (x1, y1, "
        "x2, y2), or like pixels of another resolution"
    )


def rows_of(database: DetectionDatabase, keys: Sequence[str]) -> tuple[Ints, Ints]:
    """The rows of frames, one after the other, and for each of them the place of its frame."""
    spans = [database.rows.get(key, (0, 0)) for key in keys]
    counts = np.array([last - first for first, last in spans], dtype=np.int64)
    first = np.repeat([first for first, _ in spans], counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return (first + within).astype(np.int64), np.repeat(np.arange(len(spans)), counts)
