"""Which skeletons of a split are there, and what they look like: evidence of D01 and D02."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.evidence import Channel, InputCensus, InputQuality
from backend.datasets.spotting.records import SpotClip, SpottingSplit
from backend.datasets.spotting.searching import found_elsewhere
from backend.datasets.spotting.skeleton_files import (
    TOLERANCE,
    Floats,
    RawSkeleton,
    read_raw,
    skeleton_file,
)

LOOKED_AT = 200
"""Clips whose skeletons are read for the survey."""
_FRAMES = 150
"""Of each clip, whose values are kept: evenly spread, at most."""
_SHOWN = 5
_ZERO = 0.95  # of the coordinates of a clip that counts as zero
_EMPTY, _OUTSIDE = 0.3, 0.2  # of the frames, of the joints of a clip that is named for it
_NOSE, _ANKLES = 0, slice(15, 17)


def missing_skeletons(split: SpottingSplit) -> tuple[str, ...]:
    """The clips without a skeleton file."""
    names = (clip.name for clip in split.clips)
    return tuple(name for name in names if skeleton_file(split.skeletons, name) is None)


def survey_skeletons(split: SpottingSplit, policy: str) -> tuple[InputCensus, InputQuality]:
    """Which files are there, of all clips; and what up to 200 of them look like, spread evenly.

    Raises DataError for a file that is damaged or would run code.
    """
    files = [(clip, skeleton_file(split.skeletons, clip.name)) for clip in split.clips]
    there = [(clip, path) for clip, path in files if path is not None]
    missing = tuple(clip.name for clip, path in files if path is None)
    elsewhere = found_elsewhere(missing, split)
    census = InputCensus(
        split=split.name,
        what="skeleton files",
        expected=len(split.clips),
        found=len(there),
        searched=str(split.skeletons),
        missing=missing[:_SHOWN],
        elsewhere=elsewhere.said,
        folder=elsewhere.folder,
        policy=policy,
    )
    places = np.linspace(0, len(there) - 1, min(LOOKED_AT, len(there))).astype(int)
    return census, _quality(split.name, [there[place] for place in places])


def body_height(keypoint: Floats, score: Floats) -> NDArray[np.float32]:
    """Of each person the clip's median distance from nose to ankles, in pixels; 0 if never seen.

    ``keypoint`` [M, T, 17, 2], ``score`` [M, T, 17] -> [M].
    """
    ankles = score[:, :, _ANKLES] != 0
    count = ankles.sum(axis=2)
    middle = np.where(ankles[..., None], keypoint[:, :, _ANKLES], 0).sum(axis=2)
    middle /= np.maximum(count, 1)[..., None]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        tall = np.hypot(*np.moveaxis(keypoint[:, :, _NOSE] - middle, -1, 0))
    seen = (count > 0) & (score[:, :, _NOSE] != 0) & np.isfinite(tall)
    heights = [np.median(t[s]) if s.any() else 0 for t, s in zip(tall, seen, strict=True)]
    return np.array(heights, np.float32)


@dataclass
class _Tally:
    """What was counted over clips; ``odd`` is by field of InputQuality."""

    frames: int = 0
    zero_frames: int = 0
    joints: int = 0
    outside: int = 0
    pairs: int = 0
    odd: dict[str, list[str]] = field(default_factory=dict)
    points: list[Floats] = field(default_factory=list)
    scores: list[Floats] = field(default_factory=list)

    def add(self, clip: SpotClip, raw: RawSkeleton) -> None:
        """One more clip."""
        points, scores = raw.keypoint, raw.scores
        there = scores != 0
        empty = ~(points != 0).any(axis=(0, 2, 3))
        beyond = there & ((points < 0) | (points > raw.image[::-1])).any(axis=-1)
        self.frames += len(empty)
        self.zero_frames += int(empty.sum())
        self.joints += int(there.sum())
        self.outside += int(beyond.sum())
        some = slice(None, None, math.ceil(len(empty) / _FRAMES))
        self.points.append(points[:, some].reshape(-1, 2))
        if raw.score is not None:
            self.scores.append(raw.score[:, some].ravel())
        odd = self._seen(clip, raw) | {
            "zero_frames": empty.mean() > _EMPTY,
            "outside": beyond.sum() > _OUTSIDE * there.sum(),
        }
        for name in (name for name, found in odd.items() if found):
            self.odd.setdefault(name, []).append(clip.name)
        self._whole(clip, raw)

    def count(self, name: str) -> int:
        """Clips that were odd in this way."""
        return len(self.odd.get(name, ()))

    def _seen(self, clip: SpotClip, raw: RawSkeleton) -> dict[str, bool]:
        points = raw.keypoint
        scored = raw.score is None or np.isfinite(raw.score).all()
        tall = body_height(points, raw.scores) if len(points) > 1 else np.zeros(1)
        self.pairs += int((tall > 0).all())
        return {
            "nonfinite": not (np.isfinite(points).all() and scored),
            "zero_units": bool((points == 0).mean() >= _ZERO),
            "mismatched": abs(points.shape[1] - clip.num_frames) > TOLERANCE,
            "swapped": bool((tall > 0).all() and tall[-1] < tall[0]),
            "img_shape": clip.height * clip.width > 0 and raw.image != (clip.height, clip.width),
        }

    def _whole(self, clip: SpotClip, raw: RawSkeleton) -> None:
        named = [
            name
            for name, values in zip(("x", "y"), np.moveaxis(raw.keypoint, -1, 0), strict=True)
            if raw.whole or (values.any() and np.array_equal(values, np.trunc(values)))
        ]
        if named:
            text = f"{clip.name} ({', '.join(f'keypoint {name}' for name in named)})"
            self.odd.setdefault("integer", []).append(text)

    def channels(self) -> tuple[Channel, ...]:
        """Spread of coordinates, and of scores if files have them."""
        points = np.concatenate(self.points)
        found = [("keypoint x", points[:, 0]), ("keypoint y", points[:, 1])]
        if self.scores:
            found.append(("score", np.concatenate(self.scores)))
        return tuple(_channel(name, values) for name, values in found)


def _quality(split: str, files: Sequence[tuple[SpotClip, Path]]) -> InputQuality:
    if not files:
        return InputQuality(split=split, units=0)
    tally = _Tally()
    for clip, path in files:
        tally.add(clip, read_raw(path))
    return InputQuality(
        split=split,
        units=len(files),
        channels=tally.channels(),
        nonfinite=tally.count("nonfinite"),
        zero_frames=tally.zero_frames / tally.frames,
        zero_units=tally.count("zero_units"),
        outside=tally.outside / tally.joints if tally.joints else None,
        mismatched=tally.count("mismatched"),
        swapped=tally.count("swapped") if tally.pairs else None,
        integer=tally.count("integer"),
        examples={name: tuple(found[:_SHOWN]) for name, found in tally.odd.items()},
    )


def _channel(name: str, values: Floats) -> Channel:
    finite = values[np.isfinite(values)].astype(np.float64)
    spread = float(finite.std()) if len(finite) else 0.0
    return Channel(name=name, std=spread, distinct=len(np.unique(finite)))
