"""What made players and their surroundings look like, 160 x 96 pixels.

All randomness comes from the generator that is handed in; the same generator gives the same
pixels. Colours are RGB in 0..1.
"""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from backend.synthetic._volleyball_motion import HEIGHT, WIDTH

Colour = tuple[float, float, float]
Point = tuple[float, float]

HUES: Sequence[float | None] = (None, 0, 30, 58, 120, 182, 225, 305)
"""Hue of each target class's shirt in degrees; the first one's is white."""
POSES = STAND, STEP, JUMP = (0, 1, 2)
_FINE = 4  # drawn this much larger, for smooth edges
_DARK: Colour = (0.07, 0.07, 0.09)
_SKINS: Sequence[Colour] = ((0.93, 0.76, 0.64), (0.8, 0.6, 0.46), (0.5, 0.34, 0.25))
_FLOORS: Sequence[Colour] = ((0.68, 0.53, 0.4), (0.4, 0.5, 0.6), (0.46, 0.56, 0.47),
                             (0.6, 0.45, 0.42), (0.54, 0.54, 0.56))  # fmt: skip
_FEET = {STAND: 0.3, STEP: 0.12, JUMP: 0.36}
_ARMS: dict[int, Sequence[Point]] = {
    STAND: ((0.27, 0.29), (0.07, 0.44), (0.13, 0.62)),
    STEP: ((0.27, 0.29), (0.1, 0.45), (0.07, 0.56)),
    JUMP: ((0.27, 0.38), (0.08, 0.22), (0.16, 0.03)),
}
"""Shoulder, elbow and hand of the left arm, in shares of the box; the right one mirrors it."""


@dataclass(frozen=True)
class Look:
    """How one player looks in any shirt, which has so many ``stripes``, ``across`` it or down."""

    skin: Colour
    stripes: int
    across: bool


@dataclass(frozen=True)
class Sprite:
    """A player in one pose that fills its box; ``shape`` says where the picture covers."""

    picture: Image.Image
    shape: Image.Image


def look(rng: np.random.Generator) -> Look:
    """Anybody."""
    skin = _SKINS[int(rng.integers(len(_SKINS)))]
    return Look(skin, int(rng.integers(2, 4)), bool(rng.random() < 0.5))


def shirt(label: int | None, rng: np.random.Generator) -> Colour:
    """The colour of a class, counted from 0; any with None, white as often as a class is."""
    if label is not None:
        hue = HUES[label]
    else:
        hue = None if rng.random() < 1 / len(HUES) else float(rng.uniform(0, 360))
    drift, saturation, value = rng.uniform((-5, 0.75, 0.75), (5, 0.95, 0.95)).tolist()
    if hue is None:
        return 0.96, 0.94, 0.92
    return colorsys.hsv_to_rgb((hue + drift) / 360 % 1, saturation, value)


def sprite(one: Look, worn: Colour, pose: int, size: tuple[int, int]) -> Sprite:
    """The player in a shirt of this colour, drawn to a width and height in pixels."""
    fine = (size[0] * _FINE, size[1] * _FINE)
    colours = Image.new("RGB", fine, _whole(_DARK))
    shape = Image.new("L", fine)
    for sheet, plain in ((colours, False), (shape, True)):
        _paint(_Brush(ImageDraw.Draw(sheet), fine, plain), one, worn, pose)
    inner = shape.filter(ImageFilter.MinFilter(2 * _FINE - 1))  # what is left is the outline
    picture = Image.new("RGB", fine, _whole(_DARK))
    picture.paste(colours, mask=inner)
    return Sprite(picture.reduce(_FINE), shape.reduce(_FINE))


def floor(rng: np.random.Generator) -> Image.Image:
    """The source domain's surroundings: any colour, with waves."""
    colour = rng.uniform(0.3, 0.75, 3)
    return _image(colour + _waves(rng))


def court(rng: np.random.Generator) -> Image.Image:
    """The target domain's: a hall's floor with waves of light, a court, its lines and the net."""
    ground = np.array(_FLOORS[int(rng.integers(len(_FLOORS)))]) + rng.uniform(-0.08, 0.08, 3)
    image = _image(ground + _waves(rng))
    far, near = HEIGHT * float(rng.uniform(0.2, 0.3)), HEIGHT * float(rng.uniform(0.9, 0.97))
    inset, lean = WIDTH * float(rng.uniform(0.16, 0.24)), WIDTH * float(rng.uniform(-0.06, 0.06))
    corners = [(inset + lean, far), (WIDTH - inset + lean, far), (WIDTH - 6.0, near), (6.0, near)]
    field = Image.new("L", image.size)
    ImageDraw.Draw(field).polygon(corners, fill=70)
    image.paste(_whole(tuple((ground[[1, 2, 0]] + 0.1).tolist())), mask=field)
    draw, white = ImageDraw.Draw(image), _whole((0.85, 0.85, 0.83))
    draw.line([*corners, corners[0]], fill=white, width=1)
    for share in (0.22, 0.5):  # the centre line and the attack line
        left, right = (_between(corners[a], corners[b], share) for a, b in ((0, 3), (1, 2)))
        draw.line([left, right], fill=white, width=1)
    _net(draw, corners)
    return image


def _net(draw: ImageDraw.ImageDraw, corners: Sequence[Point]) -> None:
    """Posts, band and mesh above the centre line."""
    left, right = (_between(corners[a], corners[b], 0.22) for a, b in ((0, 3), (1, 2)))
    foot, ends = left[1], (left[0] - 4, right[0] + 4)
    high, low = foot - 0.3 * HEIGHT, foot - 0.16 * HEIGHT
    mesh, band = _whole((0.3, 0.3, 0.32)), _whole((0.85, 0.85, 0.83))
    for x in np.arange(ends[0], ends[1], 4).tolist():
        draw.line([(x, high), (x, low)], fill=mesh)
    for y in np.arange(high, low + 1, 4).tolist():
        draw.line([(ends[0], y), (ends[1], y)], fill=mesh)
    draw.line([(ends[0], high), (ends[1], high)], fill=band, width=2)
    for x in ends:
        draw.line([(x, high - 2), (x, foot)], fill=_whole((0.2, 0.2, 0.22)), width=2)


@dataclass(frozen=True)
class _Brush:
    """Draws in shares of a box. ``plain``: the shape only, in white."""

    draw: ImageDraw.ImageDraw
    size: tuple[int, int]
    plain: bool

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.draw.polygon(self._at(points), fill=self._ink(colour))

    def stick(self, points: Sequence[Point], thick: float, colour: Colour) -> None:
        width = round(thick * self.size[0])
        self.draw.line(self._at(points), fill=self._ink(colour), width=width, joint="curve")
        for x, y in self._at(points):
            r = width / 2
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=self._ink(colour))

    def disc(self, box: tuple[float, float, float, float], colour: Colour) -> None:
        (left, top), (right, bottom) = self._at([box[:2], box[2:]])
        self.draw.ellipse((left, top, right, bottom), fill=self._ink(colour))

    def _at(self, points: Sequence[Point]) -> list[Point]:
        return [(x * (self.size[0] - 1), y * (self.size[1] - 1)) for x, y in points]

    def _ink(self, colour: Colour) -> int | tuple[int, int, int]:
        return 255 if self.plain else _whole(colour)


def _paint(brush: _Brush, one: Look, worn: Colour, pose: int) -> None:
    """Legs, shorts, shirt with its stripes, arms and head, for a body in one of the poses."""
    top = 0.22 if pose != JUMP else 0.32
    shorts = _darker(worn, 0.5)
    for side in (-1, 1):
        foot = 0.5 + side * (0.5 - _FEET[pose])
        brush.stick([(0.5 + side * 0.15, 0.66), (foot, 0.93)], 0.17, one.skin)
        brush.stick([(foot - 0.04, 0.965), (foot + 0.04, 0.965)], 0.15, _DARK)
    brush.polygon([(0.25, 0.55), (0.75, 0.55), (0.82, 0.76), (0.18, 0.76)], shorts)
    brush.polygon([(0.2, top + 0.02), (0.8, top + 0.02), (0.76, 0.6), (0.24, 0.6)], worn)
    for number in range(one.stripes):
        at = (number + 0.5) / one.stripes
        x, y = 0.27 + 0.46 * at, top + 0.06 + (0.5 - top) * at
        line = [(0.27, y), (0.73, y)] if one.across else [(x, top + 0.05), (x, 0.58)]
        brush.stick(line, 0.07, _darker(worn, 0.7))
    for side in (-1, 1):
        shoulder, elbow, hand = [(x if side < 0 else 1 - x, y) for x, y in _ARMS[pose]]
        brush.stick([elbow, hand], 0.14, one.skin)
        brush.stick([shoulder, elbow], 0.15, worn)
    brush.disc((0.3, top - 0.22, 0.7, top + 0.01), one.skin)
    brush.disc((0.3, top - 0.22, 0.7, top - 0.12), _darker(one.skin, 0.4))


def _waves(rng: np.random.Generator) -> NDArray[np.float64]:
    """Three plane waves of brightness, a little coloured, (H, W, 3)."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    total = np.zeros((HEIGHT, WIDTH, 3))
    for _ in range(3):
        angle, length, phase = rng.uniform((0, 18, 0), (np.pi, 70, 2 * np.pi)).tolist()
        along = columns * np.cos(angle) + rows * np.sin(angle)
        strength = rng.uniform(0.015, 0.05) * rng.uniform(0.7, 1.3, 3)
        total += np.sin(2 * np.pi * along / length + phase)[..., None] * strength
    return total


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])


def _darker(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return red * factor, green * factor, blue * factor


def _image(colours: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray((np.clip(colours, 0, 1) * 255).round().astype(np.uint8))


def _whole(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (round(255 * min(max(value, 0.0), 1.0)) for value in colour)
    return red, green, blue
