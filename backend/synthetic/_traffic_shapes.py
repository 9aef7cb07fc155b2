"""Road users seen from the side, each drawn from its own parts so that its shape tells it.

Measures are metres from the top left corner of the object; every shape reaches all four sides
of its box. Objects look to the right unless mirrored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

GLASS, TYRE, STEEL, SKIN = (44, 60, 78), (22, 22, 26), (150, 154, 160), (206, 160, 130)
LAMP, TAIL = (250, 236, 170), (196, 40, 36)


@dataclass(frozen=True)
class Brush:
    """Draws in metres at a place of the picture. ``scale`` is pixels per metre."""

    draw: ImageDraw.ImageDraw
    left: float
    top: float
    width: float
    scale: float
    mirrored: bool

    def at(self, x: float, y: float) -> Point:
        """The pixel of a place on the object."""
        x = self.width - x if self.mirrored else x
        return self.left + x * self.scale, self.top + y * self.scale

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """A filled polygon."""
        self.draw.polygon([self.at(x, y) for x, y in points], fill=colour)

    def block(self, box: tuple[float, float, float, float], colour: Colour) -> None:
        """A filled rectangle: left, top, right, bottom."""
        left, top, right, bottom = box
        self.shape([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.draw.ellipse(self._circle(x, y, radius), fill=colour)

    def ring(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A circle's rim."""
        self.draw.ellipse(self._circle(x, y, radius), outline=colour, width=self._stroke(0.07))

    def stick(self, points: Sequence[Point], thick: float, colour: Colour) -> None:
        """A line of a thickness in metres."""
        places = [self.at(x, y) for x, y in points]
        self.draw.line(places, fill=colour, width=self._stroke(thick), joint="curve")

    def wheel(self, x: float, y: float, radius: float) -> None:
        """A tyre with its rim."""
        self.disc(x, y, radius, TYRE)
        self.disc(x, y, 0.5 * radius, STEEL)

    def _circle(self, x: float, y: float, radius: float) -> tuple[Point, Point]:
        centre, size = self.at(x, y), radius * self.scale
        return (centre[0] - size, centre[1] - size), (centre[0] + size, centre[1] + size)

    def _stroke(self, thick: float) -> int:
        return max(1, round(thick * self.scale))


@dataclass(frozen=True)
class Kind:
    """A type of DAIR-V2X with its measures in metres: width, height, and length for 3D."""

    type: str
    width: float
    height: float
    length: float
    paint: Callable[[Brush, np.random.Generator], None]


def _car(brush: Brush, rng: np.random.Generator) -> None:
    body = _paint(rng)
    brush.shape([(0.75, 0.65), (1.25, 0.0), (2.75, 0.0), (3.35, 0.65)], _darker(body, 0.85))
    brush.shape([(1.0, 0.6), (1.35, 0.1), (1.9, 0.1), (1.9, 0.6)], GLASS)
    brush.shape([(2.0, 0.6), (2.0, 0.1), (2.65, 0.1), (3.1, 0.6)], GLASS)
    brush.shape([(0, 0.7), (0.7, 0.58), (3.3, 0.58), (4.2, 0.8), (4.2, 1.35), (0, 1.35)], body)
    brush.block((4.0, 0.85, 4.2, 1.02), LAMP)
    brush.block((0.0, 0.78, 0.14, 1.0), TAIL)
    for x in (0.85, 3.3):
        brush.wheel(x, 1.26, 0.34)


def _van(brush: Brush, rng: np.random.Generator) -> None:
    body = _paint(rng)
    brush.shape([(0, 0.1), (0.2, 0), (3.0, 0), (3.9, 0.8), (4.6, 1.0), (4.6, 1.6), (0, 1.6)], body)
    brush.shape([(3.05, 0.2), (3.1, 0.75), (3.7, 0.75)], GLASS)
    for left in (0.35, 1.25, 2.15):
        brush.block((left, 0.2, left + 0.75, 0.75), GLASS)
    brush.block((4.4, 1.08, 4.6, 1.25), LAMP)
    brush.block((0.0, 0.95, 0.12, 1.25), TAIL)
    for x in (0.9, 3.7):
        brush.wheel(x, 1.54, 0.36)


def _truck(brush: Brush, rng: np.random.Generator) -> None:
    cab, cargo = _paint(rng), _paint(rng)
    brush.block((0.0, 0.0, 4.9, 2.4), cargo)
    for x in np.linspace(0.6, 4.3, 6).tolist():
        brush.block((x, 0.1, x + 0.1, 2.3), _darker(cargo, 0.75))
    brush.block((0.1, 2.4, 6.9, 2.75), (52, 52, 56))
    brush.shape([(5.1, 0.75), (6.4, 0.75), (7.0, 1.6), (7.0, 2.7), (5.1, 2.7)], cab)
    brush.shape([(5.9, 0.95), (6.3, 0.95), (6.75, 1.6), (5.9, 1.6)], GLASS)
    brush.block((6.8, 2.1, 7.0, 2.35), LAMP)
    for x in (0.9, 2.0, 6.1):
        brush.wheel(x, 2.7, 0.5)


def _bus(brush: Brush, rng: np.random.Generator) -> None:
    body = _paint(rng)
    corners = [(0, 0.2), (0.25, 0), (10.3, 0), (10.5, 0.3), (10.5, 2.8), (0, 2.8)]
    brush.shape(corners, body)
    brush.block((0.0, 1.75, 10.5, 2.05), _darker(body, 0.6))
    for left in np.arange(0.35, 8.6, 1.25).tolist():
        brush.block((left, 0.45, left + 1.0, 1.5), GLASS)
    brush.block((9.0, 0.45, 9.75, 2.65), _darker(GLASS, 1.5))
    brush.block((10.05, 0.4, 10.5, 1.7), GLASS)
    brush.block((10.3, 2.2, 10.5, 2.45), LAMP)
    for x in (2.1, 7.9):
        brush.wheel(x, 2.7, 0.5)


def _person(brush: Brush, rng: np.random.Generator) -> None:
    coat, trousers = _paint(rng), _darker(_paint(rng), 0.7)
    brush.stick([(0.3, 0.95), (0.1, 1.68)], 0.16, trousers)
    brush.stick([(0.36, 0.95), (0.55, 1.68)], 0.16, trousers)
    brush.block((0.0, 1.66, 0.2, 1.75), TYRE)
    brush.block((0.45, 1.66, 0.65, 1.75), TYRE)
    brush.shape([(0.17, 0.33), (0.5, 0.33), (0.48, 1.02), (0.18, 1.02)], coat)
    brush.stick([(0.2, 0.4), (0.06, 0.85)], 0.11, _darker(coat, 0.8))
    brush.stick([(0.47, 0.4), (0.59, 0.85)], 0.11, _darker(coat, 0.8))
    brush.disc(0.335, 0.16, 0.16, SKIN)


def _cyclist(brush: Brush, rng: np.random.Generator) -> None:
    frame, coat = _paint(rng), _paint(rng)
    for x in (0.37, 1.38):
        brush.ring(x, 1.38, 0.37, TYRE)
    brush.stick([(0.37, 1.38), (0.62, 0.92), (1.2, 0.9), (0.8, 1.38), (0.37, 1.38)], 0.06, frame)
    brush.stick([(0.62, 0.85), (0.8, 1.38)], 0.06, frame)
    brush.stick([(1.38, 1.38), (1.18, 0.75), (1.3, 0.72)], 0.06, frame)
    brush.stick([(0.62, 0.82), (0.95, 1.05), (0.82, 1.42)], 0.13, _darker(coat, 0.6))
    brush.stick([(0.62, 0.82), (0.85, 0.38)], 0.22, coat)
    brush.stick([(0.88, 0.42), (1.22, 0.74)], 0.09, SKIN)
    brush.disc(0.93, 0.15, 0.15, SKIN)


def _motorcyclist(brush: Brush, rng: np.random.Generator) -> None:
    _motorcycle(brush, rng, cargo=False)


def _tricyclist(brush: Brush, rng: np.random.Generator) -> None:
    _motorcycle(brush, rng, cargo=True)


def _motorcycle(brush: Brush, rng: np.random.Generator, cargo: bool) -> None:
    body, coat = _paint(rng), _paint(rng)
    for x in (0.33, 1.77):
        brush.wheel(x, 1.22, 0.33)
    brush.shape([(0.05, 0.78), (0.95, 0.85), (1.3, 0.7), (1.6, 0.78), (1.45, 1.22), (0.6, 1.22)],
                body)  # fmt: skip
    brush.stick([(1.77, 1.22), (1.5, 0.62)], 0.11, STEEL)
    brush.block((1.5, 0.62, 1.66, 0.8), LAMP)
    brush.stick([(0.75, 0.82), (1.15, 0.88), (1.0, 1.25)], 0.17, _darker(coat, 0.6))
    brush.stick([(0.72, 0.8), (0.95, 0.4)], 0.3, coat)
    brush.stick([(0.98, 0.45), (1.45, 0.64)], 0.12, _darker(coat, 0.8))
    brush.disc(1.05, 0.19, 0.19, _paint(rng))
    brush.shape([(1.08, 0.14), (1.24, 0.14), (1.22, 0.26), (1.1, 0.26)], GLASS)
    if cargo:
        brush.block((0.0, 0.3, 0.6, 0.95), _paint(rng))


def _paint(rng: np.random.Generator) -> Colour:
    """White, grey, black or a colour, as any vehicle or coat may have."""
    tones = np.array([[226, 226, 222], [170, 174, 178], [64, 66, 72], [184, 44, 40], [40, 78, 156],
                      [44, 124, 84], [226, 178, 44], [216, 118, 40], [120, 64, 128]])  # fmt: skip
    tone = tones[int(rng.integers(len(tones)))] + rng.uniform(-16, 16, 3)
    return _colour(tone)


def _darker(colour: Colour, factor: float) -> Colour:
    return _colour(np.array(colour) * factor)


def _colour(tone: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Colour:
    red, green, blue = np.clip(tone, 0, 255).astype(int).tolist()
    return red, green, blue


CAR = Kind("Car", 4.2, 1.6, 1.8, _car)
VAN = Kind("Van", 4.6, 1.9, 1.9, _van)
TRUCK = Kind("Truck", 7.0, 3.2, 2.5, _truck)
BUS = Kind("Bus", 10.5, 3.2, 2.5, _bus)
PERSON = Kind("Pedestrian", 0.65, 1.75, 0.5, _person)
CYCLIST = Kind("Cyclist", 1.75, 1.75, 0.6, _cyclist)
MOTORCYCLIST = Kind("Motorcyclist", 2.1, 1.55, 0.8, _motorcyclist)
TRICYCLIST = Kind("Tricyclist", 2.1, 1.55, 1.0, _tricyclist)
