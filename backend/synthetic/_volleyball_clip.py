"""One made sequence: its frames, what is on them, and what a detector found there.

A sequence depends on the seed and its own name only. Frames, identities and classes count from 1.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from backend.synthetic import _volleyball_scene as scene
from backend.synthetic._volleyball_motion import (
    FRAMES,
    HEIGHT,
    HIGH,
    WIDE,
    WIDTH,
    Floats,
    Ints,
    Walk,
    walks,
)

VERSION = 1  # rises when the same seed gives other files
CLASSES = len(scene.HUES)
PLAYERS = (4, 5)
NOISE = 0.03  # of the camera, in shares of white
BOX_NOISE, MISSED, FALSE, CONFUSED = 0.05, 0.08, 0.4, 0.1
"""The detector's errors: shares of a box's size, of the boxes, boxes per frame, of the classes."""
SURE, UNSURE = (8, 2), (3, 4)
"""Beta distributions of the scores of true and of false boxes."""
_STRIDE = 3  # frames of a step
_WALKING = 0.6  # pixels per frame from which a player is seen to step


@dataclass(frozen=True)
class Truth:
    """The boxes of all frames, one row each, by frame and within it from far to near.

    ``boxes`` (n, 4) is x, y, w, h in whole pixels; ``visibility`` is the share of a box that no
    nearer one hides; the others are (n,) too.
    """

    frames: Ints
    ids: Ints
    boxes: Ints
    labels: Ints
    visibility: Floats


@dataclass(frozen=True)
class Detections:
    """What a detector found, by frame: ``boxes`` (n, 4) is x, y, w, h; the others are (n,)."""

    frames: Ints
    boxes: Floats
    labels: Ints
    scores: Floats


@dataclass(frozen=True)
class Clip:
    """A sequence; ``images`` is (T, H, W, 3)."""

    split: str
    name: str
    images: NDArray[np.uint8]
    truth: Truth
    detections: Detections


@dataclass(frozen=True)
class _Player:
    """Who is seen: ``labels`` (frames of the walk,) counts classes from 0."""

    number: int
    walk: Walk
    labels: Ints


def make_clip(
    domain: str, split: str, number: int, seed: int = 0, class_changes: float = 0.0
) -> Clip:
    """Sequence ``number``, from 1, of a split of the ``source`` (1 class) or ``target`` (8).

    ``class_changes`` is the share of the target's players whose class changes in mid-track. Two
    neighbours of the target (1 and 2, 3 and 4, ...) show all classes.
    """
    target = {"source": False, "target": True}[domain]
    name = f"{domain}-{split}-{number:02d}"
    motion, drawing, detector = (
        np.random.default_rng([seed, VERSION, zlib.crc32(name.encode()), stream])
        for stream in range(3)
    )
    ways = walks(int(motion.integers(*PLAYERS, endpoint=True)), target, motion)
    if target:
        pair = zlib.crc32(f"{domain}-{split}".encode()), (number - 1) // 2
        deck = np.random.default_rng([seed, VERSION, *pair]).permutation(CLASSES)
        labels = _classes(ways, np.split(deck, 2)[(number - 1) % 2], class_changes, motion)
    else:
        labels = [np.zeros(len(way.boxes), dtype=np.int64) for way in ways]
    players = [_Player(i, *both) for i, both in enumerate(zip(ways, labels, strict=True), start=1)]
    truth = _truth(players)
    return Clip(
        split=split,
        name=name,
        images=_images(players, target, drawing),
        truth=truth,
        detections=_detections(truth, CLASSES if target else 1, detector),
    )


def _classes(
    ways: Sequence[Walk], deck: Ints, changes: float, rng: np.random.Generator
) -> list[Ints]:
    """One card of the deck for each player, then any; a change comes in the middle third."""
    made = []
    for at, way in enumerate(ways):
        frames = len(way.boxes)
        first = int(deck[at]) if at < len(deck) else int(rng.integers(CLASSES))
        other = (first + int(rng.integers(1, CLASSES))) % CLASSES
        start = int(rng.integers(frames // 3, 2 * frames // 3))
        changed = (rng.random() < changes) & (np.arange(frames) >= start)
        made.append(np.where(changed, other, first))
    return made


def _seen(players: Sequence[_Player], frame: int) -> Iterator[tuple[_Player, int]]:
    """Who is there, from far to near, each with the step of the walk; frames count from 0."""
    there = [p for p in players if p.walk.first <= frame <= p.walk.last]
    for one in sorted(there, key=lambda p: int(p.walk.ground[frame - p.walk.first])):
        yield one, frame - one.walk.first


def _truth(players: Sequence[_Player]) -> Truth:
    rows, visibility = [], []
    for frame in range(FRAMES):
        nearest = np.zeros((HEIGHT, WIDTH), dtype=np.int64)
        shown = []
        for one, step in _seen(players, frame):
            x, y, w, h = one.walk.boxes[step].tolist()
            nearest[y : y + h, x : x + w] = one.number
            shown.append((frame + 1, one.number, x, y, w, h, int(one.labels[step]) + 1))
        rows += shown
        visibility += [np.count_nonzero(nearest == row[1]) / (row[4] * row[5]) for row in shown]
    table = np.array(rows, dtype=np.int64)
    return Truth(
        frames=table[:, 0],
        ids=table[:, 1],
        boxes=table[:, 2:6],
        labels=table[:, 6],
        visibility=np.array(visibility),
    )


def _images(
    players: Sequence[_Player], target: bool, rng: np.random.Generator
) -> NDArray[np.uint8]:
    hall = scene.court(rng) if target else scene.floor(rng)
    looks = {one.number: scene.look(rng) for one in players}
    shirts = {
        (one.number, label): scene.shirt(label if target else None, rng)
        for one in players
        for label in np.unique(one.labels).tolist()
    }

    @cache
    def drawn(number: int, label: int, pose: int, size: tuple[int, int]) -> scene.Sprite:
        return scene.sprite(looks[number], shirts[number, label], pose, size)

    images = np.empty((FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame, image in enumerate(images):
        sheet = hall.copy()
        for one, step in _seen(players, frame):
            x, y, w, h = one.walk.boxes[step].tolist()
            seen = drawn(one.number, int(one.labels[step]), _pose(one.walk, step), (w, h))
            sheet.paste(seen.picture, (x, y), seen.shape)
        grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(255 * NOISE)
        image[:] = np.clip(np.rint(np.asarray(sheet) + grain), 0, 255)
    return images


def _pose(walk: Walk, step: int) -> int:
    if walk.airborne[step]:
        return scene.JUMP
    before = walk.boxes[max(step - _STRIDE, 0)]
    way = float(np.hypot(*(walk.boxes[step] - before)[:2]))
    walking = way > _WALKING * _STRIDE and step // _STRIDE % 2
    return scene.STEP if walking else scene.STAND


def _detections(truth: Truth, classes: int, rng: np.random.Generator) -> Detections:
    """The truth with a detector's errors, true boxes before false ones within a frame."""
    kept = rng.random(len(truth.frames)) >= MISSED
    size = truth.boxes[:, [2, 3, 2, 3]]
    found = truth.boxes + rng.normal(0, BOX_NOISE, size.shape) * size
    wrong = rng.random(len(kept)) < (CONFUSED if classes > 1 else 0)
    shift = rng.integers(1, max(classes, 2), len(kept))
    labels = np.where(wrong, (truth.labels - 1 + shift) % classes + 1, truth.labels)
    false = np.repeat(np.arange(1, FRAMES + 1), rng.poisson(FALSE, FRAMES))
    frames = np.concatenate([truth.frames[kept], false])
    order = np.argsort(frames, kind="stable")
    return Detections(
        frames=frames[order],
        boxes=np.concatenate([found[kept], _anywhere(len(false), rng)])[order],
        labels=np.append(labels[kept], rng.integers(1, classes + 1, len(false)))[order],
        scores=np.append(rng.beta(*SURE, int(kept.sum())), rng.beta(*UNSURE, len(false)))[order],
    )


def _anywhere(count: int, rng: np.random.Generator) -> Floats:
    """Boxes (n, 4) as large as players, somewhere in the image."""
    size = rng.uniform((WIDE[0], HIGH[0]), (WIDE[1], HIGH[1]), (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * ((WIDTH, HEIGHT) - size)
    return np.concatenate([corner, size], axis=1)
