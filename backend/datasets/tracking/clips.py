"""Which frames a training clip has: starts, strides, the clip length of an epoch, pseudo clips.

Nothing here remembers anything: the same seed and epoch, and the same state of ``chance``, always
give the same frames, in any worker.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

import numpy as np

from backend.core.errors import ConfigError, DataError
from backend.datasets.tracking.records import Bools, Floats, Ints

ID_ROOM = 100_000
"""Ids of a sequence lie below it, so that those of different sequences never meet."""


@dataclass(frozen=True)
class ClipIndex:
    """Where clips begin: ``starts`` (clips, 2) are places of sequence and frame.

    ``frames`` is each sequence's length; ``short`` the sequences that have fewer frames than the
    longest clip, whose last frame is repeated.
    """

    starts: Ints
    frames: tuple[int, ...]
    short: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def places(self, clip: int, length: int, stride: int) -> tuple[int, Ints]:
        """The sequence of a clip, and its frames' places there (length,)."""
        sequence, start = self.starts[clip].tolist()
        return sequence, clip_places(start, length, stride, self.frames[sequence])


def clip_index(frames: Sequence[int], longest: int) -> ClipIndex:
    """Every start from which ``longest`` frames follow each other, at least one per sequence.

    ``frames`` are the sequences' lengths. Raises DataError if nothing is left.
    """
    starts = [
        (sequence, start)
        for sequence, count in enumerate(frames)
        for start in range(max(1, count - longest + 1) if count else 0)
    ]
    if not starts:
        raise DataError("no sequence has a frame to train on")
    short = tuple(place for place, count in enumerate(frames) if count < longest)
    return ClipIndex(np.array(starts, dtype=np.int64), tuple(frames), short)


def clip_places(start: int, length: int, stride: int, frames: int) -> Ints:
    """Every ``stride``-th frame from ``start`` on; beyond the end, the last one again."""
    places: Ints = np.minimum(start + stride * np.arange(length, dtype=np.int64), frames - 1)
    return places


def draw_stride(largest: int, chance: Random) -> int:
    """The stride of one clip, each of 1 to ``largest`` equally likely."""
    return chance.randint(1, largest)


def draw_clips(count: int, clips: int, seed: int, epoch: int) -> Ints:
    """Which of ``clips`` an epoch (counted from 0) has, ``count`` of them.

    Epochs go on where the one before ended, through all clips in an order by chance, then through
    all in another order: none is seen twice more often than another.
    """
    rounds, places = np.divmod(np.arange(count, dtype=np.int64) + epoch * count, clips)
    orders = {one: np.random.default_rng([seed, one]).permutation(clips) for one in set(rounds)}
    drawn = [orders[one][place] for one, place in zip(rounds, places, strict=True)]
    return np.array(drawn, dtype=np.int64)


def check_curriculum(lengths: Sequence[int], epochs: Sequence[int]) -> None:
    """Raises ConfigError unless ``lengths`` are from 1 and ``epochs`` rise, one fewer."""
    if not lengths or min(lengths) < 1:
        raise ConfigError(f"clip lengths {list(lengths)}: expected numbers of frames from 1")
    rising = all(a < b for a, b in pairwise(epochs))
    if len(epochs) != len(lengths) - 1 or not rising or (epochs and epochs[0] < 1):
        raise ConfigError(
            f"epochs {list(epochs)} after which the clip length changes: expected "
            f"{len(lengths) - 1} rising from 1, one fewer than the lengths {list(lengths)}"
        )


def clip_length(epoch: int, lengths: Sequence[int], epochs: Sequence[int]) -> int:
    """The clip length of an epoch, counted from 0: the second one from ``epochs[0]`` on."""
    return lengths[bisect_right(epochs, epoch)]


def pseudo_shifts(length: int, largest: int, chance: Random) -> Ints:
    """Where a still image lies in each frame of a pseudo clip: (length, 2) x and y in pixels.

    It starts at 0 and moves by up to ``largest`` pixels from frame to frame.
    """
    steps = [[chance.randint(-largest, largest) for _ in range(length - 1)] for _ in "xy"]
    return np.array([list(accumulate(axis, initial=0)) for axis in steps], dtype=np.int64).T


def clipped(boxes: Floats, size: tuple[int, int]) -> tuple[Floats, Bools]:
    """Boxes (n, 4) cut at the border of an image, and which of them still have an area."""
    limits = np.array(size, dtype=np.float64)
    first = boxes[:, :2].clip(0, limits)
    last = (boxes[:, :2] + boxes[:, 2:]).clip(0, limits)
    inside = np.concatenate([first, last - first], axis=1)
    kept: Bools = np.all(inside[:, 2:] > 0, axis=1)
    return inside, kept


def unique_ids(ids: Ints, sequence: int) -> Ints:
    """Ids that no other sequence has. Raises DataError for one that is not below ``ID_ROOM``."""
    if len(ids) and (ids.max() >= ID_ROOM or ids.min() < 0):
        wrong = int(ids.max() if ids.max() >= ID_ROOM else ids.min())
        raise DataError(f"id {wrong}: identities of a sequence must lie below {ID_ROOM:,}")
    return ids + sequence * ID_ROOM
