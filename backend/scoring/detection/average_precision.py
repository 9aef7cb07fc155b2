"""COCO AP of any multiset of images, from one matching.

An image's detections are matched within that image, so drawing the image twice changes no
match, only how often its detections and ground truths count. One global order by score per
class, and AP of a replicate is a weighted running sum over it. Only true positives raise the
recall, and the interpolated precision peaks at one of them, so the sums are needed there only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from backend.scoring.evidence import Arrays, Counts, Floats

Ints = NDArray[np.int32]
Bits = NDArray[np.uint16]
Flags = NDArray[np.bool_]
Places = NDArray[np.intp]

RECALLS = np.linspace(0.0, 1.0, 101)  # pycocotools' own thresholds, to the last bit
_BLOCK = 4_000_000  # true positives of a class, or quarters of images, x replicates at once
_WIDEST = 256  # replicates held at once: more no longer fit the processor's cache


@dataclass(frozen=True)
class Ranked:
    """Detections, class after class and by falling score within a class.

    ``hits`` (is a true positive) and ``counted`` (is not ignored) are (groups, detections):
    bit b is the answer of rule b, for instance of an IoU threshold. Where detections have
    equal scores, the copies of an image that was drawn twice stand next to each other.
    """

    labels: Ints
    images: Ints
    scores: Floats
    hits: Bits
    counted: Bits

    @classmethod
    def of(cls, labels: Ints, images: Ints, scores: Floats, hits: Bits, counted: Bits) -> Self:
        """Put detections in order; those of equal scores stay in theirs."""
        order = np.lexsort((-scores, labels))
        return cls(labels[order], images[order], scores[order], hits[:, order], counted[:, order])

    def joined(self, other: Self, images: int) -> Self:
        """Both, where ``other``'s images are numbered from ``images`` on."""
        return self.of(
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.images, other.images + np.int32(images)]),
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.hits, other.hits], axis=1),
            np.concatenate([self.counted, other.counted], axis=1),
        )

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The fields by name, each name after ``prefix``."""
        return {prefix + name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def restore(cls, arrays: Arrays, prefix: str) -> Self:
        """The inverse of ``arrays``. Raises KeyError."""
        return cls(**{name: arrays[prefix + name] for name in cls.__dataclass_fields__})

    def blocks(self, counts: Counts) -> Iterator[tuple[slice, Ints]]:
        """Replicates that are held at once: where they stand, and counts (images, replicates)."""
        right = np.bincount(self.labels[(self.hits > 0).any(axis=0)])
        rows = max(right.max(initial=1), counts.shape[1] // 4)
        size = int(np.clip(_BLOCK // rows, 1, _WIDEST))
        for start in range(0, len(counts), size):
            block = slice(start, min(len(counts), start + size))
            yield block, np.ascontiguousarray(counts[block].T, dtype=np.int32)


def average_precision(ranked: Ranked, truths: Ints, drawn: Ints) -> Floats:
    """AP as (classes, groups, rules, replicates); 0 where there is no ground truth.

    ``truths`` is (classes, groups, rules, replicates), the ground truths drawn; ``drawn`` is
    (images, replicates). If every image was drawn once this is pycocotools' AP.
    """
    ap = np.zeros(truths.shape)
    edges = np.searchsorted(ranked.labels, np.arange(len(truths) + 1))
    for label, (start, end) in enumerate(pairwise(edges)):
        images = ranked.images[start:end]
        for group in range(len(ranked.hits)):
            hits = _unpacked(ranked.hits[group, start:end], truths.shape[2])
            counted = _unpacked(ranked.counted[group, start:end], truths.shape[2])
            for rule, right, kept in _running_sums(images, hits, counted, drawn):
                ap[label, group, rule] = _interpolated(right, kept, truths[label, group, rule])
    return ap


def mean_over_classes(values: Floats, defined: Flags) -> Floats:
    """Mean of (classes, replicates) over the classes that are defined; NaN if none is."""
    number = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def per_image(rows: Ints, images: Ints, weights: NDArray[Any], shape: tuple[int, int]) -> Any:
    """A sparse matrix (rows, images) of summed weights: times counts, it sums what was drawn."""
    return csr_array((weights.astype(np.int32), (rows, images)), shape=shape)


def _unpacked(bits: Bits, rules: int) -> Flags:
    return (bits >> np.arange(rules, dtype=np.uint16)[:, None] & 1).astype(np.bool_)


def _running_sums(
    images: Ints, hits: Flags, counted: Flags, drawn: Ints
) -> Iterator[tuple[int, Ints, Ints]]:
    """For each rule with true positives: at each of them, how many true positives and how many
    detections have been drawn so far.

    Rules differ in few detections, so all are summed by the last rule, and each rule then adds
    and subtracts where it differs.
    """
    stops = np.flatnonzero(hits.any(axis=0))
    last = counted[-1]
    places = np.flatnonzero(last)
    by_last = _summed(images[places], places, np.ones(len(places)), stops, drawn)
    for rule, (hit, count) in enumerate(zip(hits, counted, strict=True)):
        at = np.flatnonzero(hit)
        if not at.size:
            continue
        kept = by_last[np.searchsorted(stops, at)]
        unlike = np.flatnonzero(count != last)
        if unlike.size:
            signs = np.where(count[unlike], 1, -1)
            kept += _summed(images[unlike], unlike, signs, at, drawn)
        yield rule, np.cumsum(drawn[images[at]], axis=0, dtype=np.int32), kept


def _summed(
    images: Ints, places: Places, weights: NDArray[Any], stops: Places, drawn: Ints
) -> Ints:
    """Weighted draws of the detections at ``places``, summed up to each of ``stops``."""
    ends = np.concatenate([[0], np.searchsorted(places, stops, side="right")])
    used = slice(0, ends[-1])
    between = csr_array(
        (weights[used].astype(np.int32), images[used], ends), shape=(len(stops), len(drawn))
    )
    return np.asarray(np.cumsum(between @ drawn, axis=0, dtype=np.int32))


def _interpolated(right: Ints, kept: Ints, truths: Ints) -> Floats:
    """101-point AP from (true positives, replicates): those and the detections so far."""
    precision = right / (kept + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = _recalls_reached(right / np.maximum(truths, 1))
    steps = np.diff(reached, axis=0, prepend=np.zeros((1, reached.shape[1]), dtype=np.int8))
    return np.asarray((steps * envelope).sum(axis=0) / len(RECALLS)) * (truths > 0)


def _recalls_reached(recall: Floats) -> NDArray[np.int8]:
    """How many of the 101 recall thresholds are at most ``recall``, bit for bit."""
    guess = (recall * 100 + 1e-7).astype(np.int8)
    return guess + (RECALLS[guess] <= recall)
