"""What each clip adds to the metrics of event spotting, and the metrics of any clips."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from backend.core.errors import DataError
from backend.core.records import MetricSpec
from backend.scoring.evidence import Arrays, Column, Counts, Floats, Scores
from backend.scoring.spotting.frame_ranking import FrameScores
from backend.scoring.spotting.matching import Bools

_EPSILON = 1e-10  # the reference's own: 0 / 0 is 0
_BLOCK = 2_000_000  # numbers x replicates held at once: 16 MB
_KINDS = ("event", "element", "lcl")

METRICS = (
    MetricSpec(name="f1_event", direction="maximize",
               description="F1 of events with all their elements; mean over event types."),
    MetricSpec(name="f1_element", direction="maximize",
               description="F1 of elements; mean over all of them, absent ones as 0."),
    MetricSpec(name="f1_element_present", direction="maximize",
               description="F1 of elements; mean over those that occur in the truth."),
    MetricSpec(name="f1_lcl", direction="maximize", description="F1 of frames, any event."),
    MetricSpec(name="edit", direction="maximize", unit="%",
               description="Likeness of event sequences; mean over clips where it is defined."),
    MetricSpec(name="f1_event_strict", direction="maximize",
               description="As f1_event, matched one-to-one; a wrong label is an error."),
    MetricSpec(name="f1_lcl_strict", direction="maximize",
               description="As f1_lcl, matched one-to-one; a second detection is an error."),
    MetricSpec(name="ap_frame", direction="maximize",
               description="Average precision of the event score per frame."),
    MetricSpec(name="auroc_frame", direction="maximize",
               description="Area under the ROC curve of the event score per frame."),
    MetricSpec(name="duplicate_rate", direction="minimize",
               description="Share of predicted frames that detect an event again."),
    *(MetricSpec(name=f"{what}_{kind}", direction="maximize")
      for kind in _KINDS for what in ("precision", "recall")),
    MetricSpec(name="mean_offset", direction=None, unit="frames",
               description="Predicted minus true strided frame, over one-to-one matches."),
    MetricSpec(name="edit_undefined_clips", direction=None, unit="clips",
               description="Clips without true and without predicted events."),
)  # fmt: skip
_FRAME = ("value", "unit", "event")
_COMPARED = tuple(spec.name for spec in METRICS[:10])

LEVELS = ("lcl", "lcl_strict", "element", "event", "event_strict", "occurs", "timing")
"""What is counted per label, in three rows each: true positives, false positives, misses. Of
``occurs``: true and predicted events, label 0 any and label k + 1 with element k (true only).
Of ``timing``: predicted frames that detect an event again, and summed offsets of matches."""


class Tally(NamedTuple):
    """Sparse counts: each entry adds ``value`` to one number of one clip."""

    level: NDArray[np.int32]
    row: NDArray[np.int32]
    label: NDArray[np.int32]
    unit: NDArray[np.int32]
    value: NDArray[np.int32]


@dataclass(frozen=True)
class SpottingEvidence:
    """The matches of one model, per clip; see ``backend.scoring.evidence.Evidence``.

    ``codes`` (types, elements) are the event types of either side; ``edit`` (clips) is NaN
    where undefined; ``frames`` None: the predictions hold no scores. ``settings`` say by which
    tolerance, stride and rule events were matched.
    """

    units: tuple[str, ...]
    elements: tuple[str, ...]
    truth_digest: str
    settings: str
    codes: Bools
    tally: Tally
    edit: Floats
    frames: FrameScores | None = None
    warnings: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics that are compared, then F1 of each element."""
        return (
            *(Column(name) for name in _COMPARED),
            *(Column("f1", element) for element in self.elements),
        )

    def scores(self) -> Scores:
        """All metrics; F1, precision, recall and instances of each element; Edit and F1 of each
        clip."""
        measured, by_element = self._measure(np.ones((len(self.units), 1)))
        metrics = {spec.name: _number(measured[spec.name][0]) for spec in METRICS}
        return Scores(
            task="spotting",
            metrics=metrics,
            per_class={
                name: {key: _number(values[at, 0]) for key, values in by_element.items()}
                for at, name in enumerate(self.elements)
            },
            per_unit=self._per_unit(),
            units=len(self.units),
            warnings=(*self.warnings, *_undefined(metrics)),
        )

    def table(self, counts: Counts) -> Floats:
        """Exact metrics of multisets of clips, without matching again."""
        held = self._matrix.shape[0] + (self.frames.bins if self.frames else 0)
        size = max(1, _BLOCK // held)
        blocks = []
        for start in range(0, len(counts), size):
            drawn = np.ascontiguousarray(counts[start : start + size].T, dtype=np.float64)
            metrics, by_element = self._measure(drawn)
            blocks.append(np.vstack([*(metrics[name] for name in _COMPARED), by_element["f1"]]))
        return np.ascontiguousarray(np.hstack(blocks).T)

    def carrying(self) -> NDArray[np.int64]:
        """Clips with a true event, with one that has the element, with scored frames."""
        true = self._matrix[self._rows["occurs"]][: len(self.elements) + 1]
        clips = (true.toarray() > 0).sum(axis=1)
        ranked = 0 if self.frames is None else clips[0]
        overall = [ranked if name.endswith("_frame") else clips[0] for name in _COMPARED]
        return np.array([*overall, *clips[1:]], dtype=np.int64)

    def joined(self, other: Self) -> Self:
        """The clips of both, these first. Raises DataError if elements or settings differ."""
        if (self.elements, self.settings) != (other.elements, other.settings):
            raise DataError(
                "these predictions were scored with different elements or settings "
                f"({self.settings} and {other.settings}); score both alike"
            )
        codes, place = np.unique(
            np.concatenate([self.codes, other.codes]), axis=0, return_inverse=True
        )
        mine = _renumbered(self.tally, place[: len(self.codes)], 0)
        theirs = _renumbered(other.tally, place[len(self.codes) :], len(self.units))
        frames = None
        if self.frames and other.frames:
            frames = self.frames.joined(other.frames, len(self.units))
        return type(self)(
            units=self.units + other.units,
            elements=self.elements,
            truth_digest=_sha256(self.truth_digest, other.truth_digest),
            settings=self.settings,
            codes=codes,
            tally=Tally(*map(np.concatenate, zip(mine, theirs, strict=True))),
            edit=np.concatenate([self.edit, other.edit]),
            frames=frames,
            warnings=tuple(dict.fromkeys(self.warnings + other.warnings)),
        )

    def arrays(self) -> Arrays:
        """All of it without objects; ``restore`` is the inverse."""
        scored = {}
        if self.frames is not None:
            scored = {f"frame_{name}": getattr(self.frames, name) for name in _FRAME}
        return {
            "units": np.array(self.units, dtype=np.str_),
            "elements": np.array(self.elements, dtype=np.str_),
            "said": np.array([self.truth_digest, self.settings, *self.warnings], dtype=np.str_),
            "codes": self.codes,
            "tally": np.array(self.tally),
            "edit": self.edit,
            **scored,
        }

    @cached_property
    def _rows(self) -> dict[str, slice]:
        """Where each level stands in ``_matrix``: all true positives, false ones, misses."""
        types, elements = len(self.codes), len(self.elements)
        sizes = (1, 1, elements, types, types, elements + 1, 1)
        ends = np.cumsum([3 * size for size in sizes]).tolist()
        return {
            level: slice(end - 3 * size, end)
            for level, size, end in zip(LEVELS, sizes, ends, strict=True)
        }

    @cached_property
    def _matrix(self) -> csr_array:
        """The tally as (numbers, clips)."""
        starts = np.array([rows.start for rows in self._rows.values()])
        ends = np.array([rows.stop for rows in self._rows.values()])
        level, row, label, unit, value = self.tally
        at = starts[level] + row * ((ends - starts)[level] // 3) + label
        return csr_array(
            (value.astype(np.float64), (at, unit)), shape=(int(ends[-1]), len(self.units))
        )

    def _measure(self, drawn: Floats) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Metrics (replicates) and those of elements (elements, replicates), of the clips
        ``drawn`` (clips, replicates)."""
        totals = self._matrix @ drawn
        level = {name: np.split(totals[rows], 3) for name, rows in self._rows.items()}
        metrics: dict[str, Floats] = {}
        for kind in (*_KINDS, "lcl_strict", "event_strict"):
            counted = _any(level[kind]) if kind.startswith("event") else None
            for what, values in _rates(level[kind]).items():
                metrics[f"{what}_{kind}"] = _mean(values, counted)
        true, predicted, _ = level["occurs"]
        by_element = _rates(level["element"])
        metrics["f1_element_present"] = _mean(by_element["f1"], true[1:] > 0)
        counted = _any(level["element"])
        by_element = {what: np.where(counted, v, np.nan) for what, v in by_element.items()}
        again, offsets, _ = level["timing"]
        metrics["duplicate_rate"] = _share(again[0], predicted[0])
        metrics["mean_offset"] = _share(offsets[0], level["lcl_strict"][0][0])
        defined = ~np.isnan(self.edit)
        metrics["edit"] = _share(np.nan_to_num(self.edit) @ drawn, defined @ drawn)
        metrics["edit_undefined_clips"] = ~defined @ drawn
        metrics["ap_frame"], metrics["auroc_frame"] = self._ranked(drawn)
        return metrics, by_element | {"instances": true[1:]}

    def _ranked(self, drawn: Floats) -> tuple[Floats, Floats]:
        if self.frames is None:
            nothing = np.full(drawn.shape[1], np.nan)
            return nothing, nothing
        return self.frames.rank(drawn)

    def _per_unit(self) -> dict[str, dict[str, float | None]]:
        part = {
            level: np.split(self._matrix[self._rows[level]].toarray(), 3)
            for level in ("lcl", "lcl_strict", "occurs")
        }
        true, predicted, _ = (rows[0] for rows in part["occurs"])
        f1 = [
            np.where(true + predicted > 0, _rates(part[level])["f1"][0], np.nan)
            for level in ("lcl", "lcl_strict")
        ]
        names = ("edit", "f1_lcl", "f1_lcl_strict", "events", "predicted")
        columns = zip(self.edit, *f1, true, predicted, strict=True)
        return {
            unit: {name: _number(value) for name, value in zip(names, values, strict=True)}
            for unit, values in zip(self.units, columns, strict=True)
        }


def restore(arrays: Arrays) -> SpottingEvidence:
    """The inverse of ``SpottingEvidence.arrays``."""
    digest, settings, *warnings = arrays["said"].tolist()
    frames = None
    if "frame_value" in arrays:
        frames = FrameScores(*(arrays[f"frame_{name}"] for name in _FRAME))
    return SpottingEvidence(
        units=tuple(arrays["units"].tolist()),
        elements=tuple(arrays["elements"].tolist()),
        truth_digest=digest,
        settings=settings,
        codes=arrays["codes"],
        tally=Tally(*arrays["tally"]),
        edit=arrays["edit"],
        frames=frames,
        warnings=tuple(warnings),
    )


def _renumbered(tally: Tally, place: NDArray[np.intp], units: int) -> Tally:
    """With event types at their new ``place``, and clips behind ``units`` others."""
    typed = np.isin(tally.level, [LEVELS.index("event"), LEVELS.index("event_strict")])
    label = tally.label.copy()
    label[typed] = place[label[typed]]
    return tally._replace(label=label, unit=tally.unit + np.int32(units))


def _rates(counts: list[Floats]) -> dict[str, Floats]:
    """Precision, recall and F1 from true positives, false positives and misses."""
    right, wrong, missed = counts
    precision = right / (right + wrong + _EPSILON)
    recall = right / (right + missed + _EPSILON)
    f1 = 2 * precision * recall / (precision + recall + _EPSILON)
    return {"precision": precision, "recall": recall, "f1": f1}


def _any(counts: list[Floats]) -> Bools:
    return np.asarray(sum(counts) > 0)


def _mean(values: Floats, counted: Bools | None) -> Floats:
    """Mean over the ``counted`` labels of (labels, replicates); NaN if there are none."""
    if counted is None:
        return np.asarray(values.mean(axis=0))
    return _share((values * counted).sum(axis=0), counted.sum(axis=0))


def _share(part: Floats, whole: Floats | NDArray[np.int64]) -> Floats:
    with np.errstate(invalid="ignore"):
        return np.asarray(part / whole)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _undefined(metrics: dict[str, float | None]) -> list[str]:
    found = []
    if metrics["f1_event"] is None:
        found.append("No event is true and none is predicted, so f1_event is undefined.")
    clips = metrics["edit_undefined_clips"]
    if clips:
        found.append(f"{clips:.0f} clips have no true and no predicted events; edit omits them.")
    return found


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
