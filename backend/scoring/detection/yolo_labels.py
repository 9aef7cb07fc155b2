"""YOLO label files: one object per line, a box or a polygon, in shares of the image."""

import math
from dataclasses import dataclass
from pathlib import Path

from backend.core.errors import DataError

TOLERANCE = 0.01
"""How far outside the image a coordinate may lie; the bound that Ultralytics uses."""

Row = tuple[int, float, float, float, float]


@dataclass(frozen=True)
class Labels:
    """The objects of one image: class, centre x, centre y, width, height.

    ``flat`` counts boxes without area, which are left out; ``rewrite`` tells that the file
    itself says more or other than ``rows``.
    """

    rows: tuple[Row, ...]
    flat: int = 0
    rewrite: bool = False

    def text(self) -> str:
        """The rows as a label file of boxes."""
        return "".join(f"{c} {x!r} {y!r} {w!r} {h!r}\n" for c, x, y, w, h in self.rows)


def parse_labels(data: bytes, path: Path, classes: int) -> Labels:
    """The objects in a label file, each once.

    Raises DataError naming file and line for anything that is not a class id below ``classes``
    followed by four numbers or a polygon.
    """
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: a label file must be text, this is not") from None
    rows: dict[Row, None] = {}
    polygons = boxes = flat = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row, polygon = _row(line.split(), f"{path}, line {number}", classes)
        polygons, boxes = polygons + polygon, boxes + (not polygon)
        if row[3] * row[4] > 0:
            rows[row] = None
        else:
            flat += 1
    mixed = bool(polygons and boxes)
    return Labels(tuple(rows), flat, rewrite=mixed or flat > 0)


def _row(words: list[str], where: str, classes: int) -> tuple[Row, bool]:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise DataError(f"{where}: expected numbers, got '{' '.join(words)[:60]}'") from None
    label = _class(numbers[0], where, classes)
    points = numbers[1:]
    polygon = len(points) >= 6 and len(points) % 2 == 0
    if len(points) != 4 and not polygon:
        raise DataError(
            f"{where}: expected 'class x y width height' or a polygon, got {len(words)} numbers"
        )
    wrong = [p for p in points if not -TOLERANCE <= p <= 1 + TOLERANCE]
    if wrong:
        raise DataError(
            f"{where}: coordinates are shares of the image, from 0 to 1; got {wrong[0]:g}"
        )
    x, y, w, h = _bounds(points) if polygon else points
    if w < 0 or h < 0:
        raise DataError(f"{where}: a box of negative size ({w:g} x {h:g})")
    return (label, x, y, w, h), polygon


def _class(number: float, where: str, classes: int) -> int:
    if not math.isfinite(number) or number != int(number):
        raise DataError(f"{where}: the class id must be a whole number, got {number:g}")
    if not 0 <= number < classes:
        raise DataError(
            f"{where}: class id {int(number)}, but the dataset has {classes} classes "
            f"(0 to {classes - 1}); mend the label or add the class to names"
        )
    return int(number)


def _bounds(points: list[float]) -> tuple[float, float, float, float]:
    left, right = min(points[0::2]), max(points[0::2])
    top, bottom = min(points[1::2]), max(points[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
