"""What each kind of error costs a detector: TIDE (Bolya et al., ECCV 2020).

A false positive is, by its IoU with ground truth (0.5 is enough to be right, up to 0.1 is
background): *localisation* (right class, 0.1 to 0.5), *classification* (other class, at least
0.5), *duplicate* (right class, at least 0.5, but already found), *background* (at most 0.1
with anything), or else *both*. Ground truth that was neither found nor aimed at by one of the
first two is *missed*. An oracle mends one kind at a time, and the AP at IoU 0.5 that this gains
is what the kind costs: localisation and classification errors become true positives (only the
most confident that aims at a box nobody found; the rest go), other false positives go, and
missed boxes need not be found.

As in the authors' tidecv, but matches are pycocotools' (nothing mended gives mAP50 to the last
digit, a hundred detections count per image *and class*) and the mean is over classes with
ground truth. Every oracle works within an image, so replicates are exact.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask

from backend.scoring.detection.average_precision import (
    Flags,
    Ints,
    Places,
    Ranked,
    average_precision,
    mean_over_classes,
    per_image,
)
from backend.scoring.detection.coco import Boxes, Truth
from backend.scoring.detection.matching import Matching
from backend.scoring.evidence import Arrays, Counts, Floats

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
FOREGROUND, BACKGROUND = 0.5, 0.1
_CLS, _LOC, _BOTH, _DUP, _BKG, _MISSED, _AS_IS = range(7)
_RULES = 7  # bits of ``ErrorEvidence.ranked``: each kind mended, then nothing


@dataclass(frozen=True)
class ErrorEvidence:
    """The detections and ground-truth boxes of one model under each oracle.

    ``missed`` tells which of the ground-truth boxes (crowds left out) at ``truth_labels`` and
    ``truth_images`` were missed.
    """

    size: tuple[int, int]
    ranked: Ranked
    truth_labels: Ints
    truth_images: Ints
    missed: Flags

    def table(self, counts: Counts) -> Floats:
        """AP at IoU 0.5 that mending each of ``KINDS`` gains, (replicates, 6).

        ``counts`` is (replicates, images). Never negative; NaN without ground truth.
        """
        table = np.empty((len(counts), len(KINDS)))
        for block, drawn in self.ranked.blocks(counts):
            every, open_only = self._truths(drawn)
            truths = np.stack([every] * _RULES, axis=1)[:, None]
            truths[:, 0, _MISSED] = open_only
            ap = average_precision(self.ranked, truths, drawn)[:, 0]
            means = [mean_over_classes(ap[:, rule], every > 0) for rule in range(_RULES)]
            table[block] = np.maximum(np.array(means[:_AS_IS]) - means[_AS_IS], 0).T
        return table

    def joined(self, other: Self) -> Self:
        """The images of both, these first."""
        return type(self)(
            (self.size[0], self.size[1] + other.size[1]),
            self.ranked.joined(other.ranked, self.size[1]),
            np.concatenate([self.truth_labels, other.truth_labels]),
            np.concatenate([self.truth_images, other.truth_images + np.int32(self.size[1])]),
            np.concatenate([self.missed, other.missed]),
        )

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """All of it as arrays, their names after ``prefix``."""
        names = ("size", "truth_labels", "truth_images", "missed")
        return self.ranked.arrays(prefix) | {
            prefix + name: np.asarray(getattr(self, name)) for name in names
        }

    @classmethod
    def restore(cls, arrays: Arrays, prefix: str) -> Self:
        """The inverse of ``arrays``. Raises KeyError."""
        classes, images = arrays[f"{prefix}size"].tolist()
        names = ("truth_labels", "truth_images", "missed")
        rest = (arrays[prefix + name] for name in names)
        return cls((classes, images), Ranked.restore(arrays, prefix), *rest)

    def _truths(self, drawn: Ints) -> tuple[Ints, Ints]:
        """Drawn ground truth and what of it was not missed, (classes, replicates) each."""
        found = [np.ones(len(self.missed), dtype=np.bool_), ~self.missed]
        every, open_only = (
            per_image(self.truth_labels, self.truth_images, weights, self.size) @ drawn
            for weights in found
        )
        return every, open_only


def errors(truth: Truth, boxes: Boxes, matching: Matching) -> ErrorEvidence:
    """Sort the errors of the matched predictions ``boxes`` by kind."""
    real = np.flatnonzero(~truth.boxes.crowds)
    kinds = np.full(len(matching.places), -1)
    targets = np.full(len(matching.places), -1)
    missed = np.zeros(len(truth.boxes), dtype=np.bool_)
    for found, wanted in _images(truth.boxes, real, matching):
        image = _Image.of(truth.boxes, boxes, matching, found, wanted)
        kinds[found], targets[found], missed[wanted] = image.sorted_out()
    return ErrorEvidence(
        size=(len(truth.names), len(truth.image_ids)),
        ranked=_mended(matching.ranked, kinds, targets, truth.boxes.labels),
        truth_labels=truth.boxes.labels[real],
        truth_images=truth.boxes.images[real],
        missed=missed[real],
    )


@dataclass(frozen=True)
class _Image:
    """One image: its detections by falling score, its ground truth, and their overlap."""

    wrong: Flags
    used: Flags
    iou: Floats
    same: Flags
    wanted: Places

    @classmethod
    def of(
        cls, truths: Boxes, boxes: Boxes, matching: Matching, found: Places, wanted: Places
    ) -> Self:
        """``found`` are places in the matching, ``wanted`` places in ``truths``."""
        ranked, places = matching.ranked, matching.places[found]
        hit = ranked.hits[0, found] & 1 > 0
        iou = np.zeros((len(found), len(wanted)))
        if iou.size:
            crowds = np.zeros(len(wanted), dtype=np.uint8)
            iou = mask.iou(boxes.corners[places], truths.corners[wanted], crowds)
        return cls(
            wrong=~hit & (ranked.counted[0, found] & 1 > 0),
            used=np.isin(wanted, matching.matches[found][hit]),
            iou=iou,
            same=boxes.labels[places][:, None] == truths.labels[wanted],
            wanted=wanted,
        )

    def sorted_out(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Flags]:
        """Each detection's kind of error (-1: none), the ground truth that mending it finds
        (-1: none), and which ground truth was missed."""
        if not self.wanted.size:
            nothing = np.full(len(self.wrong), -1)
            return np.where(self.wrong, _BKG, -1), nothing, np.zeros(0, dtype=np.bool_)
        own, other = self.iou * self.same, self.iou * ~self.same
        best = own.max(axis=1)
        kinds = np.select(
            [
                ~self.wrong,
                (best >= BACKGROUND) & (best <= FOREGROUND),
                other.max(axis=1) >= FOREGROUND,
                (own * self.used).max(axis=1) >= FOREGROUND,
                self.iou.max(axis=1) <= BACKGROUND,
            ],
            [-1, _LOC, _CLS, _DUP, _BKG],
            _BOTH,
        )
        aims = np.where(kinds == _LOC, own.argmax(axis=1), other.argmax(axis=1))
        able = np.flatnonzero(((kinds == _LOC) | (kinds == _CLS)) & ~self.used[aims])
        aimed_at, first = np.unique(aims[able], return_index=True)
        targets = np.full(len(kinds), -1)
        targets[able[first]] = self.wanted[aimed_at]
        missed = ~self.used
        missed[aimed_at] = False
        return kinds, targets, missed


def _images(truths: Boxes, real: Places, matching: Matching) -> Iterator[tuple[Places, Places]]:
    """For each image, its detections by falling score and its ground truth."""
    ranked = matching.ranked
    found = np.lexsort((matching.places, -ranked.scores, ranked.images))
    wanted = real[np.argsort(truths.images[real], kind="stable")]
    images = np.union1d(ranked.images, truths.images[real])
    yield from zip(
        np.split(found, np.searchsorted(ranked.images[found], images[1:])),
        np.split(wanted, np.searchsorted(truths.images[wanted], images[1:])),
        strict=True,
    )


def _mended(
    ranked: Ranked, kinds: NDArray[np.intp], targets: NDArray[np.intp], truth_labels: Ints
) -> Ranked:
    """Every detection under each oracle; one that gets another class stands there again."""
    hit, count = (bits[0] & 1 for bits in (ranked.hits, ranked.counted))
    everywhere = np.uint16((1 << _RULES) - 1)
    hits, counted = hit * everywhere, count * everywhere
    counted -= np.where(kinds >= 0, 1 << np.maximum(kinds, 0), 0).astype(np.uint16)
    mended = targets >= 0
    moved = np.where(mended & (kinds == _LOC), 1 << _LOC, 0).astype(np.uint16)
    again = np.flatnonzero(mended & (kinds == _CLS))
    in_new_class = np.full(len(again), 1 << _CLS, dtype=np.uint16)
    return Ranked.of(
        np.concatenate([ranked.labels, truth_labels[targets[again]]]),
        np.concatenate([ranked.images, ranked.images[again]]),
        np.concatenate([ranked.scores, ranked.scores[again]]),
        np.concatenate([hits | moved, in_new_class])[None],
        np.concatenate([counted | moved, in_new_class])[None],
    )
