"""What one tracker did, sequence by sequence: see ``tracking`` for the views and their names."""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.scoring.evidence import Arrays, Column, Counts, Floats, Scores
from backend.scoring.tracking.clear_hota import COUNTS, RATES, WIDTH, metrics, true_boxes

_OVERALL = (
    *("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR"),
    *("IDSW", "Frag", "FP", "FN", "MT", "ML"),
    *("cls_HOTA", "cls_MOTA", "cls_IDF1"),
)
_PER_CLASS = ("HOTA", "MOTA", "IDF1")

Table = dict[str, Floats]
"""Metric to its values, (replicates,)."""


@dataclass(frozen=True)
class TrackingEvidence:
    """What each sequence adds to the metrics.

    ``classes`` are those of the ground truth or those the user named, ``strays`` those that
    occur in predictions only. ``summed`` is (views, sequences, WIDTH); the views are the
    class-agnostic one, the classes, the strays. Without ``labelled`` the predictions name no
    classes, and what needs them is undefined.
    """

    units: tuple[str, ...]
    classes: tuple[str, ...]
    strays: tuple[str, ...]
    summed: Floats
    labelled: bool
    threshold: float
    truth_digest: str
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics people compare; of classes, those that have ground truth."""
        present = true_boxes(self.summed[1:]).sum(axis=1) > 0
        return (
            *(Column(name) for name in _OVERALL),
            *(
                Column(name, label)
                for label, found in zip(self.classes, present, strict=False)
                for name in _PER_CLASS
                if found
            ),
        )

    def scores(self) -> Scores:
        """The metrics of all sequences together.

        Rates are None without ground truth and ``cls_`` and ``det_`` metrics where predictions
        name no classes. ``per_class`` and ``per_unit`` follow trackeval instead, where a view
        without ground truth or predictions has rates of 0 and LocA 1.
        """
        whole, _ = self._combined(np.ones((1, len(self.units))))
        views = metrics(self.summed[1:].sum(axis=1))
        if len(self.units) == 1:
            views = _alone(views)
        return Scores(
            task="tracking",
            metrics=_numbers(whole, 0) | self._pooled(),
            per_class=_rows(views, (*self.classes, *self.strays)) if self.labelled else {},
            per_unit=_rows(_alone(metrics(self.summed[0])), self.units),
            units=len(self.units),
            warnings=self.warnings,
        )

    def table(self, counts: Counts) -> Floats:
        """Metrics of multisets of sequences, (replicates, columns).

        They are trackeval's ``combine_sequences``. Rates are NaN where no ground truth was drawn.
        """
        whole, classes = self._combined(counts.astype(np.float64))
        values = [classes[label][name] if label else whole[name] for name, label in self.columns]
        return np.stack(values, axis=1)

    def carrying(self) -> NDArray[np.int64]:
        """For each column, how many sequences have ground truth for it."""
        numbers = (true_boxes(self.summed) > 0).sum(axis=1)
        views = dict(zip(("", *self.classes), numbers.tolist(), strict=False))
        return np.array([views[label] for _, label in self.columns], dtype=np.int64)

    def joined(self, other: Self) -> Self:
        """The sequences of both. Raises DataError if classes or threshold differ."""
        if (self.classes, self.threshold) != (other.classes, other.threshold):
            raise DataError(
                "tracking evidence of different classes or thresholds cannot be joined: "
                f"{self.classes} at {self.threshold:g}, {other.classes} at {other.threshold:g}"
            )
        strays = tuple(sorted({*self.strays, *other.strays}))
        return type(self)(
            units=self.units + other.units,
            classes=self.classes,
            strays=strays,
            summed=np.concatenate([self._with(strays), other._with(strays)], axis=1),
            labelled=self.labelled and other.labelled,
            threshold=self.threshold,
            truth_digest=sha256(self.truth_digest, other.truth_digest),
            warnings=tuple(dict.fromkeys(self.warnings + other.warnings)),
        )

    def arrays(self) -> Arrays:
        """All of it, for ``restore``."""
        return {
            "units": np.array(self.units, dtype=np.str_),
            "classes": np.array(self.classes, dtype=np.str_),
            "strays": np.array(self.strays, dtype=np.str_),
            "summed": self.summed,
            "labelled": np.array(self.labelled),
            "threshold": np.array(self.threshold),
            "truth_digest": np.array(self.truth_digest),
            "warnings": np.array(self.warnings, dtype=np.str_),
        }

    def _combined(self, weights: Floats) -> tuple[Table, dict[str, Table]]:
        """Metrics over all classes, and of each; ``weights`` is (replicates, sequences)."""
        classes = {
            name: _defined(metrics(weights @ view), self.labelled)
            for name, view in zip(self.classes, self.summed[1:], strict=False)
        }
        whole = _defined(metrics(weights @ self.summed[0]))
        return whole | _averaged(list(classes.values()), len(weights), self.labelled), classes

    def _pooled(self) -> dict[str, float | None]:
        pooled = metrics(self.summed[1:].sum(axis=(0, 1))[None])
        found = _numbers(_defined(pooled, self.labelled), 0)
        return {f"det_{name}": found[name] for name in RATES}

    def _with(self, strays: tuple[str, ...]) -> Floats:
        """``summed`` with views for other strays."""
        known = len(self.classes) + 1
        views = dict(zip(self.strays, self.summed[known:], strict=True))
        nothing = np.zeros((len(self.units), WIDTH))
        return np.stack([*self.summed[:known], *(views.get(name, nothing) for name in strays)])


def restore(arrays: Arrays) -> TrackingEvidence:
    """The inverse of ``TrackingEvidence.arrays``."""
    return TrackingEvidence(
        units=tuple(arrays["units"].tolist()),
        classes=tuple(arrays["classes"].tolist()),
        strays=tuple(arrays["strays"].tolist()),
        summed=np.asarray(arrays["summed"], dtype=np.float64),
        labelled=bool(arrays["labelled"]),
        threshold=float(arrays["threshold"]),
        truth_digest=str(arrays["truth_digest"]),
        warnings=tuple(arrays["warnings"].tolist()),
    )


def _defined(table: Table, known: bool = True) -> Table:
    """Rates are undefined where there is no ground truth, and all if not ``known``."""
    there = (table["gt_dets"] > 0) & known
    return {
        name: np.where(there if name in RATES else known, values, np.nan)
        for name, values in table.items()
    }


def _averaged(classes: list[Table], replicates: int, known: bool) -> Table:
    """``cls_`` metrics: rates averaged, counts added up, over the classes with ground truth."""
    there = np.array([table["gt_dets"] > 0 for table in classes]).reshape(-1, replicates)
    number = there.sum(axis=0)
    averaged = {}
    for name in (*RATES, *COUNTS):
        values = np.array([table[name] for table in classes]).reshape(-1, replicates)
        total = np.where(there, values, 0).sum(axis=0)
        if name in RATES:
            total = np.where(number > 0, total / np.maximum(1, number), np.nan)
        averaged[f"cls_{name}"] = np.where(known, total, np.nan)
    return averaged


def _alone(table: Table) -> Table:
    """trackeval gives a single sequence without ground truth a MOTA of 0."""
    return table | {"MOTA": np.where(table["gt_dets"] > 0, table["MOTA"], 0)}


def _rows(table: Table, names: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
    return {name: _numbers(table, row) for row, name in enumerate(names)}


def _numbers(table: Table, row: int) -> dict[str, float | None]:
    return {
        name: None if np.isnan(values[row]) else float(values[row])
        for name, values in table.items()
    }


def sha256(*parts: str) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
