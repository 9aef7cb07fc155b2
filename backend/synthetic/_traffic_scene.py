"""A road scene seen by a camera beside it: what stands where, drawn far to near.

All randomness comes from the generator that is handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.synthetic import _traffic_shapes as shapes
from backend.synthetic._traffic_shapes import Brush, Kind

FINE = 2  # drawn this much larger than it is saved, for smooth edges
CAMERA = 4.8  # metres above the road
EMPTY = 0.04  # share of scenes without objects
OVERLAP = 0.35  # most that two boxes may share, of the smaller
_TRIES = 30

Kinds = Sequence[tuple[float, tuple[Kind, ...]]]

KINDS: Kinds = (
    (0.34, (shapes.CAR, shapes.CAR, shapes.VAN)),
    (0.18, (shapes.PERSON,)),
    (0.13, (shapes.CYCLIST,)),
    (0.13, (shapes.MOTORCYCLIST, shapes.MOTORCYCLIST, shapes.TRICYCLIST)),
    (0.12, (shapes.TRUCK,)),
    (0.10, (shapes.BUS,)),
)
"""How often each class is met, and the types that it is written as."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placed:
    """An object in a scene. ``box`` is its visible part in pixels of the saved image, ``whole``
    reaches beyond the border; ``ground`` is x and distance from the camera in metres."""

    kind: Kind
    box: Box
    whole: Box
    ground: tuple[float, float]
    mirrored: bool
    occlusion: int = 0

    @property
    def truncation(self) -> int:
        """1: cut at the left or right border."""
        return int(self.whole != self.box)


@dataclass(frozen=True)
class TrafficScene:
    """A finished image (H, W, 3) and what is on it, near objects last."""

    image: NDArray[np.uint8]
    objects: tuple[Placed, ...]


def compose(size: tuple[int, int], rng: np.random.Generator, kinds: Kinds = KINDS) -> TrafficScene:
    """One scene of a width and height."""
    width, height = size
    horizon = height * float(rng.uniform(0.28, 0.4))
    sheet = Image.new("RGB", (width * FINE, height * FINE))
    draw = ImageDraw.Draw(sheet)
    _landscape(draw, sheet.size, horizon * FINE, rng)
    objects = _placed(size, horizon, rng, kinds)
    for one in objects:
        _shadow(draw, one)
        left, top, right, _ = one.whole
        scale = (right - left) / one.kind.width * FINE
        brush = Brush(draw, left * FINE, top * FINE, one.kind.width, scale, one.mirrored)
        one.kind.paint(brush, rng)
    image = np.asarray(sheet.reduce(FINE)).astype(np.float32)
    image *= rng.uniform(0.55, 1.1)
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(2, 6))
    return TrafficScene(np.clip(image, 0, 255).astype(np.uint8), _occluded(objects))


def _placed(
    size: tuple[int, int], horizon: float, rng: np.random.Generator, kinds: Kinds
) -> list[Placed]:
    """Objects on the ground, far to near."""
    if rng.random() < EMPTY:
        return []
    found: list[Placed] = []
    weights = np.array([weight for weight, _ in kinds])
    for _ in range(int(rng.integers(3, 10))):
        types = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][1]
        kind = types[int(rng.integers(len(types)))]
        for _ in range(_TRIES):
            one = _somewhere(kind, size, horizon, rng)
            if one is not None and all(_shared(one.box, o.box) <= OVERLAP for o in found):
                found.append(one)
                break
    return sorted(found, key=lambda one: one.whole[3])


def _somewhere(
    kind: Kind, size: tuple[int, int], horizon: float, rng: np.random.Generator
) -> Placed | None:
    """The kind at a random place on the ground; None where too little of it is in the image."""
    width, height = size
    depth = 0.22 + 0.62 * float(rng.random()) ** 1.4
    bottom = horizon + depth * (height - horizon)
    scale = (bottom - horizon) / CAMERA * float(rng.uniform(0.92, 1.08))
    wide, high = kind.width * scale, kind.height * scale
    centre = float(rng.uniform(0, width))
    whole = (centre - wide / 2, bottom - high, centre + wide / 2, bottom)
    box = (max(whole[0], 0.0), whole[1], min(whole[2], float(width)), whole[3])
    if whole[1] < 0 or box[2] - box[0] < 0.6 * wide:
        return None
    distance = CAMERA * height / (bottom - horizon)
    ground = (round((centre - width / 2) / scale, 2), round(distance, 2))
    return Placed(kind, box, whole, ground, bool(rng.random() < 0.5))


def _shared(a: Box, b: Box) -> float:
    """The common area of two boxes, of the smaller one's."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return max(wide, 0.0) * max(high, 0.0) / smaller


def _occluded(objects: Sequence[Placed]) -> tuple[Placed, ...]:
    """How much of each is behind nearer ones: 0 nothing, 1 up to a half, 2 more."""
    states = []
    for at, one in enumerate(objects):
        left, top, right, bottom = (round(edge) for edge in one.box)
        hidden = np.zeros((max(bottom - top, 1), max(right - left, 1)), dtype=bool)
        for near in objects[at + 1 :]:
            x0, y0, x1, y1 = (round(edge) for edge in near.box)
            hidden[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)] = 1
        share = hidden.mean()
        states.append(0 if share == 0 else 1 if share <= 0.5 else 2)
    made = zip(objects, states, strict=True)
    return tuple(replace(one, occlusion=state) for one, state in made)


def _landscape(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: float, rng: np.random.Generator
) -> None:
    """Sky, buildings, verge, and a road that narrows to its vanishing point."""
    width, height = size
    sky, verge = _tint(rng, (150, 186, 222)), _tint(rng, (104, 122, 92))
    for row in range(0, int(horizon) + 1, 4):
        pale = sky + (245 - sky) * 0.6 * row / horizon
        draw.rectangle((0, row, width, row + 4), fill=_whole(pale))
    draw.rectangle((0, int(horizon), width, height), fill=_whole(verge))
    _buildings(draw, size, horizon, rng)
    grey = rng.uniform(84, 116)
    vanish = width * float(rng.uniform(0.35, 0.65))
    foot = [width * float(rng.uniform(-0.5, -0.05)), width * float(rng.uniform(1.05, 1.5))]
    road = [(vanish - 4, horizon), (vanish + 4, horizon), (foot[1], height), (foot[0], height)]
    draw.polygon(road, fill=_whole(np.full(3, grey)))
    for share in (0.02, 0.98):
        _mark(draw, (vanish, horizon), (foot[0] + share * (foot[1] - foot[0]), height), (0, 1))
    for share in (1 / 3, 2 / 3):
        end = (foot[0] + share * (foot[1] - foot[0]), height)
        for start in np.geomspace(0.05, 0.9, 7).tolist():
            _mark(draw, (vanish, horizon), end, (start, start * 1.3))


def _mark(
    draw: ImageDraw.ImageDraw,
    far: tuple[float, float],
    near: tuple[float, float],
    part: tuple[float, float],
) -> None:
    """A painted line on the road from one share of the way to another, wider when near."""
    points = []
    for share in part:
        x, y = far[0] + share * (near[0] - far[0]), far[1] + share * (near[1] - far[1])
        points.append((x, y, 0.007 * share * near[1]))
    (x0, y0, w0), (x1, y1, w1) = points
    draw.polygon(
        [(x0 - w0, y0), (x0 + w0, y0), (x1 + w1, y1), (x1 - w1, y1)], fill=(214, 212, 200)
    )


def _buildings(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], horizon: float, rng: np.random.Generator
) -> None:
    width, x = size[0], 0.0
    while x < width:
        wide, high = width * float(rng.uniform(0.06, 0.2)), horizon * float(rng.uniform(0.15, 0.7))
        tone = _tint(rng, (164, 152, 142))
        draw.rectangle((x, horizon - high, x + wide, horizon), fill=_whole(tone))
        pitch = max(8.0, horizon * 0.09)
        for top in np.arange(horizon - high + pitch / 2, horizon - pitch, pitch).tolist():
            for left in np.arange(x + pitch / 2, x + wide - pitch, pitch).tolist():
                box = (left, top, left + pitch * 0.45, top + pitch * 0.5)
                draw.rectangle(box, fill=_whole(tone * 0.72))
        x += wide + width * float(rng.uniform(0, 0.05))


def _shadow(draw: ImageDraw.ImageDraw, one: Placed) -> None:
    left, _, right, bottom = (edge * FINE for edge in one.whole)
    flat = (right - left) * 0.05 + FINE
    draw.ellipse((left, bottom - flat, right, bottom + flat * 0.4), fill=(58, 58, 60))


def _tint(rng: np.random.Generator, tone: tuple[int, int, int]) -> NDArray[np.float64]:
    """The tone, lighter or darker and a little off."""
    return np.array(tone) + rng.uniform(-32, 28) + rng.uniform(-14, 14, 3)


def _whole(tone: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = np.clip(tone, 0, 255).astype(int).tolist()
    return red, green, blue
