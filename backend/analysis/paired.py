"""Two models on the same units of any task: every metric with interval, verdict and check."""

from collections.abc import Sequence
from typing import NamedTuple

from backend.analysis.intervals import FEW_UNITS, Paired, judge
from backend.analysis.resampling import (
    Resampled,
    bootstrap_counts,
    p_values,
    resample,
    swapped_differences,
)
from backend.analysis.settings import DEFAULTS, ComparisonSettings
from backend.core.comparisons import MetricDelta, UnitDelta
from backend.core.errors import ComparisonError, DataError
from backend.core.records import Direction
from backend.scoring.detection.errors import KINDS
from backend.scoring.detection.task import DetectionEvidence
from backend.scoring.evidence import Column, Counts, Evidence, Task

SHOWN_UNITS = 10


class _Asked(NamedTuple):
    """What is known of a column beforehand; ``units`` carry ground truth for it."""

    name: str
    direction: Direction
    units: int
    margin: float
    p_value: float | None
    unit: str = ""


class Compared(NamedTuple):
    """Candidate minus baseline in everything that their evidence measures.

    ``per_class`` is of ``class_metric``; ``errors`` is what each kind of error costs a detector
    (``scoring.detection.errors``), empty for other tasks. ``per_unit`` holds the units that
    gained or lost most, by the task's unit metric, the largest gain first.
    """

    metrics: tuple[MetricDelta, ...]
    per_class: tuple[MetricDelta, ...]
    class_metric: str
    errors: tuple[MetricDelta, ...]
    per_unit: tuple[UnitDelta, ...]


def compare_evidence(
    task: Task, baseline: Evidence, candidate: Evidence, settings: ComparisonSettings = DEFAULTS
) -> Compared:
    """Paired bootstrap and permutation test of two models on the same units.

    Raises ComparisonError if their units or ground truth differ, if there is no ground truth
    at all, or for a margin of an unknown metric.
    """
    refuse_other_truth(baseline, candidate)
    _refuse_unknown_margins(settings, baseline)
    carrying = baseline.carrying().tolist()
    if not any(carrying):
        raise ComparisonError(
            f"there is no ground truth in any of the {len(baseline.units)} {task.unit}s, so "
            "nothing can be compared; use data with labels"
        )
    drawn = bootstrap_counts(len(baseline.units), settings.replicates, settings.seed)
    sides = resample(baseline, drawn), resample(candidate, drawn)
    checks = _p_values(baseline, candidate, sides, settings)
    asked = [
        _Asked(
            name=column.label or column.metric,
            direction=task.direction(column.metric),
            units=units,
            margin=settings.margin_of(task, column.metric),
            p_value=check if units >= FEW_UNITS else None,
            unit=task.unit_of(column.metric),
        )
        for column, units, check in zip(baseline.columns, carrying, checks, strict=True)
    ]
    named = list(zip(baseline.columns, _deltas(asked, sides, settings), strict=True))
    class_metric = _class_metric(task, baseline)
    return Compared(
        metrics=tuple(delta for column, delta in named if not column.label),
        per_class=tuple(d for c, d in named if c.label and c.metric == class_metric),
        class_metric=class_metric,
        errors=_errors(task, baseline, candidate, drawn, settings),
        per_unit=_per_unit(task, baseline, candidate),
    )


def refuse_other_truth(baseline: Evidence, *others: Evidence) -> None:
    """Raises ComparisonError unless all evidence is of the same units, ground truth and rules."""
    for other in others:
        for name in ("units", "columns", "truth_digest"):
            if getattr(baseline, name) != getattr(other, name):
                raise ComparisonError(
                    f"the models were scored against different ground truth (their "
                    f"{name.replace('_', ' ')} differ), though both claim the same data; "
                    "evaluate all of them again on the same files"
                )
        try:
            baseline.joined(other)
        except DataError as error:
            raise ComparisonError(f"these evaluations may not be compared: {error}") from None


def column_of(metric: str, evidence: Evidence) -> int:
    """Where a metric over all classes stands in the table.

    Raises ComparisonError for a metric that the evidence does not compute.
    """
    try:
        return evidence.columns.index(Column(metric))
    except ValueError:
        names = ", ".join(column.metric for column in evidence.columns if not column.label)
        raise ComparisonError(
            f"the primary metric '{metric}' has no paired bootstrap; choose one of {names}"
        ) from None


def _refuse_unknown_margins(settings: ComparisonSettings, evidence: Evidence) -> None:
    """Raises ComparisonError for a margin of a metric that is not compared."""
    known = {column.metric for column in evidence.columns} | set(KINDS)
    unknown = sorted(settings.margins.keys() - known)
    if unknown:
        raise ComparisonError(
            f"there is a margin for {', '.join(unknown)}, but the metrics are "
            f"{', '.join(dict.fromkeys(column.metric for column in evidence.columns))}"
        )


def _deltas(
    asked: Sequence[_Asked], sides: tuple[Resampled, Resampled], settings: ComparisonSettings
) -> list[MetricDelta]:
    old, new = sides
    replicates, left_out = new.replicates - old.replicates, new.left_out - old.left_out
    return [
        judge(
            Paired(
                name=column.name,
                baseline=old.observed[at],
                candidate=new.observed[at],
                replicates=replicates[:, at],
                left_out=left_out[:, at],
                units=column.units,
                direction=column.direction,
                p_value=column.p_value,
            ),
            settings.confidence,
            column.margin,
            settings.interval,
        ).model_copy(update={"unit": column.unit})
        for at, column in enumerate(asked)
    ]


def _p_values(
    baseline: Evidence,
    candidate: Evidence,
    sides: tuple[Resampled, Resampled],
    settings: ComparisonSettings,
) -> list[float] | list[None]:
    """The p-value of each column; None if no permutations are wanted or units are few."""
    if not settings.permutations or baseline.carrying().max() < FEW_UNITS:
        return [None] * len(baseline.columns)
    swapped = swapped_differences(baseline, candidate, settings.permutations, settings.seed)
    found: list[float] = p_values(sides[1].observed - sides[0].observed, swapped).tolist()
    return found


def _errors(
    task: Task,
    baseline: Evidence,
    candidate: Evidence,
    drawn: Counts,
    settings: ComparisonSettings,
) -> tuple[MetricDelta, ...]:
    if not (isinstance(baseline, DetectionEvidence) and isinstance(candidate, DetectionEvidence)):
        return ()
    units = int(baseline.carrying().max())
    asked = [
        _Asked(kind, "minimize", units, settings.margin_of(task, kind), p_value=None)
        for kind in KINDS
    ]
    sides = resample(baseline.errors, drawn), resample(candidate.errors, drawn)
    return tuple(_deltas(asked, sides, settings))


def _class_metric(task: Task, evidence: Evidence) -> str:
    """The metric by which classes are compared: the task's primary one, where it has classes."""
    metrics = [column.metric for column in evidence.columns if column.label]
    if task.primary in metrics or not metrics:
        return task.primary
    return metrics[0]


def _per_unit(task: Task, baseline: Evidence, candidate: Evidence) -> tuple[UnitDelta, ...]:
    old, new = (side.scores().per_unit for side in (baseline, candidate))
    sign = 1 if task.direction(task.unit_metric) == "maximize" else -1
    changed = []
    for unit in old:
        before, after = (side[unit].get(task.unit_metric) for side in (old, new))
        if before is not None and after is not None and before != after:
            changed.append(
                UnitDelta(unit=unit, baseline=before, candidate=after, delta=after - before)
            )
    changed.sort(key=lambda unit: -sign * unit.delta)
    gained = [unit for unit in changed if sign * unit.delta > 0][:SHOWN_UNITS]
    lost = [unit for unit in changed if sign * unit.delta < 0][-SHOWN_UNITS:]
    return (*gained, *lost)
