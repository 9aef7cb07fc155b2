"""A synthetic set of untrimmed videos for temporal action detection, for the demo and tests.

Real mp4 files of three moving shapes (specs/adatad.md, 7). A class is a kind of motion by a shape
of one colour, for 1 to 4 seconds: red circles, green bounces, blue shakes. Every video also has
the colours without the motion, most of the time, and the motions without the colour. A video
depends on the seed and its own name only.

``motion_clips`` is the simpler task to pre-train a backbone on: short clips of one shape that
moves straight. Neither says anything about real data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import ConfigError
from backend.synthetic._once import write_json, write_once
from backend.synthetic._untrimmed_files import CODEC, write_video
from backend.synthetic._untrimmed_scene import (
    COLOURS,
    FPS,
    MOTIONS,
    SIDE,
    Actor,
    Doing,
    background,
    finish,
    homes,
    paint,
    render,
)

__all__ = [
    "CLASSES",
    "FPS",
    "SIDE",
    "MotionClips",
    "Untrimmed",
    "make_video",
    "motion_clips",
    "write_untrimmed",
]

CLASSES = ("red_circle", "green_bounce", "blue_shake")
ANNOTATIONS, VIDEOS = "annotations.json", "videos"
WAYS: Mapping[str, tuple[float, float]] = {
    "still": (0.0, 0.0), "left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0),
    "down": (0.0, 1.0),
}  # fmt: skip
"""The motions of the simpler task, as directions of x and y."""
VERSION = 1
_SUBSETS = {"train": "training", "val": "validation", "holdout": "holdout"}
_LASTS = (22.0, 34.0)
_ACTION, _PAUSE = (1.0, 4.0), (1.5, 6.0)
_OWN = 0.8
"""Share of what a coloured shape does that is its own class's motion."""


@dataclass(frozen=True)
class Untrimmed:
    """A made video: ``frames`` (n, 64, 64, 3), ``actions`` as class, start and end in seconds."""

    name: str
    frames: NDArray[np.uint8]
    actions: Sequence[tuple[str, float, float]]

    @property
    def duration(self) -> float:
        """In seconds."""
        return len(self.frames) / FPS


@dataclass(frozen=True)
class MotionClips:
    """Trimmed clips: ``frames`` (n, length, 64, 64, 3), one label each by ``motions`` and
    ``colours``."""

    frames: NDArray[np.uint8]
    motion: NDArray[np.int64]
    colour: NDArray[np.int64]
    motions: tuple[str, ...] = tuple(WAYS)
    colours: tuple[str, ...] = tuple(COLOURS)


def write_untrimmed(
    folder: Path, seed: int = 0, train: int = 24, val: int = 8, holdout: int = 0
) -> Path:
    """The set in ``folder``, made unless it is there already; returns the folder.

    It holds ``annotations.json`` as ActivityNet has it, with the subsets training, validation and
    ``holdout`` if that counts any, and ``videos/<name>.mp4``. It appears whole or not at all.

    Raises:
        ConfigError: an empty split.
        DataError: ``folder`` holds something else or cannot be written.
    """
    counts = {"train": train, "val": val} | ({"holdout": holdout} if holdout else {})
    if min(counts.values()) < 1:
        raise ConfigError(f"videos {counts}: every split needs at least one")
    stamp = {"generator": "backend.synthetic.untrimmed", "version": VERSION, "codec": CODEC,
             "seed": seed, "videos": counts}  # fmt: skip
    write_once(folder, stamp, "untrimmed videos", lambda making: _write(making, counts, seed))
    return folder


def make_video(split: str, number: int, seed: int = 0) -> Untrimmed:
    """Video ``number`` (from 1) of a split: train, val or holdout."""
    rng = np.random.default_rng([seed, list(_SUBSETS).index(split), number])
    length = int(rng.uniform(*_LASTS) * FPS)
    times = np.arange(length) / FPS
    actors = [_actor(colour, home, length / FPS, rng)
              for colour, home in zip(_cast(rng), homes(rng), strict=True)]  # fmt: skip
    own = list(COLOURS)[: len(CLASSES)]
    actions = [
        (CLASSES[doing.motion], doing.start, doing.end)
        for actor in actors
        for doing in actor.doings
        if actor.colour == own[doing.motion]
    ]
    name = f"{split}_{number:04d}"
    return Untrimmed(name, render(actors, times, rng), sorted(actions, key=lambda one: one[1:]))


def motion_clips(count: int, seed: int = 0, length: int = 16) -> MotionClips:
    """So many clips of one shape that moves straight, or not at all, beside one that stands still.

    Every motion and every colour is as likely as any other.
    """
    rng = np.random.default_rng([seed, len(_SUBSETS)])
    motion, colour = rng.integers(len(WAYS), size=count), rng.integers(len(COLOURS), size=count)
    frames = np.empty((count, length, SIDE, SIDE, 3), dtype=np.uint8)
    ways, colours = np.array(list(WAYS.values())), list(COLOURS.values())
    steps = np.arange(length)[:, None] - (length - 1) / 2
    for clip in range(count):
        places = homes(rng)
        scene = np.repeat(background(rng)[None], length, axis=0)
        paint(scene, np.tile(places[0], (length, 1)), _figure(rng), colours[rng.integers(6)])
        middle = rng.uniform(0.4, 0.6, 2) * SIDE
        moved = middle + ways[motion[clip]] * rng.uniform(1.5, 3) * steps
        paint(scene, moved, _figure(rng), colours[colour[clip]])
        frames[clip] = finish(scene, rng)
    return MotionClips(frames, motion, colour)


def _cast(rng: np.random.Generator) -> list[str]:
    """Two shapes in classes' colours, and one in another."""
    names = list(COLOURS)
    own, others = names[: len(CLASSES)], names[len(CLASSES) :]
    return [*rng.permutation(own)[:2].tolist(), str(rng.choice(others))]


def _actor(
    colour: str, home: tuple[float, float], duration: float, rng: np.random.Generator
) -> Actor:
    own = list(COLOURS).index(colour)
    doings, now = [], float(rng.uniform(0.5, _PAUSE[1]))
    while True:
        end = round(now + float(rng.uniform(*_ACTION)), 2)
        if end > duration - 0.5:
            break
        motion = int(rng.integers(len(MOTIONS)))
        if own < len(MOTIONS):
            others = [number for number in range(len(MOTIONS)) if number != own]
            motion = own if rng.random() < _OWN else int(rng.choice(others))
        doings.append(Doing(round(now, 2), end, motion))
        now = end + float(rng.uniform(*_PAUSE))
    shape, radius = _figure(rng)
    return Actor(colour, shape, radius, home, doings)


def _figure(rng: np.random.Generator) -> tuple[int, float]:
    """Number of the shape, and its radius."""
    return int(rng.integers(3)), float(rng.uniform(7, 8.5))


def _write(folder: Path, counts: Mapping[str, int], seed: int) -> None:
    (folder / VIDEOS).mkdir()
    database: dict[str, object] = {}
    for split, count in counts.items():
        for number in range(1, count + 1):
            made = make_video(split, number, seed)
            write_video(folder / VIDEOS / f"{made.name}.mp4", made.frames, FPS)
            database[made.name] = _entry(made, _SUBSETS[split])
    write_json(folder / ANNOTATIONS, {"version": f"synthetic-{VERSION}", "database": database})


def _entry(made: Untrimmed, subset: str) -> dict[str, object]:
    return {
        "subset": subset,
        "duration": made.duration,
        "fps": float(FPS),
        "frame": len(made.frames),
        "annotations": [
            {"label": label, "segment": [start, end]} for label, start, end in made.actions
        ],
    }
