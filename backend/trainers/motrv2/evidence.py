"""What a tracker shows of itself for the diagnostics: scores, births, classes, use of images."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from torch import nn

from backend.core.evidence import PredictionHistogram, TracksSeen
from backend.datasets.tracking.records import Floats, Ints, TrackingSplit
from backend.nn.observing.detections import NOTHING, detection_histogram
from backend.nn.observing.probing import paired, spread
from backend.runner.training import Probed
from backend.scoring.tracking.boxes import iou
from backend.trainers.motrv2.batch import Clip
from backend.trainers.motrv2.clip_losses import clip_losses
from backend.trainers.motrv2.collecting import MATCH, NOBODY, Rows, truth_rows
from backend.trainers.motrv2.data import Sample
from backend.trainers.motrv2.inference import Followed
from backend.trainers.motrv2.model.learner import ClipLearner

BINS = 50
SHORT = 3
"""Frames from which a track is one."""
_QUANTILES = ("0.5", "0.99", "0.999", "1")


def tracks_seen(
    split: TrackingSplit, followed: Sequence[Followed], threshold: float
) -> TracksSeen:
    """What happened at the thresholds of the config, without the sweep. A track that was born and
    never shown (its boxes are too small) has a length of 0."""
    scores = np.concatenate([np.empty(0), *(one.queries.scores for one in followed)])
    highest = np.concatenate([np.empty(0), *(_highest(one) for one in followed)])
    lengths = [length for one in followed for length in _lengths(one)]
    return TracksSeen(
        frames=split.frames,
        proposals=sum(one.proposals for one in followed),
        targets=targets_of(split),
        threshold=threshold,
        scores=_quantiles(scores, _QUANTILES),
        highest=_quantiles(highest, _QUANTILES),
        histogram=tuple(np.histogram(scores, bins=BINS, range=(0, 1))[0].tolist()),
        first_class=max((one.queries.first for one in followed), default=0.0),
        births=len(lengths),
        lengths=_quantiles(lengths, ("0.5", "1")),
        short=sum(length < SHORT for length in lengths),
    )


def targets_of(split: TrackingSplit) -> dict[str, int]:
    """How many targets each class has."""
    labels = [truth_rows(sequence).labels for sequence in split.sequences]
    counts = np.bincount(
        np.concatenate([np.empty(0, np.int64), *labels]), minlength=len(split.classes)
    )
    return dict(zip(split.classes, counts.tolist(), strict=True))


def class_accuracy(followed: Sequence[Followed]) -> dict[str, float]:
    """Of the objects with a query at IoU 0.5, the share whose surest one has their class on top,
    whatever its score; empty if there is no such object."""
    named = np.concatenate([np.empty((0, 2), np.int64), *(one.named for one in followed)])
    there = named[named[:, 1] != NOBODY]
    return {"class_accuracy": float(np.mean(there[:, 0] == there[:, 1]))} if len(there) else {}


def histograms(
    split: TrackingSplit, followed: Sequence[Followed]
) -> tuple[PredictionHistogram, PredictionHistogram]:
    """``classes``: the surest queries, as many as there are objects, whatever their score.
    ``matched``: what is shown at the targets, ``NOTHING`` where no box is."""
    starts = np.cumsum([0, *(len(one.sequence.numbers) for one in followed)])
    places = [one.queries.places + start for one, start in zip(followed, starts, strict=False)]
    surest = detection_histogram(
        targets_of(split),
        np.concatenate(places),
        np.concatenate([one.queries.labels for one in followed]),
        np.concatenate([one.queries.scores for one in followed]),
        int(starts[-1]),
    )
    table = confusion(len(split.classes), followed)
    names = (*split.classes, NOTHING)
    shown = PredictionHistogram(
        output="matched",
        truth=dict(zip(names, [*table[:-1].sum(1).tolist(), 0], strict=True)),
        predicted=dict(zip(names, table[:-1].sum(0).tolist(), strict=True)),
        background=NOTHING,
    )
    return surest, shown


def confusion(classes: int, followed: Sequence[Followed]) -> Ints:
    """Targets (row: their class) and boxes shown (column: theirs) that overlap by half, one to
    one, (classes + 1, classes + 1); the last row and column are those without a partner."""
    table = np.zeros((classes + 1, classes + 1), np.int64)
    for one in followed:
        truth, shown = truth_rows(one.sequence), one.shown
        for number in np.union1d(truth.frames, shown.frames):
            _count(table, _at(truth, number), _at(shown, number))
    return table


class Probe:
    """The loss on validation clips with each clip's frames as they are, and with those of another
    clip while boxes and proposals stay."""

    def __init__(self, clips: Sequence[Sample]) -> None:
        self._clips = clips

    def __call__(self, model: nn.Module, samples: int) -> Probed | None:
        """None if there are fewer than two clips."""
        assert isinstance(model, ClipLearner)
        places = paired(spread(len(self._clips), samples))
        if not places:
            return None
        own = (self._clips[place].clip for place in places)
        others = (
            _seeing(self._clips[place].clip, self._clips[places[at ^ 1]].clip)
            for at, place in enumerate(places)
        )
        return Probed("val", len(places), clip_losses(model, own), clip_losses(model, others))


def _seeing(clip: Clip, other: Clip) -> Clip:
    """A clip with the pictures of another, at its own size."""
    frames = zip(clip, other, strict=False)
    return tuple(replace(frame, image=_sized(one.image, frame.image)) for frame, one in frames)


def _sized(image: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if image.shape == like.shape:
        return image
    size = like.shape[-2:]
    return nn.functional.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]


def _highest(one: Followed) -> Floats:
    """The highest score of each frame in which there were queries."""
    found = np.full(len(one.sequence.numbers), -1.0)
    np.maximum.at(found, one.queries.places, one.queries.scores)
    return found[found >= 0]


def _lengths(one: Followed) -> list[int]:
    shown = Counter(one.shown.ids.tolist())
    return [shown[born] for born in one.births]


def _quantiles(values: ArrayLike, shares: Sequence[str]) -> dict[str, float]:
    values = np.asarray(values)
    return {share: float(np.quantile(values, float(share))) for share in shares if values.size}


def _at(rows: Rows, number: int) -> tuple[Floats, Ints]:
    """Boxes and labels of a frame."""
    first, last = np.searchsorted(rows.frames, (number, number + 1))
    return rows.boxes[first:last], rows.labels[first:last]


def _count(table: Ints, truth: tuple[Floats, Ints], shown: tuple[Floats, Ints]) -> None:
    overlaps = iou(truth[0], shown[0])
    rows, columns = linear_sum_assignment(-np.where(overlaps >= MATCH, overlaps, 0))
    kept = overlaps[rows, columns] >= MATCH
    rows, columns = rows[kept], columns[kept]
    np.add.at(table, (truth[1][rows], shown[1][columns]), 1)
    table[:, -1] += np.bincount(np.delete(truth[1], rows), minlength=len(table))
    table[-1] += np.bincount(np.delete(shown[1], columns), minlength=len(table))
