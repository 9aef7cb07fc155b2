"""Objects cut out of an annotated image, with a soft edge.

The half of the alpha channel lies on the object's outline, so that the bounds of what is visible
(alpha of at least one half) are the object's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from backend.datasets.pasting.annotated import Outline

MARGIN = 4
"""Pixels around an outline that the soft edge needs."""
SOFT = {"polygon": (0.02, 0.5, 1.5), "alpha": (0.0, 0.0, 0.0), "box": (0.05, 0.8, 2.0)}
"""Radius of the edge: share of the shorter side, least and most pixels."""
FINE = 4
"""An outline is drawn so many times as large."""
SMALLEST = 4.0
NEIGHBOUR = 0.2
"""Of another object: more of it in a rectangle, and the rectangle shows it without a label."""
TOO_SMALL = f"smaller than {SMALLEST:g} pixels"
CROWDED = "their rectangles show other objects too"
INVISIBLE = "fully transparent"

Kind = Literal["polygon", "alpha", "box"]


@dataclass(frozen=True)
class CutOut:
    """An object, uint8 [height, width, RGBA]. ``grow`` brings it to the size that it has when its
    image is trained on; ``kind`` is what its mask was made from."""

    label: int
    pixels: NDArray[np.uint8]
    kind: Kind
    grow: float


@dataclass(frozen=True)
class Source:
    """A decoded image, no larger than it is trained on: RGBA, and whether its alpha says
    anything."""

    image: Image.Image
    transparent: bool
    grow: float


def sized(image: Image.Image, side: int) -> Source:
    """Shrink an image whose longer side has more than ``side`` pixels."""
    transparent = image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info
    made = image.convert("RGBA")
    transparent = transparent and min(made.getchannel("A").tobytes()) < 255
    longest = max(made.size)
    if longest <= side:
        return Source(made, transparent, side / longest)
    made.thumbnail((side, side), Image.Resampling.BOX)
    return Source(made, transparent, side / max(made.size))


def cut(source: Source, outline: Outline, all_of: Sequence[Outline], label: int) -> CutOut | str:
    """The object of an outline as class ``label``, or why it cannot be used."""
    width, height = source.image.size
    share = outline.box
    box = (share[0] * width, share[1] * height, share[2] * width, share[3] * height)
    if min(box[2] - box[0], box[3] - box[1]) * source.grow < SMALLEST:
        return TOO_SMALL
    if not outline.polygon and _crowded(outline, all_of):
        return CROWDED
    kind: Kind = "polygon" if outline.polygon else "alpha" if source.transparent else "box"
    left, top = int(np.floor(box[0])) - MARGIN, int(np.floor(box[1])) - MARGIN
    right, bottom = int(np.ceil(box[2])) + MARGIN, int(np.ceil(box[3])) + MARGIN
    pixels = _cropped(source.image, (left, top, right, bottom))
    scaled = [(x * width - left, y * height - top) for x, y in _corners(outline)]
    mask = _mask(scaled, (right - left, bottom - top), kind)
    alpha = np.minimum(mask, pixels[..., 3])
    if not (alpha >= 128).any():
        return INVISIBLE
    made = np.dstack([pixels[..., :3], alpha])
    return CutOut(label, np.ascontiguousarray(made), kind, source.grow)


def _crowded(outline: Outline, all_of: Sequence[Outline]) -> bool:
    """Does the object's rectangle show much of another one?"""
    left, top, right, bottom = outline.box
    for other in all_of:
        if other is outline:
            continue
        a, b, c, d = other.box
        common = max(min(right, c) - max(left, a), 0) * max(min(bottom, d) - max(top, b), 0)
        if common > NEIGHBOUR * (c - a) * (d - b):
            return True
    return False


def _corners(outline: Outline) -> list[tuple[float, float]]:
    if outline.polygon:
        return list(zip(outline.points[0::2], outline.points[1::2], strict=True))
    left, top, right, bottom = outline.box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _cropped(image: Image.Image, window: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """The pixels in a window; what lies outside of the image repeats its border."""
    left, top, right, bottom = window
    columns = np.clip(np.arange(left, right), 0, image.width - 1)
    rows = np.clip(np.arange(top, bottom), 0, image.height - 1)
    first = (int(columns[0]), int(rows[0]))
    inside = np.asarray(image.crop((*first, int(columns[-1]) + 1, int(rows[-1]) + 1)))
    return inside[np.ix_(rows - first[1], columns - first[0])]


def _mask(
    corners: list[tuple[float, float]], size: tuple[int, int], kind: Kind
) -> NDArray[np.uint8]:
    """How much of each pixel is the object, with the edge of its kind. ``size``: width, height."""
    fine = Image.new("L", (size[0] * FINE, size[1] * FINE))
    # a coordinate is where a pixel begins, and PIL paints the pixel at it
    drawn = [(x * FINE - 0.5, y * FINE - 0.5) for x, y in corners]
    ImageDraw.Draw(fine).polygon(drawn, fill=255)
    mask = fine.reduce(FINE)
    share, least, most = SOFT[kind]
    radius = min(max(share * (min(size) - 2 * MARGIN), least), most)
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(radius)) if radius else mask)
