"""Tracked boxes drawn into a frame: the answers of two models side by side, old left, new right.

A colour is an identity within its side; the two models number theirs independently.
"""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from backend.core.errors import DataError
from backend.core.trainer import Track

SMALLEST, LARGEST = 480, 640
"""Pixels of a drawn frame's long edge: small ones are enlarged in whole steps, to be readable."""
GAP, HEAD = 8, 24
PAPER, INK, TRUTH = "#16181d", "#e6e8eb", "#ffffff"
_TEXT, _EDGE = 12, 2
_TURN = (math.sqrt(5) - 1) / 2  # of the colour circle from one identity to the next


@dataclass(frozen=True)
class Side:
    """One model's title, what it tracked in one frame, and the truth to draw below it."""

    title: str
    tracks: Sequence[Track]
    truth: Sequence[Track] = ()


def side_by_side(photo: Image.Image, sides: Sequence[Side], counter: str) -> Image.Image:
    """The frame once for each side, with title and counter above; even width and height."""
    drawn = panels(photo, sides)
    width, height = drawn[0].size
    whole = (len(sides) * (width + GAP) - GAP, height + HEAD)
    sheet = Image.new("RGB", (whole[0] + whole[0] % 2, whole[1] + whole[1] % 2), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (side, panel) in enumerate(zip(sides, drawn, strict=True)):
        left = number * (width + GAP)
        sheet.paste(panel, (left, HEAD))
        pen.text((left + 4, 3), side.title, fill=INK, font=font)
        pen.text((left + width - 4, 3), counter, fill=INK, font=font, anchor="ra")
    return sheet


def panels(photo: Image.Image, sides: Sequence[Side]) -> list[Image.Image]:
    """The frame once for each side, all of one size, without titles."""
    scale = _scale(max(photo.size))
    width, height = (max(1, round(edge * scale)) for edge in photo.size)
    kind = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    plain = photo.convert("RGB").resize((width, height), kind)
    return [_drawn(plain, side, scale) for side in sides]


def colour(identity: int) -> tuple[int, int, int]:
    """A bright colour for an identity, far from those of its neighbours."""
    red, green, blue = colorsys.hsv_to_rgb(identity * _TURN % 1, 0.65, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def open_frame(path: Path) -> Image.Image:
    """An image file in RGB. Raises DataError if it cannot be read."""
    try:
        with Image.open(path) as photo:
            return photo.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from None


def _scale(long: int) -> float:
    return float(math.ceil(SMALLEST / long)) if long < SMALLEST else min(1.0, LARGEST / long)


def _drawn(photo: Image.Image, side: Side, scale: float) -> Image.Image:
    """The truth's boxes, then those found, then names, those of nearer objects on top."""
    sheet = photo.copy()
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT)
    order = sorted(side.tracks, key=lambda track: track.box[1] + track.box[3])
    for track in side.truth:
        pen.rectangle(_corners(track, scale, sheet), outline=TRUTH, width=3)
    for track in order:
        pen.rectangle(_corners(track, scale, sheet), outline=colour(track.id), width=2)
    for track in order:
        x, y = _near((track.box[0] * scale, track.box[1] * scale), sheet)
        text = f"{track.id} {track.label}"
        left = max(min(x, sheet.width - font.getlength(text) - 3), 1)
        place = (left + 1, min(max(y - _TEXT - 3, 1), sheet.height - _TEXT - 3))
        pen.rectangle(_grown(pen.textbbox(place, text, font=font)), fill=colour(track.id))
        pen.text(place, text, fill="black", font=font)
    return sheet


def _corners(
    track: Track, scale: float, sheet: Image.Image
) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, w, h = track.box
    return (
        _near((x * scale, y * scale), sheet),
        _near(((x + w) * scale, (y + h) * scale), sheet),
    )


def _near(point: tuple[float, float], sheet: Image.Image) -> tuple[float, float]:
    """The point, or one just outside the sheet instead of one far away."""
    x, y = point
    return min(max(x, -_EDGE), sheet.width + _EDGE), min(max(y, -_EDGE), sheet.height + _EDGE)


def _grown(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left - 2, top - 1, right + 2, bottom + 1
