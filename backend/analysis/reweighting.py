"""COCO AP of any multiset of images, from one matching.

An image's detections are matched within that image, so drawing the image twice changes no
match, only how often its detections and ground truths count. One global order by score per
class, and AP of a replicate is a weighted running sum over it. Only true positives raise the
recall, and the interpolated precision peaks at one of them, so the sums are needed there only.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from backend.scoring.detection import ClassMatches, Matches

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]

RECALLS = np.linspace(0.0, 1.0, 101)  # pycocotools' own thresholds, to the last bit
_BLOCK = 4_000_000  # detections x replicates held at once: 16 MB of running sums


def bootstrap_counts(units: int, replicates: int, seed: int) -> Counts:
    """How often each unit was drawn, (replicates, units): with replacement, ``units`` draws."""
    generator = np.random.default_rng(seed)
    counts = np.empty((replicates, units), dtype=np.uint16)
    for row in range(replicates):
        counts[row] = np.bincount(generator.integers(0, units, units), minlength=units)
    return counts


def average_precision(matches: Matches, counts: Counts) -> Floats:
    """AP as (replicates, classes, IoU thresholds); NaN where a class has no ground truth.

    ``counts`` is (replicates, images). With all ones this is pycocotools' AP. Where several
    detections have equal scores, the copies of an image stand next to each other.
    """
    ap = np.empty((len(counts), len(matches.classes), len(matches.thresholds)))
    for label, found in enumerate(matches.classes):
        for block in _blocks(len(counts), len(found.scores)):
            drawn = np.ascontiguousarray(counts[block].T)
            ap[block, label] = _class_ap(found, drawn).T
    return ap


def mean_over_classes(ap: Floats) -> Floats:
    """Mean of (replicates, classes) over the classes that are defined; NaN if none is."""
    defined = ~np.isnan(ap)
    number = defined.sum(axis=1)
    total = np.where(defined, ap, 0.0).sum(axis=1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _blocks(replicates: int, detections: int) -> Iterator[slice]:
    size = max(1, _BLOCK // max(1, detections))
    for start in range(0, replicates, size):
        yield slice(start, min(replicates, start + size))


def _class_ap(found: ClassMatches, drawn: Counts) -> Floats:
    """AP of one class as (thresholds, replicates); ``drawn`` is (images, replicates)."""
    truths = (found.truths[:, None] * drawn[: len(found.truths)]).sum(axis=0)
    ap = np.zeros((len(found.matched), drawn.shape[1]))
    hits = found.matched & ~found.ignored
    any_hit = hits.any(axis=0)
    if any_hit.any():
        last = int(np.flatnonzero(any_hit)[-1]) + 1  # what comes after the last hit cannot matter
        seen = np.cumsum(drawn[found.images[:last]], axis=0, dtype=np.int32)
        for threshold, hit in enumerate(hits):
            at = np.flatnonzero(hit)
            if at.size:
                counted = seen[at] - _ignored_before(found, drawn, threshold, at)
                ap[threshold] = _interpolated(drawn[found.images[at]], counted, truths)
    ap[:, truths == 0] = np.nan
    return ap


def _ignored_before(
    found: ClassMatches, drawn: Counts, threshold: int, at: NDArray[np.intp]
) -> NDArray[np.int32] | int:
    """Draws of ignored detections (matched to a crowd) up to each position in ``at``."""
    ignored = np.flatnonzero(found.ignored[threshold])
    if not ignored.size:
        return 0
    sums = np.cumsum(drawn[found.images[ignored]], axis=0, dtype=np.int32)
    sums = np.concatenate([np.zeros((1, drawn.shape[1]), dtype=np.int32), sums])
    return sums[np.searchsorted(ignored, at)]


def _interpolated(drawn: Counts, counted: NDArray[np.int32], truths: NDArray[np.int64]) -> Floats:
    """101-point AP from (true positives, replicates): draws of each, detections so far."""
    right = np.cumsum(drawn, axis=0, dtype=np.int32)
    precision = right / (counted + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = _recalls_reached(right / np.maximum(truths, 1))
    steps = np.diff(reached, axis=0, prepend=0)
    return np.asarray((steps * envelope).sum(axis=0) / len(RECALLS))


def _recalls_reached(recall: Floats) -> NDArray[np.int8]:
    """How many of the 101 recall thresholds are at most ``recall``, bit for bit."""
    guess = (recall * 100 + 1e-7).astype(np.int8)
    return guess + (RECALLS[guess] <= recall)
