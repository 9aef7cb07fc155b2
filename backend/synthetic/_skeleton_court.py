"""Where on a tennis court a player is, and where in the image that is.

The camera stands behind the near baseline. A place is (across, deep): across from -1 at the left
side line to 1 at the right one as the player faces the net, deep from 0 at the player's own
baseline to 1 at the net. Pixels are those of an image of 1280 x 720.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

IMAGE = (720, 1280)
NEAR, FAR = 1, 0
"""Of the two persons of a skeleton file."""
_BASELINE = {NEAR: 600.0, FAR: 195.0}
_NET = 330.0
_HEIGHT = {NEAR: 190.0, FAR: 75.0}  # of a player on the baseline
_HALF_WIDTH = {NEAR: 410.0, FAR: 215.0}  # of the court at the baseline
_ACROSS: Mapping[str, float] = {"deuce": 0.55, "middle": 0.0, "ad": -0.55}
_SERVING: Mapping[str, float] = {"deuce": 0.12, "middle": 0.0, "ad": -0.12}
_DEEP: Mapping[str, float] = {"volley": 0.65, "smash": 0.6, "drop": 0.2}
_RETURNING = -0.1
_AFTER_APPROACH = 0.6
_SETTLING = 1.5  # seconds before the first hit and after the last


@dataclass(frozen=True)
class Hit:
    """A player's contact with the ball: seconds from the clip's start, and what the label says.

    ``kind`` is serve, return or stroke; ``side`` fh or bh; ``shot`` gs, slice, volley, lob, drop
    or smash, as far as they are known. ``zone`` is deuce, middle or ad.
    """

    time: float
    zone: str
    kind: str
    side: str
    shot: str
    approach: bool = False

    @property
    def overhead(self) -> bool:
        return self.kind == "serve" or self.shot == "smash"


@dataclass(frozen=True)
class Ground:
    """A player's feet: ``pixels`` (T, 2), ``height`` (T,) of the body there in pixels, ``speed``
    (T,) in body heights per second."""

    pixels: Floats
    height: Floats
    speed: Floats


def walk(person: int, hits: Sequence[Hit], times: Floats, rng: np.random.Generator) -> Ground:
    """The player's way from hit to hit."""
    places = _way(hits, times, rng)
    far, near = _BASELINE[FAR], _BASELINE[NEAR]
    feet = _BASELINE[person] + places[:, 1] * (_NET - _BASELINE[person])
    nearness = (feet - far) / (near - far)
    height = _HEIGHT[FAR] + nearness * (_HEIGHT[NEAR] - _HEIGHT[FAR])
    half_width = _HALF_WIDTH[FAR] + nearness * (_HALF_WIDTH[NEAR] - _HALF_WIDTH[FAR])
    right = 1 if person == NEAR else -1
    pixels = np.stack([IMAGE[1] / 2 + right * places[:, 0] * half_width, feet], axis=-1)
    moved = np.linalg.norm(np.gradient(pixels, times, axis=0), axis=-1) if len(times) > 1 else 0
    return Ground(
        pixels, height * rng.normal(1, 0.03), np.broadcast_to(moved / height, len(times))
    )


def _way(hits: Sequence[Hit], times: Floats, rng: np.random.Generator) -> Floats:
    """Places (T, 2) by minimum jerk between the places of the hits (Flash and Hogan, 1985)."""
    first = rng.normal((0, 0), (0.2, 0.04))
    if not hits:
        return np.broadcast_to(first, (len(times), 2))
    stops = [_place(hit, rng) for hit in hits]
    start = stops[0] if hits[0].kind == "serve" else stops[0] + rng.normal((0, 0), (0.25, 0.03))
    end = np.array([rng.normal(0, 0.15), stops[-1][1]])
    at = np.array(
        [hits[0].time - _SETTLING, *(hit.time for hit in hits), hits[-1].time + _SETTLING]
    )
    stops = [start, *stops, end]
    for number, hit in enumerate(hits, start=2):
        if hit.approach:
            stops[number][1] = max(stops[number][1], _AFTER_APPROACH)
    return _minimum_jerk(times, at, np.array(stops))


def _place(hit: Hit, rng: np.random.Generator) -> Floats:
    across = (_SERVING if hit.kind == "serve" else _ACROSS)[hit.zone]
    behind = _RETURNING if hit.kind == "return" else 0.0
    deep = _DEEP.get(hit.shot, 0.3 if hit.approach else behind)
    spread = (0.03, 0.01) if hit.kind == "serve" else (0.1, 0.04)
    return rng.normal((across, deep), spread)


def _minimum_jerk(times: Floats, at: Floats, stops: Floats) -> Floats:
    leg = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    s = np.clip((times - at[leg]) / (at[leg + 1] - at[leg]), 0, 1)
    done = s**3 * (10 - 15 * s + 6 * s**2)
    moved: Floats = stops[leg] + done[:, None] * (stops[leg + 1] - stops[leg])
    return moved
