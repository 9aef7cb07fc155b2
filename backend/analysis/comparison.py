"""Old versus new: a paired bootstrap over units, and everything that makes it trustworthy.

Both sides are judged on the same resampled units (images, sequences, videos, clips). Most
metrics are no mean over units, so each replicate recomputes the metric of its whole set from
the evidence, which is exact. Two reports that differ in anything that changes the numbers are
refused. A comparison of reports that keep their evidence takes no evaluation at all.
"""

from typing import Literal

from backend.analysis.caveats import about_data, about_sides
from backend.analysis.changes import changes
from backend.analysis.paired import column_of, compare_evidence
from backend.analysis.reports import Reports, paired_evidence, task_of
from backend.analysis.settings import DEFAULTS, ComparisonSettings
from backend.core.comparisons import (
    Comparison,
    Contender,
    DataComparison,
    LayerChange,
)
from backend.core.records import EvalReport

__all__ = ["DEFAULTS", "ComparisonSettings", "compare", "compare_reports"]

Role = Literal["target", "source"]


def compare(  # noqa: PLR0913 (one record is assembled from seven parts)
    *,
    key: str,
    created: float,
    contenders: tuple[Contender, Contender],
    target: Reports,
    source: Reports | None = None,
    weights: tuple[LayerChange, ...] = (),
    settings: ComparisonSettings = DEFAULTS,
) -> Comparison:
    """Assemble a comparison. Every pair is (baseline, candidate); ``created`` in Unix seconds.

    ``target`` decides, ``source`` measures forgetting. Raises ComparisonError for reports that
    may not be compared or an unknown primary metric, DataError for damaged evidence.
    """
    task = task_of(target[0])
    primary = settings.primary or task.primary
    on_target, warnings = _compare_data(target, "target", primary, settings)
    on_source, more = _compare_data(source, "source", primary, settings) if source else (None, ())
    return Comparison(
        key=key,
        created=created,
        baseline=contenders[0],
        candidate=contenders[1],
        primary=primary,
        confidence=settings.confidence,
        margin=settings.margin_of(task, primary),
        replicates=settings.replicates,
        permutations=settings.permutations,
        seed=settings.seed,
        target=on_target,
        source=on_source,
        weights=weights,
        changes=changes(*contenders),
        warnings=(*about_sides(contenders, target), *warnings, *more),
    )


def compare_reports(
    baseline: EvalReport,
    candidate: EvalReport,
    *,
    role: Role = "target",
    settings: ComparisonSettings = DEFAULTS,
) -> DataComparison:
    """Two evaluations of the same units, metric by metric and class by class.

    Raises ComparisonError if they differ in task, split, data, evaluator, settings, classes or
    ground truth, if there is no ground truth, or if a report's own score is not what its
    evidence gives.
    """
    primary = settings.primary or task_of(baseline).primary
    return _compare_data((baseline, candidate), role, primary, settings)[0]


def _compare_data(
    reports: Reports, role: Role, primary: str, settings: ComparisonSettings
) -> tuple[DataComparison, tuple[str, ...]]:
    evidence = paired_evidence(reports)
    column_of(primary, evidence[0])  # refuses one that there is not
    task, first = task_of(reports[0]), reports[0]
    found = compare_evidence(task, *evidence, settings)
    data = DataComparison(
        role=role,
        data=first.data,
        split=first.split,
        data_digest=first.data_digest,
        evaluator=first.evaluator,
        unit=task.unit,
        units=len(evidence[0].units),
        metrics=found.metrics,
        per_class=found.per_class,
        class_metric=found.class_metric,
        errors=found.errors,
        per_unit=found.per_unit,
        unit_metric=task.unit_metric,
        baseline_report=reports[0],
        candidate_report=reports[1],
    )
    return data, about_data(data, primary, evidence[0], settings.confidence)
