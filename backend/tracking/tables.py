"""The tables in which served models answer, by task. Travels inside each registered version."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """Columns with their MLflow types, and the row of one prediction without its first column.

    The first column counts the inputs from zero. ``inputs`` are the names that the column of a
    table given as input may have; ``videos`` if an input is a video and not an image.
    """

    columns: dict[str, str]
    row: Callable[[Any], tuple[object, ...]]
    inputs: tuple[str, ...]
    videos: bool = True


BOX = dict.fromkeys(("x1", "y1", "x2", "y2"), "double")
PLACE = dict.fromkeys(("x", "y", "w", "h"), "double")
SECONDS = dict.fromkeys(("start", "end"), "double")
VIDEO = ("video", "path", "clip", "input")

TABLES = {
    "detection": Table(
        {"image": "long", **BOX, "score": "double", "label": "string"},
        lambda found: (*found.box, found.score, found.label),
        ("image", "path", "input"),
        videos=False,
    ),
    "tracking": Table(
        {"input": "long", "frame": "long", "id": "long", **PLACE, "score": "double",
         "class": "string"},
        lambda found: (found.frame, found.id, *found.box, found.score, found.label),
        VIDEO,
    ),
    "temporal": Table(
        {"input": "long", **SECONDS, "label": "string", "score": "double"},
        lambda found: (found.start, found.end, found.label, found.score),
        VIDEO,
    ),
    "spotting": Table(
        {"input": "long", "frame": "long", "label": "string", "score": "double"},
        lambda found: (found.frame, found.label, found.score),
        VIDEO,
    ),
}  # fmt: skip
