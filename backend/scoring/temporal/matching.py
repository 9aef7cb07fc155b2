"""Segments matched by temporal IoU, and average precision of the matches, as arrays."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.scoring.evidence import Counts, Floats
from backend.scoring.temporal.activitynet import Indices, Predictions, Segments

Flags = NDArray[np.bool_]

_BLOCK = 1_000_000  # predictions x segments held at once: 8 MB of IoU


@dataclass(frozen=True)
class Ranked:
    """Matched predictions by class, falling score, place in the list of their video, and video.

    So copies of a video rank as often as they were drawn, side by side. ``hits`` is
    (thresholds, predictions): the true positives; the others have one number per prediction.
    """

    labels: Indices
    videos: Indices
    positions: Indices
    scores: Floats
    hits: Flags

    def sorted(self) -> "Ranked":
        """These predictions in the order of the class."""
        order = np.lexsort((self.videos, self.positions, -self.scores, self.labels))
        return Ranked(
            labels=self.labels[order],
            videos=self.videos[order],
            positions=self.positions[order],
            scores=self.scores[order],
            hits=self.hits[:, order],
        )

    def joined(self, other: "Ranked", videos: int) -> "Ranked":
        """These and ``other``, whose videos come after these ``videos``."""
        return Ranked(
            labels=np.concatenate([self.labels, other.labels]),
            videos=np.concatenate([self.videos, other.videos + np.int32(videos)]),
            positions=np.concatenate([self.positions, other.positions]),
            scores=np.concatenate([self.scores, other.scores]),
            hits=np.concatenate([self.hits, other.hits], axis=1),
        ).sorted()


def temporal_iou(found: Floats, truth: Floats) -> Floats:
    """Intersection over union of (predictions, 2) and (segments, 2), start and end.

    A prediction that does not end after it starts overlaps nothing.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        ends = np.minimum(found[:, None, 1], truth[None, :, 1])
        overlap = (ends - np.maximum(found[:, None, 0], truth[None, :, 0])).clip(0)
        length = (found[:, 1] - found[:, 0]).clip(0)
        return np.asarray(overlap / (truth[:, 1] - truth[:, 0] + length[:, None] - overlap))


def true_positives(found: Predictions, truth: Segments, thresholds: Floats) -> Flags:
    """Which predictions match, as (thresholds, predictions).

    By falling score, each looks at the segments of its class in its video from the highest IoU
    down, of equal ones from the last back as the reference does, passes by those that are taken,
    and takes the first one unless its IoU is below the threshold.
    """
    hits = np.zeros((len(thresholds), len(found.scores)), dtype=np.bool_)
    keys = group_keys(truth.labels, truth.videos)
    wanted = np.unique(keys)
    of_found = rows_of(group_keys(found.segments.labels, found.segments.videos), wanted)
    for ours, theirs in zip(of_found, rows_of(keys, wanted), strict=True):
        ranked = ours[np.lexsort((found.positions[ours], -found.scores[ours]))]
        pairs = _pairs(found.segments.bounds[ranked], truth.bounds[theirs], thresholds)
        hits[:, ranked] = _taken(pairs, (len(ours), len(theirs)), len(thresholds))
    return hits


def group_keys(labels: NDArray[Any], videos: NDArray[Any]) -> NDArray[np.int64]:
    """One number per class and video."""
    return np.asarray(labels, dtype=np.int64) << 32 | np.asarray(videos, dtype=np.int64)


def rows_of(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> Iterator[NDArray[np.intp]]:
    """For each wanted key, where it occurs in ``keys``, ascending."""
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], wanted, side="left")
    ends = np.searchsorted(keys[order], wanted, side="right")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield order[start:end]


def class_average_precision(
    hits: Flags, videos: Indices, drawn: Counts, truths: NDArray[np.int64]
) -> Floats:
    """AP of one class as (thresholds, replicates); NaN where ``truths`` (replicates,) is 0.

    ``drawn`` is (videos, replicates). The area under the precision envelope at the points where
    recall changes (VOC, all points): only true positives change it and the envelope peaks at
    one of them, so the running sums are needed there only.
    """
    ap = np.zeros((len(hits), drawn.shape[1]))
    anywhere = np.flatnonzero(hits.any(axis=0))
    if anywhere.size:
        last = anywhere[-1] + 1  # what comes after the last hit cannot matter
        counted = np.cumsum(drawn[videos[:last]], axis=0, dtype=np.int32)
        for threshold, hit in enumerate(hits):
            at = np.flatnonzero(hit)
            times = drawn[videos[at]]
            right = np.cumsum(times, axis=0, dtype=np.int32)
            precision = right / np.maximum(counted[at], 1)
            envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
            ap[threshold] = np.einsum("ij,ij->j", times, envelope)
    return np.asarray(ap / np.where(truths > 0, truths, np.nan))


def _pairs(found: Floats, truth: Floats, thresholds: Floats) -> Iterator[tuple[int, int, int]]:
    """Pairs of (prediction, segment), and how many thresholds their IoU reaches, if any.

    By prediction, the best segment first.
    """
    size = max(1, _BLOCK // len(truth))
    for start in range(0, len(found), size):
        iou = temporal_iou(found[start : start + size], truth)
        rows, columns = np.nonzero(iou >= thresholds[0])
        overlap = iou[rows, columns]
        order = np.lexsort((-columns, -overlap, rows))
        reached = np.searchsorted(thresholds, overlap, side="right")
        parts = (rows + start, columns, reached)
        yield from zip(*(part[order].tolist() for part in parts), strict=True)


def _taken(
    pairs: Iterable[tuple[int, int, int]], shape: tuple[int, int], thresholds: int
) -> Flags:
    """Which of ``shape`` (predictions, segments) take a segment, (thresholds, predictions)."""
    hit = [bytearray(shape[0]) for _ in range(thresholds)]
    gone = [bytearray(shape[1]) for _ in range(thresholds)]
    for row, column, reached in pairs:
        for found, used in zip(hit[:reached], gone, strict=False):
            if not found[row] and not used[column]:
                found[row] = used[column] = 1
    return np.array([np.frombuffer(found, dtype=np.bool_) for found in hit])
