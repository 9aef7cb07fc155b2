"""What a detector did on each image, and COCO's metrics of any multiset of the images."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.scoring.detection.average_precision import (
    Flags,
    Ints,
    Ranked,
    average_precision,
    mean_over_classes,
    per_image,
)
from backend.scoring.detection.errors import ErrorEvidence
from backend.scoring.detection.matching import THRESHOLDS
from backend.scoring.evidence import Arrays, Column, Counts, Floats, Scores

_MOST = {"AR1": 1, "AR10": 10, "AR100": 100}


class _Average(NamedTuple):
    """A mean of AP: over one range of size and a slice of the IoU thresholds."""

    size: int
    thresholds: slice


_EVERY = slice(0, len(THRESHOLDS))
_AVERAGES = {
    "mAP50-95": _Average(0, _EVERY),
    "mAP50": _Average(0, slice(0, 1)),
    "mAP75": _Average(0, slice(5, 6)),
    "mAP-small": _Average(1, _EVERY),
    "mAP-medium": _Average(2, _EVERY),
    "mAP-large": _Average(3, _EVERY),
}
_POINT = ("precision", "recall", "f1")
_PER_CLASS = ("mAP50-95", "mAP50")
METRICS = (*_AVERAGES, *_MOST, *_POINT)


class Point(NamedTuple):
    """Where precision, recall and F1 are taken: IoU, the confidence asked for (None: the best
    for F1) and the one that this gave (None: there is nothing to choose from)."""

    iou: float
    asked: float | None
    confidence: float | None


@dataclass(frozen=True)
class Truths:
    """Ground-truth boxes: which of ``SIZES`` looks for each, (sizes, boxes)."""

    labels: Ints
    images: Ints
    counted: Flags


@dataclass(frozen=True)
class Recalled:
    """Detections that are true positives at any IoU threshold; ``times`` is (3, detections):
    at how many, if it is among the 1, 10 and 100 most confident of its image and class."""

    labels: Ints
    images: Ints
    times: Ints


@dataclass(frozen=True)
class DetectionEvidence:
    """The matches of one detector, per image.

    ``right`` and ``kept`` are the true positives and detections of each image at ``point``.
    ``errors`` has a table of its own: what each kind of error costs.
    """

    units: tuple[str, ...]
    classes: tuple[str, ...]
    truth_digest: str
    point: Point
    ranked: Ranked
    truths: Truths
    recalled: Recalled
    right: NDArray[np.int64]
    kept: NDArray[np.int64]
    errors: ErrorEvidence
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every metric over all classes, then AP and AP at IoU 0.5 of each class."""
        per_class = [Column(metric, name) for metric in _PER_CLASS for name in self.classes]
        return (*(Column(metric) for metric in METRICS), *per_class)

    def scores(self) -> Scores:
        """The metrics of all images; of each image F1 and what it was made of."""
        ones = np.ones((1, len(self.units)), dtype=np.uint16)
        values = dict(zip(self.columns, self.table(ones)[0].tolist(), strict=True))
        instances = np.bincount(self.truths.labels[self.truths.counted[0]],
                                minlength=len(self.classes))  # fmt: skip
        return Scores(
            task="detection",
            metrics={name: _defined(values[Column(name)]) for name in METRICS},
            per_class={
                name: {m: _defined(values[Column(m, name)]) for m in _PER_CLASS}
                | {"instances": float(number)}
                for name, number in zip(self.classes, instances, strict=True)
            },
            per_unit=dict(zip(self.units, self._per_image(), strict=True)),
            units=len(self.units),
            warnings=self.warnings,
        )

    def table(self, counts: Counts) -> Floats:
        """Metrics of multisets of images, (replicates, columns). See ``Evidence.table``."""
        table = np.empty((len(counts), len(self.columns)))
        for block, drawn in self.ranked.blocks(counts):
            truths = self._drawn_truths(drawn)
            ap = self._average_precision(truths, drawn)
            rows = [*_averages(ap, truths), *self._recalls(truths[0], drawn)]
            rows += [*self._at_point(truths[0], drawn), *_per_class(ap, truths[0])]
            table[block] = np.array(rows).T
        return table

    def carrying(self) -> NDArray[np.int64]:
        """For each column, how many images carry ground truth for it."""
        truths = self.truths
        in_size = [len(np.unique(truths.images[counted])) for counted in truths.counted]
        pairs = np.stack([truths.labels, truths.images])[:, truths.counted[0]]
        in_class = np.bincount(np.unique(pairs, axis=1)[0], minlength=len(self.classes))
        sizes = [average.size for average in _AVERAGES.values()]
        sizes += [0] * (len(METRICS) - len(sizes))
        return np.array([*(in_size[size] for size in sizes), *in_class, *in_class], dtype=np.int64)

    def joined(self, other: Self) -> Self:
        """The images of both, these first. Raises DataError if classes or settings differ."""
        if self.classes != other.classes:
            raise DataError("two sets of detections have different classes")
        if self.point[:2] != other.point[:2]:
            raise DataError(
                "two sets of detections were scored with different settings: "
                f"{self.point} and {other.point}"
            )
        images = len(self.units)
        return type(self)(
            units=self.units + other.units,
            classes=self.classes,
            truth_digest=f"{self.truth_digest} {other.truth_digest}",
            point=self.point,
            ranked=self.ranked.joined(other.ranked, images),
            truths=Truths(*_joined(self.truths, other.truths, images)),
            recalled=Recalled(*_joined(self.recalled, other.recalled, images)),
            right=np.concatenate([self.right, other.right]),
            kept=np.concatenate([self.kept, other.kept]),
            errors=self.errors.joined(other.errors),
            warnings=self.warnings + other.warnings,
        )

    def arrays(self) -> Arrays:
        """All of it as arrays without objects."""
        point = [np.nan if value is None else value for value in self.point]
        return {
            "units": np.array(self.units, dtype=np.str_),
            "classes": np.array(self.classes, dtype=np.str_),
            "truth_digest": np.array(self.truth_digest),
            "point": np.array(point, dtype=np.float64),
            "right": self.right,
            "kept": self.kept,
            "warnings": np.array(self.warnings, dtype=np.str_),
            **self.ranked.arrays("ranked_"),
            **{f"truths_{name}": value for name, value in vars(self.truths).items()},
            **{f"recalled_{name}": value for name, value in vars(self.recalled).items()},
            **self.errors.arrays("errors_"),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """The inverse of ``arrays``. Raises KeyError."""
        iou, asked, confidence = arrays["point"].tolist()
        return cls(
            units=tuple(arrays["units"].tolist()),
            classes=tuple(arrays["classes"].tolist()),
            truth_digest=str(arrays["truth_digest"]),
            point=Point(iou, _defined(asked), _defined(confidence)),
            ranked=Ranked.restore(arrays, "ranked_"),
            truths=Truths(*(arrays[f"truths_{n}"] for n in ("labels", "images", "counted"))),
            recalled=Recalled(*(arrays[f"recalled_{n}"] for n in ("labels", "images", "times"))),
            right=arrays["right"],
            kept=arrays["kept"],
            errors=ErrorEvidence.restore(arrays, "errors_"),
            warnings=tuple(arrays["warnings"].tolist()),
        )

    def _per_image(self) -> list[dict[str, float | None]]:
        """F1 of an image, 1 where nothing is to be found and nothing was."""
        truths = np.bincount(self.truths.images[self.truths.counted[0]],
                             minlength=len(self.units))  # fmt: skip
        both = self.kept + truths
        f1 = np.where(both > 0, 2 * self.right / np.maximum(both, 1), 1.0)
        columns = {
            "f1": f1,
            "true positives": self.right,
            "false positives": self.kept - self.right,
            "missed": truths - self.right,
        }
        rows = np.column_stack(list(columns.values())).tolist()
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _drawn_truths(self, drawn: Ints) -> Ints:
        """Ground-truth boxes drawn, (sizes, classes, replicates)."""
        truths, shape = self.truths, (len(self.classes), len(self.units))
        drawn_by_size = [
            per_image(truths.labels, truths.images, counted, shape) @ drawn
            for counted in truths.counted
        ]
        return np.stack(drawn_by_size)

    def _average_precision(self, truths: Ints, drawn: Ints) -> Floats:
        """AP as (classes, sizes, IoU thresholds, replicates)."""
        sizes, classes, replicates = truths.shape
        shape = (classes, sizes, len(THRESHOLDS), replicates)
        wanted = np.broadcast_to(truths.transpose(1, 0, 2)[:, :, None], shape)
        return average_precision(self.ranked, wanted, drawn)

    def _recalls(self, truths: Ints, drawn: Ints) -> list[Floats]:
        """The mean recalls among the 1, 10 and 100 most confident."""
        found, shape = self.recalled, (len(self.classes), len(self.units))
        most = len(THRESHOLDS) * np.maximum(truths, 1)
        return [
            mean_over_classes(
                per_image(found.labels, found.images, times, shape) @ drawn / most, truths > 0
            )
            for times in found.times
        ]

    def _at_point(self, truths: Ints, drawn: Ints) -> list[Floats]:
        """Precision, recall and F1 over all classes."""
        wanted = truths.sum(axis=0)
        right, kept = np.stack([self.right, self.kept]) @ drawn
        pairs = ((right, kept), (right, wanted), (2 * right, kept + wanted))
        return [
            np.where((below > 0) & (wanted > 0), above / np.maximum(below, 1), np.nan)
            for above, below in pairs
        ]


def _averages(ap: Floats, truths: Ints) -> list[Floats]:
    return [
        mean_over_classes(ap[:, size, thresholds].mean(axis=1), truths[size] > 0)
        for size, thresholds in _AVERAGES.values()
    ]


def _per_class(ap: Floats, truths: Ints) -> list[Floats]:
    """One row for each metric and class, NaN without ground truth."""
    rows: list[Floats] = []
    for metric in _PER_CLASS:
        average = _AVERAGES[metric]
        values = ap[:, average.size, average.thresholds].mean(axis=1)
        rows += list(np.where(truths > 0, values, np.nan))
    return rows


def _joined(these: Truths | Recalled, others: Truths | Recalled, images: int) -> list[Any]:
    """Labels, images and flags of both; ``others``' images are numbered from ``images`` on."""
    labels, places, flags = zip(vars(these).values(), vars(others).values(), strict=True)
    return [
        np.concatenate(labels),
        np.concatenate([places[0], places[1] + np.int32(images)]),
        np.concatenate(flags, axis=1),
    ]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
