"""A tracking split in numbers, and how well proposals cover its boxes in a sample of frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backend.core.evidence import TrackCensus
from backend.datasets.tracking.clips import clipped
from backend.datasets.tracking.records import (
    Floats,
    Ints,
    TrackFrame,
    TrackingSplit,
    TrackSequence,
)
from backend.scoring.tracking.boxes import iou

SAMPLED = 200
"""Frames of a split that proposals are compared in."""
FOUND, EQUAL = 0.5, 0.999


@dataclass(frozen=True)
class Coverage:
    """Over ``frames`` sampled ones with targets: how many ``targets`` there are, and those with a
    proposal at IoU ``FOUND`` and ``EQUAL``."""

    frames: int
    targets: int
    found: int
    equal: int

    @property
    def recall(self) -> float | None:
        """The share of targets that have a proposal; None if there are none."""
        return self.found / self.targets if self.targets else None


class Track(NamedTuple):
    """One identity of a sequence: in how many frames it is."""

    sequence: str
    id: int
    length: int


def census(split: TrackingSplit, fields: str = "") -> TrackCensus:
    """The split in numbers; ``fields`` is the database's order of fields, empty without one."""
    sequences = split.sequences
    lengths = [track.length for track in tracks_of(split)]
    labels = np.concatenate([s.truth.labels[s.truth.targets] for s in sequences])
    counts = np.bincount(labels, minlength=len(split.classes))
    proposals = sum(len(sequence.proposals.scores) for sequence in sequences)
    covered = coverage(split) if fields else None
    return TrackCensus(
        split=split.split,
        sequences=len(sequences),
        frames=split.frames,
        images=sum(path is not None for sequence in sequences for path in sequence.images),
        boxes=sum(len(sequence.truth.ids) for sequence in sequences),
        targets=len(labels),
        ids=len(lengths),
        counts=dict(zip(split.classes, counts.tolist(), strict=True)),
        empty_frames=split.frames - sum(len(target_frames(s)) for s in sequences),
        track_length=float(np.median(lengths)) if lengths else None,
        identities=split.identities,
        fields=fields,
        proposals=proposals if fields else None,
        proposals_per_frame=proposals / max(1, split.frames) if fields else None,
        without_proposals=split.frames - proposed_frames(split) if fields else None,
        recall=covered.recall if covered else None,
        sampled=covered.frames if covered else 0,
    )


def tracks_of(split: TrackingSplit) -> list[Track]:
    """The identities of a split's targets."""
    return [
        Track(sequence.name, number, count)
        for sequence in split.sequences
        for number, count in zip(
            *(values.tolist() for values in _counted(sequence)), strict=True
        )
    ]  # fmt: skip


def target_frames(sequence: TrackSequence) -> Ints:
    """The frame numbers that have a target."""
    return np.unique(sequence.truth.frames[sequence.truth.targets])


def proposed_frames(split: TrackingSplit) -> int:
    """How many frames have a proposal."""
    return sum(len(np.unique(sequence.proposals.frames)) for sequence in split.sequences)


def coverage(split: TrackingSplit) -> Coverage:
    """Targets against proposals, both cut at the image, in up to ``SAMPLED`` frames.

    The frames are always the same for the same split.
    """
    frames = targets = found = equal = 0
    for sequence, frame in sampled_frames(split):
        best = _best(sequence, frame)
        frames += 1
        targets += len(best)
        found += int((best >= FOUND).sum())
        equal += int((best > EQUAL).sum())
    return Coverage(frames, targets, found, equal)


def sampled_frames(split: TrackingSplit) -> Iterator[tuple[TrackSequence, TrackFrame]]:
    """Up to ``SAMPLED`` frames with targets."""
    places = [
        (sequence, int(place))
        for sequence in split.sequences
        for place in np.searchsorted(sequence.numbers, target_frames(sequence))
    ]
    count = min(SAMPLED, len(places))
    chosen = np.random.default_rng(0).choice(len(places), count, replace=False) if count else ()
    for number in sorted(int(one) for one in chosen):
        sequence, place = places[number]
        yield sequence, sequence.frame(place)


def _counted(sequence: TrackSequence) -> tuple[Ints, Ints]:
    ids, counts = np.unique(sequence.truth.ids[sequence.truth.targets], return_counts=True)
    return ids, counts.astype(np.int64)


def _best(sequence: TrackSequence, frame: TrackFrame) -> Floats:
    """The largest overlap of each target with a proposal; 0 without any."""
    truth = _inside(frame.boxes[frame.targets], sequence)
    proposals = _inside(frame.proposals, sequence)
    best: Floats = iou(truth, proposals).max(axis=1, initial=0.0)
    return best


def _inside(boxes: Floats, sequence: TrackSequence) -> Floats:
    if sequence.width is None or sequence.height is None:
        return boxes
    return clipped(boxes, (sequence.width, sequence.height))[0]
