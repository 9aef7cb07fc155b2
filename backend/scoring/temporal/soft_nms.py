"""Soft non-maximum suppression of segments (Bodla et al. 2017): overlap lowers a score.

Equal to the reference's one-dimensional Gaussian variant (OpenTAD), except that of equal scores
the first given comes first, and that a segment below the minimum is dropped even if it is the
best one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.scoring.evidence import Floats
from backend.scoring.temporal.matching import temporal_iou


@dataclass(frozen=True)
class Detections:
    """Scored segments: ``segments`` (n, 2) start and end, ``scores`` (n,), ``labels`` (n,)."""

    segments: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, rows: NDArray[np.intp]) -> "Detections":
        """Those in these rows, in their order."""
        return Detections(self.segments[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True)
class SoftNms:
    """A score is multiplied by ``exp(-IoU^2 / sigma)`` for each better segment; those below
    ``min_score`` are dropped, at most ``limit`` stay. ``per_class``: other classes do not matter.
    """

    sigma: float = 0.7
    min_score: float = 0.001
    limit: int = 2000
    per_class: bool = True


def soft_nms(found: Detections, rule: SoftNms = SoftNms()) -> Detections:
    """What stays, best first, with lowered scores."""
    groups = [np.arange(len(found))]
    if rule.per_class:
        groups = [np.flatnonzero(found.labels == label) for label in np.unique(found.labels)]
    return _best([_suppressed(found.taken(rows), rule) for rows in groups], rule.limit)


def merged(windows: Sequence[Detections], rule: SoftNms = SoftNms()) -> Detections:
    """The detections of all windows of one video as one list, best first."""
    return soft_nms(joined(windows), rule)


def joined(parts: Sequence[Detections]) -> Detections:
    """All of them, one list after the other."""
    return Detections(
        segments=np.concatenate([np.empty((0, 2)), *(one.segments for one in parts)]),
        scores=np.concatenate([np.empty(0), *(one.scores for one in parts)]),
        labels=np.concatenate([np.empty(0, np.int64), *(one.labels for one in parts)]),
    )


def _best(groups: Sequence[Detections], limit: int) -> Detections:
    every = joined(groups)
    order = np.argsort(-every.scores, kind="stable")
    return every.taken(order[:limit])


def _suppressed(found: Detections, rule: SoftNms) -> Detections:
    """Soft-NMS of one list, whatever the labels."""
    rows = np.flatnonzero(found.scores >= rule.min_score)
    segments = np.asarray(found.segments[rows], dtype=np.float64)
    scores = np.array(found.scores[rows], dtype=np.float64)
    kept: list[int] = []
    lowered: list[float] = []
    while len(rows) and len(kept) < rule.limit:
        best = int(scores.argmax())
        kept.append(int(rows[best]))
        lowered.append(float(scores[best]))
        iou = np.nan_to_num(temporal_iou(segments[best : best + 1], segments)[0])
        scores *= np.exp(-np.square(iou) / rule.sigma)
        stays = scores >= rule.min_score
        stays[best] = False
        rows, segments, scores = rows[stays], segments[stays], scores[stays]
    chosen = found.taken(np.array(kept, dtype=np.intp))
    return Detections(chosen.segments, np.array(lowered), chosen.labels)
