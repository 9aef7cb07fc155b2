"""How made untrimmed videos look and move: three shapes before a soft background, 64 x 64 pixels.

All randomness comes from the generator that is handed in. Colours are RGB in 0..255, places x and
y in pixels, times in seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]
Colour = tuple[float, float, float]

SIDE, FPS = 64, 12
MOTIONS = ("circle", "bounce", "shake")
COLOURS: Mapping[str, Colour] = {
    "red": (214, 50, 44),
    "green": (48, 172, 70),
    "blue": (56, 84, 214),
    "yellow": (222, 196, 50),
    "white": (236, 236, 232),
    "violet": (160, 70, 190),
}
"""The first three are the classes', in the order of ``MOTIONS``; the others are nobody's."""
REACH = 9.0
_CYCLES = {"circle": 1.6, "bounce": 2.0, "shake": 2.0}
"""How often a second a motion comes round, at least once in an action."""
_HOMES = ((17.0, 19.0), (47.0, 19.0), (32.0, 45.0))
_DRIFT, _NOISE = 1.0, 1.5


@dataclass(frozen=True)
class Doing:
    """From ``start`` to ``end`` a shape makes the motion of this number."""

    start: float
    end: float
    motion: int


@dataclass(frozen=True)
class Actor:
    """A shape: 0 disc, 1 square, 2 diamond; what it does rises and does not overlap."""

    colour: str
    shape: int
    radius: float
    home: tuple[float, float]
    doings: Sequence[Doing]


def homes(rng: np.random.Generator) -> list[tuple[float, float]]:
    """Three places that are far enough apart, in any order."""
    places = rng.permutation(_HOMES) + rng.uniform(-1.5, 1.5, (len(_HOMES), 2))
    return [(float(x), float(y)) for x, y in places]


def ways(actor: Actor, times: Floats, rng: np.random.Generator) -> Floats:
    """Where an actor's centre is at each time, (times, 2).

    It always drifts slowly. A motion starts and ends where the drift is: whole rounds only.
    """
    period, phase = rng.uniform(7, 14, 2), rng.uniform(0, 2 * np.pi, 2)
    places = actor.home + _DRIFT * np.sin(2 * np.pi * times[:, None] / period + phase)
    for doing in actor.doings:
        now = (times >= doing.start) & (times < doing.end)
        length = doing.end - doing.start
        rounds = max(1, round(length * _CYCLES[MOTIONS[doing.motion]]))
        turn = 2 * np.pi * rounds * (times[now] - doing.start) / length
        places[now] += REACH * _pattern(MOTIONS[doing.motion], turn)
    return places


def render(actors: Sequence[Actor], times: Floats, rng: np.random.Generator) -> Frames:
    """The frames at these times, (times, 64, 64, 3); later actors cover earlier ones."""
    frames = np.repeat(background(rng)[None], len(times), axis=0)
    for actor in actors:
        places = ways(actor, times, rng)
        paint(frames, places, (actor.shape, actor.radius), COLOURS[actor.colour])
    light = 1 + 0.04 * np.sin(2 * np.pi * times / rng.uniform(5, 9) + rng.uniform(0, 6))
    frames *= light[:, None, None, None].astype(np.float32)
    return finish(frames, rng)


def background(rng: np.random.Generator) -> NDArray[np.float32]:
    """A slope of dull colours with soft waves, (64, 64, 3)."""
    across = np.linspace(0, 1, SIDE)
    one, two = rng.uniform(85, 130, (2, 3))
    slope = one + (two - one) * across[:, None, None]
    wave = np.sin(2 * np.pi * (across * rng.uniform(1, 3) + rng.random()))
    down = np.sin(2 * np.pi * (across * rng.uniform(1, 3) + rng.random()))
    made: Floats = slope + 5 * (wave[None, :, None] + down[:, None, None])
    return made.astype(np.float32)


def paint(
    frames: NDArray[np.float32], places: Floats, figure: tuple[int, float], colour: Colour
) -> None:
    """Draw a shape (number, radius) into each frame, its edges smooth."""
    shape, radius = figure
    grid = np.arange(SIDE, dtype=np.float32) + 0.5
    x = np.abs(grid[None, None, :] - places[:, 0, None, None].astype(np.float32))
    y = np.abs(grid[None, :, None] - places[:, 1, None, None].astype(np.float32))
    if shape == 0:
        distance = np.hypot(x, y)
    else:
        distance = np.maximum(x, y) + radius * 0.1 if shape == 1 else (x + y) * 0.8
    cover = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    frames += cover * (np.array(colour, dtype=np.float32) - frames)


def finish(frames: NDArray[np.float32], rng: np.random.Generator) -> Frames:
    """With a camera's noise, as pixels."""
    noise = rng.standard_normal(frames.shape[:3], dtype=np.float32)[..., None]
    return np.clip(frames + _NOISE * noise, 0, 255).astype(np.uint8)


def _pattern(motion: str, turn: Floats) -> Floats:
    """Way from the place of rest, (n, 2), at most 1 in each direction from its middle."""
    nothing = np.zeros_like(turn)
    if motion == "circle":
        return np.stack([np.cos(turn) - 1, np.sin(turn)], axis=1) / 1.6
    if motion == "bounce":
        return np.stack([nothing, np.sin(turn)], axis=1)
    return np.stack([np.sin(turn), nothing], axis=1)
