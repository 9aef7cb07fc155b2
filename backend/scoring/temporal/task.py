"""Mean average precision of temporal action detection.

A video's predictions are matched to its segments once; the mAP of any multiset of videos is a
weighted running sum over them. Source: the evaluator of ActivityNet (Caba Heilbron et al. 2015)
as in OpenTAD, except that equal scores have a defined order here: by their place in the list of
their video, then by the name of the video. So a video that is drawn twice counts exactly as a
renamed copy of it would.
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from backend.config.schema import Section
from backend.core.errors import DataError
from backend.core.records import MetricSpec
from backend.scoring.evidence import Arrays, Column, Counts, Floats, Scores, Task
from backend.scoring.json_files import read_json
from backend.scoring.temporal.activitynet import (
    Json,
    check_predictions,
    check_truth,
    results_of,
)
from backend.scoring.temporal.matching import (
    Ranked,
    class_average_precision,
    group_keys,
    rows_of,
    true_positives,
)

_BLOCK = 4_000_000  # predictions x replicates held at once: 16 MB of running sums
_TIOU = (0.3, 0.4, 0.5, 0.6, 0.7)


def _listed(value: object) -> object:
    """Numbers between commas, or a single one, as they come from a command line."""
    return str(value).split(",") if isinstance(value, str | float | int) else value


def _thresholds(values: tuple[float, ...]) -> tuple[float, ...]:
    if not values or not all(0 < value <= 1 for value in values):
        raise ValueError("expected temporal IoUs above 0 and up to 1, for instance 0.3, 0.5")
    return tuple(sorted(set(values)))


class TemporalOptions(Section):
    """How segments are scored. Annotations labelled as in ``ignore_labels`` are no class."""

    tiou: Annotated[tuple[float, ...], BeforeValidator(_listed), AfterValidator(_thresholds)] = (
        Field(_TIOU, description="The thresholds of temporal IoU.")
    )
    subset: str | None = Field(
        None, description="Which subset; default: the annotated one, or the one predicted."
    )
    ignore_labels: tuple[str, ...] = Field(
        ("Ambiguous",), description="Labels that are neither a class nor a mistake."
    )


@dataclass(frozen=True)
class TemporalEvidence:
    """The predictions of one model, matched, with positions in ``units`` and ``classes``.

    ``truths`` is (classes, units): the number of annotated segments.
    """

    units: tuple[str, ...]
    classes: tuple[str, ...]
    thresholds: Floats
    truths: NDArray[np.int64]
    found: Ranked
    truth_digest: str
    warnings: tuple[str, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """``average_mAP``, the mAP per threshold, and ``average_AP`` per class."""
        return (
            *(Column(name) for name in self._names("mAP")),
            *(Column("average_AP", name) for name in self.classes),
        )

    def scores(self) -> Scores:
        """The metrics of all videos.

        ``per_class`` holds AP per threshold, its mean ``average_AP`` and ``instances``
        (segments). ``per_unit`` holds the metrics of each video alone, None for one without
        segments, and ``instances``.
        """
        everything = np.ones((1, len(self.units)), dtype=np.uint16)
        ap = self._average_precision(everything)
        of_classes = np.column_stack([ap[0].mean(axis=1), ap[0]])
        names, class_names = self._names("mAP"), self._names("AP")
        return Scores(
            task="temporal",
            metrics=_numbers(names, _overall(ap)[0]),
            per_class={
                name: _numbers(class_names, row) | {"instances": float(number)}
                for name, row, number in zip(
                    self.classes, of_classes, self.truths.sum(axis=1), strict=True
                )
            },
            per_unit={
                name: _numbers(names, row) | {"instances": float(number)}
                for name, row, number in zip(
                    self.units, _overall(self._alone()), self.truths.sum(axis=0), strict=True
                )
            },
            units=len(self.units),
            warnings=self.warnings,
        )

    def table(self, counts: Counts) -> Floats:
        """Metrics of multisets of videos, (replicates, columns); see ``Evidence.table``."""
        ap = self._average_precision(counts)
        return np.column_stack([_overall(ap), ap.mean(axis=2)])

    def carrying(self) -> NDArray[np.int64]:
        """For each column, how many videos have a segment, or one of its class."""
        anything = np.count_nonzero(self.truths.any(axis=0))
        overall = [anything] * (1 + len(self.thresholds))
        return np.array([*overall, *np.count_nonzero(self.truths, axis=1)], dtype=np.int64)

    def joined(self, other: Self) -> Self:
        """The videos of both, these first. Raises DataError if classes or thresholds differ."""
        if self.classes != other.classes or not np.array_equal(self.thresholds, other.thresholds):
            raise DataError(
                "these temporal scores have different classes or tIoU thresholds; "
                "score both files with the same ground truth and options"
            )
        return replace(
            self,
            units=self.units + other.units,
            truths=np.concatenate([self.truths, other.truths], axis=1),
            found=self.found.joined(other.found, len(self.units)),
            truth_digest=_digest(self.truth_digest, other.truth_digest),
            warnings=tuple(dict.fromkeys(self.warnings + other.warnings)),
        )

    def arrays(self) -> Arrays:
        """All of it as arrays, for ``restore``."""
        return {
            "units": np.array(self.units, dtype=np.str_),
            "classes": np.array(self.classes, dtype=np.str_),
            "thresholds": self.thresholds,
            "truths": self.truths,
            "truth_digest": np.array(self.truth_digest),
            "warnings": np.array(self.warnings, dtype=np.str_),
            **vars(self.found),
        }

    def _names(self, metric: str) -> tuple[str, ...]:
        return (f"average_{metric}", *(f"{metric}@{value:g}" for value in self.thresholds))

    def _average_precision(self, counts: Counts) -> Floats:
        """AP as (replicates, classes, thresholds); NaN where a class has no segment."""
        ap = np.empty((len(counts), len(self.classes), len(self.thresholds)))
        starts = np.searchsorted(self.found.labels, np.arange(len(self.classes) + 1))
        for label, (start, end) in enumerate(pairwise(starts.tolist())):
            hits, videos = self.found.hits[:, start:end], self.found.videos[start:end]
            size = max(1, _BLOCK // max(1, end - start))
            for first in range(0, len(counts), size):
                drawn = np.ascontiguousarray(counts[first : first + size].T)
                truths = self.truths[label] @ drawn
                found = class_average_precision(hits, videos, drawn, truths)
                ap[first : first + size, label] = found.T
        return ap

    def _alone(self) -> Floats:
        """AP within each video, as (videos, classes, thresholds); NaN without a segment."""
        ap = np.full((len(self.units), len(self.classes), len(self.thresholds)), np.nan)
        once = np.ones((1, 1), dtype=np.uint16)
        labels, videos = np.nonzero(self.truths)
        keys = group_keys(self.found.labels, self.found.videos)
        groups = rows_of(keys, group_keys(labels, videos))
        for label, video, rows in zip(labels, videos, groups, strict=True):
            hits, same = self.found.hits[:, rows], np.zeros(len(rows), dtype=np.int32)
            truths = self.truths[label, video, None]
            ap[video, label] = class_average_precision(hits, same, once, truths)[:, 0]
        return ap


def read(gt: Path, pred: Path, options: TemporalOptions) -> TemporalEvidence:
    """Score ActivityNet results against ActivityNet ground truth. Raises DataError."""
    return _match(read_json(gt), read_json(pred), options, (str(gt), str(pred)))


def match(truth: Json, predictions: Json, options: TemporalOptions) -> TemporalEvidence:
    """Score what would stand in the files, ``{"database": ...}`` and ``{"results": ...}``.

    Without annotated segments every metric is None; without predictions it is 0; both are
    warned of. Raises DataError with one sentence that names video and entry.
    """
    return _match(truth, predictions, options, ("ground truth", "predictions"))


def restore(arrays: Arrays) -> TemporalEvidence:
    """The inverse of ``TemporalEvidence.arrays``."""
    return TemporalEvidence(
        units=tuple(arrays["units"].tolist()),
        classes=tuple(arrays["classes"].tolist()),
        thresholds=arrays["thresholds"],
        truths=arrays["truths"],
        found=Ranked(**{field.name: arrays[field.name] for field in fields(Ranked)}),
        truth_digest=str(arrays["truth_digest"]),
        warnings=tuple(arrays["warnings"].tolist()),
    )


TASK = Task(
    name="temporal",
    unit="video",
    primary="average_mAP",
    unit_metric="average_mAP",
    evaluator="assay.temporal 2",
    metrics=(
        MetricSpec(
            name="average_mAP",
            direction="maximize",
            description="Mean of mAP over the thresholds of temporal IoU.",
        ),
        *(
            MetricSpec(
                name=f"mAP@{value:g}",
                direction="maximize",
                description=f"Mean over classes of average precision at temporal IoU {value:g}.",
            )
            for value in _TIOU
        ),
    ),
    options=TemporalOptions,
    read=read,
    restore=restore,
)


def _match(
    ground_truth: object, predictions: object, options: TemporalOptions, sources: tuple[str, str]
) -> TemporalEvidence:
    results = results_of(predictions, sources[1])
    truth = check_truth(ground_truth, results, options.subset, options.ignore_labels, sources[0])
    found = check_predictions(results, truth, sources[1])
    segments, thresholds = truth.segments, np.array(options.tiou)
    hits = true_positives(found, segments, thresholds)
    truths = np.zeros((len(truth.classes), len(truth.units)), dtype=np.int64)
    np.add.at(truths, (segments.labels, segments.videos), 1)
    places = (segments.videos, segments.labels, segments.bounds)
    return TemporalEvidence(
        units=truth.units,
        classes=truth.classes,
        thresholds=thresholds,
        truths=truths,
        found=Ranked(
            found.segments.labels, found.segments.videos, found.positions, found.scores, hits
        ).sorted(),
        truth_digest=_digest(truth.units, truth.classes, *(part.tolist() for part in places)),
        warnings=truth.warnings + found.warnings,
    )


def _overall(ap: Floats) -> Floats:
    """Average mAP and mAP per threshold of (replicates, classes, thresholds).

    A class without segments is left out; NaN if there is none with any.
    """
    number = (~np.isnan(ap)).sum(axis=1)
    means = np.nansum(ap, axis=1) / np.where(number > 0, number, np.nan)
    return np.column_stack([means.mean(axis=1), means])


def _numbers(names: tuple[str, ...], values: Floats) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(names, values, strict=True)
    }


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
