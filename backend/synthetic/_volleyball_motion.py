"""How made players move: where each one's box is, frame by frame, in whole pixels.

All randomness comes from the generator that is handed in.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WIDTH, HEIGHT, FRAMES = 160, 96, 40
WIDE, HIGH = (15, 21), (30, 40)
"""Range of a player's width and height, both ends inclusive."""
DAMPING, ACCELERATION, FASTEST = 0.95, 0.25, 3.0
LATE, EARLY = 0.25, 0.25
"""Shares of the players who appear late and who leave early."""
EDGE = (5, 15)
"""So many frames, of the first or of the last, does such a player miss."""
JUMP_FRAMES = 6
ROOM = 12
"""Rows at the top that only a jump reaches; it also bounds the jump."""
APART = 0.3
"""The most of the smaller one's box that two players share when they appear."""
_TRIES = 20


@dataclass(frozen=True)
class Walk:
    """One player's way from frame ``first`` on, frames counted from 0.

    ``boxes`` (n, 4) are x, y, width and height in whole pixels, inside of the image; ``ground``
    (n,) is the row of the feet, which a jump does not change; ``airborne`` (n,) tells a jump.
    """

    first: int
    boxes: Ints
    ground: Ints
    airborne: NDArray[np.bool_]

    @property
    def last(self) -> int:
        """The last frame, inclusive."""
        return self.first + len(self.boxes) - 1


def walks(count: int, jumping: bool, rng: np.random.Generator) -> list[Walk]:
    """The ways of so many players, who do not start on top of each other."""
    made: list[Walk] = []
    for _ in range(count):
        for _ in range(_TRIES):
            walk = _walk(jumping, rng)
            if all(_shared(walk, other) <= APART for other in made):
                break
        made.append(walk)
    return made


def _walk(jumping: bool, rng: np.random.Generator) -> Walk:
    size = np.array([rng.integers(low, high, endpoint=True) for low, high in (WIDE, HIGH)])
    missed = rng.integers(*EDGE, size=2, endpoint=True) * (rng.random(2) < (LATE, EARLY))
    first, end = int(missed[0]), FRAMES - int(missed[1])
    corner = _wander(end - first, size, rng)
    places = np.concatenate([corner, np.tile(size, (end - first, 1))], axis=1)
    ground = places[:, 1] + places[:, 3]
    airborne = np.zeros(end - first, dtype=np.bool_)
    if jumping:
        start = int(rng.integers(end - first - JUMP_FRAMES))
        phase = np.arange(1, JUMP_FRAMES + 1) / (JUMP_FRAMES + 1)
        lift = np.rint(4 * phase * (1 - phase) * rng.uniform(0.6, 1) * ROOM).astype(np.int64)
        places[start : start + JUMP_FRAMES, 1] -= lift
        airborne[start : start + JUMP_FRAMES] = True
    return Walk(first, places, ground, airborne)


def _wander(frames: int, size: Ints, rng: np.random.Generator) -> Ints:
    """Left upper corners (frames, 2): a random walk of the velocity, reflected at the borders."""
    low, high = np.array((0.0, ROOM)), np.array((WIDTH, HEIGHT)) - size
    place = rng.uniform(low, high)
    velocity = rng.normal(0, ACCELERATION / np.sqrt(1 - DAMPING**2), 2)
    places = np.empty((frames, 2))
    for frame in range(frames):
        places[frame] = place
        velocity = DAMPING * velocity + rng.normal(0, ACCELERATION, 2)
        velocity *= min(1.0, FASTEST / float(np.hypot(*velocity)))
        place = place + velocity
        outside = (place < low) | (place > high)
        velocity = np.where(outside, -velocity, velocity)
        place = np.where(place < low, 2 * low - place, place)
        place = np.where(place > high, 2 * high - place, place)
    return np.rint(places).astype(np.int64)


def _shared(walk: Walk, other: Walk) -> float:
    """How much of the smaller box they share in the first frame that has both; 0 if none has."""
    frame = max(walk.first, other.first)
    if frame > min(walk.last, other.last):
        return 0.0
    a, b = walk.boxes[frame - walk.first], other.boxes[frame - other.first]
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)) / min(np.prod(a[2:]), np.prod(b[2:])))
