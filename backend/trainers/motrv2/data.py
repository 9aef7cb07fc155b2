"""Clips of frames for training, and sequences of frames for inference (specs/motrv2.md, 1.4).

Randomness is that of ``random``, which the Runner seeds for each sample: a clip's stride, views
and colours are drawn from it, whatever process makes the clip.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from backend.core.errors import DataError
from backend.datasets.tracking.clips import (
    clip_index,
    clip_length,
    draw_clips,
    draw_stride,
    pseudo_shifts,
    unique_ids,
)
from backend.datasets.tracking.records import Ints, TrackFrame, TrackingSplit, TrackSequence
from backend.trainers.motrv2.batch import Batch, Clip, Frame
from backend.trainers.motrv2.images import (
    Size,
    View,
    draw_colours,
    draw_view,
    drifting,
    read_image,
    room,
    seen,
    shown,
    whole,
)
from backend.trainers.motrv2.spec import Motrv2Config


class Sample(NamedTuple):
    """A clip; ``name`` is its sequence, first frame, stride and length: ``seq/000012+3x5``."""

    clip: Clip
    name: str


class Cutter:
    """Clips of a split, each within a sequence's first and last annotated frame.

    Pseudo clips are of one image each, seen at several places, and every box has an identity of
    its own. Raises DataError for identities out of range, or if there is no frame.
    """

    def __init__(self, split: TrackingSplit, config: Motrv2Config) -> None:
        self._config, self._sequences = config, split.sequences
        if not config.clips.pseudo:
            _check_ids(split)
        spans = [_annotated(sequence) for sequence in split.sequences]
        self._firsts = [first for first, _ in spans]
        longest = 1 if config.clips.pseudo else max(config.clips.lengths)
        self._index = clip_index([count for _, count in spans], longest)

    def __len__(self) -> int:
        return len(self._index)

    def cut(self, clip: int, length: int, chance: Random | None = None) -> Sample:
        """A clip, its stride and looks drawn from ``chance``; without it, frames as they are."""
        clips, images = self._config.clips, self._config.images
        stride = 0 if clips.pseudo else draw_stride(clips.interval, chance) if chance else 1
        at, places = self._index.places(clip, length, stride)
        places += self._firsts[at]
        sequence = self._sequences[at]
        views = self._views(_size(sequence), length, chance)
        colours = draw_colours(images, chance) if chance else None
        read = {place: _read(sequence, place) for place in set(places.tolist())}
        frames = []
        for place, view in zip(places.tolist(), views, strict=True):
            found = sequence.frame(place)
            picture = shown(read[place], view, colours)
            frames.append(_frame(found, picture, view, self._ids(found, at)))
        first = sequence.numbers[places[0]]
        return Sample(tuple(frames), f"{sequence.name}/{first:06d}+{stride}x{length}")

    def _ids(self, found: TrackFrame, sequence: int) -> Ints:
        ids = found.ids[found.targets]
        if self._config.clips.pseudo:
            ids = np.arange(len(ids), dtype=np.int64)
        return unique_ids(ids, sequence)

    def _views(self, size: Size, length: int, chance: Random | None) -> tuple[View, ...]:
        """One view for all frames; of a pseudo clip, one that drifts over half of the image at
        most."""
        clips, images = self._config.clips, self._config.images
        shifts = np.zeros((length, 2), dtype=np.int64)
        if clips.pseudo:
            largest = min(clips.pseudo_shift, min(size) // (2 * length))
            shifts = pseudo_shifts(length, largest, chance or Random(0))
        across, down = room(shifts)
        inner = size[0] - across, size[1] - down
        view = draw_view(inner, images, chance) if chance else whole(inner, images)
        return drifting(view, shifts)


class ClipSamples:
    """What an epoch trains on: clips of the epoch's length, at random strides and looks.

    ``clips.per_epoch`` of them, or one from every frame on that has as many after it as the
    longest clip needs; a sequence that is too short has one, its last frame repeated.
    """

    def __init__(self, split: TrackingSplit, config: Motrv2Config) -> None:
        self._cutter = Cutter(split, config)
        self._config = config
        self.set_epoch(1)

    def __len__(self) -> int:
        return self._config.clips.per_epoch or len(self._cutter)

    def __getitem__(self, index: int) -> Sample:
        """A clip as it is drawn. Raises DataError for an image that cannot be read."""
        chance = Random(random.getrandbits(64))
        return self._cutter.cut(int(self._clips[index]), self.length, chance)

    def set_epoch(self, epoch: int) -> None:
        """Go on to an epoch, counted from 1. The Runner forks its loader's processes after it."""
        clips, before = self._config.clips, epoch - 1
        self.length = clip_length(before, clips.lengths, clips.epochs)
        self._clips = np.arange(len(self._cutter))
        if clips.per_epoch:
            self._clips = draw_clips(clips.per_epoch, len(self._cutter), self._config.seed, before)


class ValidationClips(Sequence[Sample]):
    """``learning.val_clips`` clips at even places, of the longest length, with nothing drawn; read
    when asked for."""

    def __init__(self, split: TrackingSplit, config: Motrv2Config) -> None:
        self._cutter = Cutter(split, config)
        self._length = max(config.clips.lengths)
        count = min(config.learning.val_clips, len(self._cutter))
        self._clips = np.linspace(0, len(self._cutter) - 1, count).round().astype(int).tolist()

    def __len__(self) -> int:
        return len(self._clips)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """Raises DataError for an image that cannot be read."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return self._cutter.cut(self._clips[index], self._length)


def collate(samples: Sequence[Sample]) -> Batch:
    """Clips side by side."""
    return Batch(
        clips=tuple(sample.clip for sample in samples),
        names=tuple(sample.name for sample in samples),
    )


class SequenceFrames:
    """The frames of a sequence in order, as inference sees them; the next is read meanwhile.

    Boxes and identities are those of the file. ``numbers`` are as in the files' names, ``size``
    is width and height of the images on disk. Raises DataError if nothing tells it.
    """

    def __init__(self, sequence: TrackSequence, config: Motrv2Config) -> None:
        self._sequence = sequence
        self.numbers: tuple[int, ...] = tuple(sequence.numbers.tolist())
        self.size = _size(sequence)
        self._view = whole(self.size, config.images)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Frame:
        """Raises DataError for an image that is missing, damaged or of another size."""
        found = self._sequence.frame(range(len(self))[place])
        picture = shown(_read(self._sequence, place), self._view)
        return _frame(found, picture, self._view, found.ids[found.targets])

    def __iter__(self) -> Iterator[Frame]:
        if not len(self):
            return
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.__getitem__, 0)
            for place in range(1, len(self)):
                frame, ahead = ahead.result(), pool.submit(self.__getitem__, place)
                yield frame
            yield ahead.result()


def _frame(found: TrackFrame, picture: Tensor, view: View, ids: Ints) -> Frame:
    """A frame as it is seen; ``ids`` are those of its targets."""
    boxes, kept = seen(found.boxes[found.targets], view)
    proposals, made = seen(found.proposals, view)
    return Frame(
        image=picture,
        boxes=boxes,
        labels=torch.from_numpy(found.labels[found.targets][kept]),
        ids=torch.from_numpy(ids[kept]),
        proposals=proposals,
        proposal_scores=torch.from_numpy(found.proposal_scores[made]).float(),
        proposal_classes=torch.from_numpy(found.proposal_classes[made]),
    )


def _read(sequence: TrackSequence, place: int) -> Tensor:
    path = sequence.images[place]
    if path is None:
        raise DataError(
            f"{sequence.folder}: frame {sequence.numbers[place]} has no image in "
            f"{sequence.images_in}; add it, or take the frame out of the annotations"
        )
    return read_image(path, _size(sequence))


def _size(sequence: TrackSequence) -> Size:
    if sequence.width is None or sequence.height is None:
        raise DataError(f"{sequence.folder}: has no images, and seqinfo.ini tells no size")
    return sequence.width, sequence.height


def _annotated(sequence: TrackSequence) -> tuple[int, int]:
    """The place of the first annotated frame, and how many there are up to the last; all frames,
    if there is no annotation."""
    if not len(sequence.truth.frames):
        return 0, len(sequence.numbers)
    first, last = np.searchsorted(sequence.numbers, sequence.truth.frames[[0, -1]]).tolist()
    return first, last - first + 1


def _check_ids(split: TrackingSplit) -> None:
    for at, sequence in enumerate(split.sequences):
        try:
            unique_ids(sequence.truth.ids[sequence.truth.targets], at)
        except DataError as error:
            raise DataError(f"{sequence.folder}: {error}; number them anew") from None
