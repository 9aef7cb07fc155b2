"""Clips cut into windows, which are what the network sees (specs/mdfed.md, 2.3 and 2.4).

Training draws windows at random; validation and inference tile each clip. What lies outside of a
clip, or has no skeleton, is zero and marked as not valid. ``missing: zeros`` is the public code's
way: all of it is valid, and background where nothing is labelled.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.datasets.spotting.records import SpottingSplit
from backend.trainers.mdfed.batch import CHANNELS, JOINTS, PERSONS, ROOT, Batch
from backend.trainers.mdfed.data_poses import Clip, Poses
from backend.trainers.mdfed.rendering import frames_of
from backend.trainers.mdfed.spec import MdFedConfig

BEFORE = 5
"""Strided frames before a clip's first one at which a window may begin."""
LEFT = "LH"

Bools = NDArray[np.bool_]


class Place(NamedTuple):
    """The number of a clip, and the raw frame at which a window begins."""

    clip: int
    start: int


class Labels(NamedTuple):
    """Of a window: ``coarse`` (T,), ``fine`` (T, K), ``valid`` (T,). Nothing is labelled where
    nothing is valid."""

    coarse: Bools
    fine: Bools
    valid: Bools


class Sample(NamedTuple):
    """One window of what ``Batch`` describes."""

    joints: Tensor
    roots: Tensor
    labels: Labels
    hands: tuple[bool, bool]
    start: int
    name: str
    frames: Tensor | None


class Cutter:
    """Windows of a split's clips. ``dilation``: frames beside an event that are labelled too."""

    def __init__(
        self,
        split: SpottingSplit,
        config: MdFedConfig,
        poses: Poses | None = None,
        dilation: int = 0,
    ) -> None:
        self.clips = split.clips
        self.length, self.stride = config.clips.length, config.clips.stride
        self.poses = poses or Poses(split, config)
        self._elements = len(split.elements)
        self._as_zeros = config.skeletons.missing == "zeros"
        self._frame_size = config.visual.size if config.stage > 1 else 0
        self._dilation = dilation

    def labels(self, place: Place) -> Labels:
        """What is told of a window, without a look at the skeletons but whether there are any."""
        clip = self.clips[place.clip]
        return self._labels(place, clip.num_frames if self.poses.has(place.clip) else 0)

    def cut(self, place: Place) -> Sample:
        """A window. Raises DataError if the clip's skeleton is not what it should be."""
        clip, found = self.clips[place.clip], self.poses.get(place.clip)
        given = 0 if found is None else len(found.pose.joints)
        joints = np.zeros((self.length, PERSONS, JOINTS, CHANNELS), np.float32)
        roots = np.zeros((self.length, PERSONS, ROOT), np.float32)
        if found is not None:
            inside = self._inside(place.start, given)
            frames = self._frames(place.start)[inside]
            joints[inside], roots[inside] = found.pose.joints[frames], found.pose.roots[frames]
        return Sample(
            joints=torch.from_numpy(joints),
            roots=torch.from_numpy(roots),
            labels=self._labels(place, given),
            hands=(clip.far_hand == LEFT, clip.near_hand == LEFT),
            start=place.start,
            name=clip.name,
            frames=self._drawn(found, place.start),
        )

    def _frames(self, start: int) -> NDArray[np.int64]:
        return start + self.stride * np.arange(self.length)

    def _inside(self, start: int, last: int) -> Bools:
        frames = self._frames(start)
        return (frames >= 0) & (frames < last)

    def _labels(self, place: Place, given: int) -> Labels:
        """``given``: raw frames of the clip that have a skeleton."""
        coarse = np.zeros(self.length, np.bool_)
        fine = np.zeros((self.length, self._elements), np.bool_)
        for event in self.clips[place.clip].events:
            middle = (event.frame - place.start) // self.stride
            low, high = max(middle - self._dilation, 0), middle + self._dilation + 1
            if high > 0:
                coarse[low:high] = True
                for element in event.elements:
                    fine[low:high, element] = True
        valid = self._inside(place.start, given) | self._as_zeros
        return Labels(coarse & valid, fine & valid[:, None], valid)

    def _drawn(self, found: Clip | None, start: int) -> Tensor | None:
        if not self._frame_size:
            return None
        if found is None or found.skeleton is None:
            return torch.zeros(self.length, 3, self._frame_size, self._frame_size)
        frames = self._frames(start).tolist()
        return torch.from_numpy(frames_of(found.skeleton, frames, self._frame_size))


class Windows:
    """Windows at random, for training: a clip as likely as it is long, each start as any other.

    Randomness is that of ``random``, which the Runner seeds for each sample. ``others`` are the
    poses of other splits, wanted later: what is wrong with them is said before the first step.
    """

    def __init__(
        self,
        split: SpottingSplit,
        config: MdFedConfig,
        poses: Poses | None = None,
        others: Sequence[Poses] = (),
    ) -> None:
        self.cutter = Cutter(split, config, poses, config.clips.dilation)
        self._others = tuple(others)
        lengths = [clip.num_frames for clip in split.clips]
        self._upto = list(accumulate(lengths))
        step = config.clips.length * config.clips.stride
        self._count = config.clips.per_epoch or math.ceil(self._upto[-1] / step)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        """A window; which one, chance decides and not the index."""
        return self.cutter.cut(self.draw(random.random))

    def set_epoch(self, epoch: int) -> None:
        """Poses are read before the loader's processes are forked. Raises DataError."""
        for poses in (self.cutter.poses, *self._others):
            poses.fill()

    def draw(self, chance: Callable[[], float]) -> Place:
        """A place at random; ``chance`` gives numbers from 0 to below 1."""
        clip = bisect_right(self._upto, chance() * self._upto[-1])
        stride, length = self.cutter.stride, self.cutter.length
        first = -BEFORE * stride
        last = self.cutter.clips[clip].num_frames - 1 + (BEFORE - length) * stride
        return Place(clip, first + int(chance() * max(last - first + 1, 1)))

    def places(self, count: int, seed: int) -> Iterator[Place]:
        """Places as a training with another seed would draw them."""
        chance = random.Random(seed).random
        return (self.draw(chance) for _ in range(count))


class Tiles:
    """All clips in windows one after another, each sharing ``overlap`` with the one before."""

    def __init__(
        self,
        split: SpottingSplit,
        config: MdFedConfig,
        overlap: float = 0.0,
        poses: Poses | None = None,
    ) -> None:
        self.cutter = Cutter(split, config, poses)
        shared = int(config.clips.length * overlap)
        stride, step = config.clips.stride, config.clips.length - shared
        self._places = [
            Place(number, start)
            for number, clip in enumerate(split.clips)
            for start in range(
                -BEFORE * stride, max(0, clip.num_frames - shared * stride), step * stride
            )
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        """The windows of the first clip from its start on, then those of the next."""
        return self.cutter.cut(self._places[index])

    def places(self, count: int, seed: int) -> Iterator[Place]:
        """The places as they are, at most ``count``; there is no chance in them."""
        return iter(self._places[:count])


def label_stream(windows: Windows | Tiles, count: int, seed: int = 0) -> Iterator[Labels]:
    """The labels of ``count`` windows as the loader yields them; skeletons are not read."""
    return map(windows.cutter.labels, windows.places(count, seed))


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch of windows of one length."""
    labels = [sample.labels for sample in samples]
    drawn = [sample.frames for sample in samples if sample.frames is not None]
    return Batch(
        joints=torch.stack([sample.joints for sample in samples]),
        roots=torch.stack([sample.roots for sample in samples]),
        valid=_stacked([label.valid for label in labels]),
        coarse=_stacked([label.coarse for label in labels]).long(),
        fine=_stacked([label.fine for label in labels]).float(),
        hands=torch.tensor([sample.hands for sample in samples], dtype=torch.float32),
        starts=torch.tensor([sample.start for sample in samples]),
        names=tuple(sample.name for sample in samples),
        frames=torch.stack(drawn) if drawn else None,
    )


def _stacked(rows: Sequence[Bools]) -> Tensor:
    return torch.from_numpy(np.stack(rows))
