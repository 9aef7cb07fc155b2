"""Lines of a detection database as numbers, and which of them is the class."""

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from backend.core.errors import DataError
from backend.datasets.tracking.records import Bools, Floats

Fields = Literal["xywhs", "xywhcs", "xywhsc"]
Kind = Literal[
    "FORMAT", "FIELD_COUNT", "FIELD_ORDER", "NOT_A_NUMBER", "BAD_BOX", "BAD_SCORE", "BAD_CLASS",
    "CLASS_OUT_OF_RANGE", "NORMALISED_BOXES", "CORNER_BOXES", "DUPLICATE_FRAME_KEY",
]  # fmt: skip

AUTO = "auto"
_BLOCK = 50_000  # lines; their cells take a lot of memory for a moment


class DatabaseError(DataError):
    """A detection database that cannot be used; ``kind`` says why in one word."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence)
        self.kind: Kind = kind


@dataclass(frozen=True)
class Lines:
    """The detections of a file as texts; ``keys`` are its frames, ``ends`` where each ends."""

    source: str
    keys: list[str]
    ends: list[int]
    texts: list[str]

    def refuse(self, kind: Kind, bad: Bools, why: str) -> None:
        """Raise DatabaseError for the first bad row."""
        if bad.any():
            raise self.error(kind, int(bad.argmax()), why)

    def error(self, kind: Kind, row: int, why: str) -> DatabaseError:
        """What is wrong with a row."""
        key = self.keys[bisect_right(self.ends, row)]
        return DatabaseError(kind, f"{self.source}, {key}: {why} ({self.texts[row][:60]!r})")


def numbers(lines: Lines) -> Floats:
    """(lines, 5 or 6), all finite. Raises DatabaseError."""
    texts = lines.texts
    commas = [text.count(",") for text in texts]
    kinds = Counter(commas)
    common = kinds.most_common(1)[0][0] if kinds else 4
    odd = [count != common or common not in (4, 5) for count in commas]
    if any(odd):
        row = odd.index(True)
        raise lines.error(
            "FIELD_COUNT", row, f"{commas[row] + 1} fields; expected 5 or 6 in every line"
        )
    if not texts:
        return np.empty((0, common + 1))
    parts = [_cells(texts[at : at + _BLOCK]) for at in range(0, len(texts), _BLOCK)]
    table = np.concatenate(parts).reshape(len(texts), common + 1)
    lines.refuse("NOT_A_NUMBER", ~np.all(np.isfinite(table), axis=1), "expected finite numbers")
    return table


def _cells(texts: list[str]) -> Floats:
    cells = ",".join(texts).split(",")
    try:
        return np.array(list(map(float, cells)))
    except ValueError:  # NaN for what is no number, which names its line
        return np.array([_number(cell) for cell in cells])


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def order_of(table: Floats, lines: Lines, declared: str) -> Fields:
    """The order of fields: as ``declared``, or as the whole file shows it.

    Raises DatabaseError if it cannot be told, or if lines are not of that length.
    """
    columns = table.shape[1]
    if declared != AUTO:
        if len(table) and len(declared) != columns:
            raise lines.error("FIELD_COUNT", 0, f"{columns} fields, but {declared} was declared")
        return cast(Fields, declared)
    if columns == len("xywhs"):
        return "xywhs"
    place = _class_column(table, lines.texts)
    if place is None:
        raise DatabaseError(
            "FIELD_ORDER",
            f"{lines.source}: nothing in its {len(table)} lines tells whether the class or the "
            f"score comes first ({lines.texts[0]!r}); declare xywhcs or xywhsc",
        )
    return "xywhcs" if place == 4 else "xywhsc"


def _class_column(table: Floats, texts: list[str]) -> int | None:
    """Which of the two last columns is the class: the only one of whole numbers, else the only
    one beyond 1, else the only one that is written without a point. None: it cannot be told."""
    pair = table[:, 4:]
    whole: Bools = np.all(pair == np.floor(pair), axis=0)
    beyond: Bools = np.any(pair > 1, axis=0)
    if whole[0] != whole[1]:
        return 4 if whole[0] else 5
    if not whole[0] or beyond.all():
        return None
    if beyond.any():
        return 4 if beyond[0] else 5
    pointed = [any("." in text.split(",")[place] for text in texts) for place in (4, 5)]
    if pointed[0] != pointed[1]:
        return 5 if pointed[0] else 4
    return None
