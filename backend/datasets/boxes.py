"""A box as a dataset tells it, checked against the image that it lies on."""

import math
from typing import NamedTuple

Corners = tuple[float, float, float, float]

NOT_FINITE = "not a finite number"
INVERTED = "inverted (right before left, or bottom above top)"
TINY = "smaller than a pixel"
SHARES = "within the first pixel, as if in shares of the image"
OUTSIDE = "outside of the image"

SLACK = 0.01
"""Pixels that rounding may push a box over the border without calling it clipped."""


class Checked(NamedTuple):
    """The box inside of the image, or None and why not."""

    corners: Corners | None
    problem: str = ""
    clipped: bool = False


def check_box(corners: Corners, width: int, height: int) -> Checked:
    """Clip a box (left, top, right, bottom; pixels) to an image of width and height."""
    if not all(map(math.isfinite, corners)):
        return Checked(None, NOT_FINITE)
    left, top, right, bottom = corners
    if right < left or bottom < top:
        return Checked(None, INVERTED)
    if right - left < 1 or bottom - top < 1:
        inside = all(-SLACK <= value <= 1 + SLACK for value in corners)
        return Checked(None, SHARES if inside else TINY)
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return Checked(None, OUTSIDE)
    cut = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        return Checked(None, TINY)
    moved = max(abs(new - old) for new, old in zip(cut, corners, strict=True))
    return Checked(cut, clipped=moved > SLACK)
