"""Two evaluations as evidence that may be compared, or the reason why they may not."""

import math
from pathlib import Path

import numpy as np

from backend.analysis.paired import refuse_other_truth
from backend.core.errors import ComparisonError
from backend.core.records import EvalReport
from backend.scoring.evidence import Evidence, Task
from backend.scoring.tasks import TASKS, load_evidence

Reports = tuple[EvalReport, EvalReport]


def task_of(report: EvalReport) -> Task:
    """The task that a report was scored by. Raises ComparisonError."""
    if report.task not in TASKS:
        raise ComparisonError(
            f"{report.checkpoint}: the task '{report.task}' cannot be compared; "
            f"choose one of {', '.join(TASKS)}"
        )
    return TASKS[report.task]


def paired_evidence(reports: Reports) -> tuple[Evidence, Evidence]:
    """The evidence of baseline and candidate, proven to be of one ground truth and not stale.

    Raises ComparisonError if the reports differ in anything that changes the numbers, if there
    is nothing to resample, or if a report's own score is not what its evidence gives; DataError
    for damaged files.
    """
    _refuse_unlike(*reports)
    baseline, candidate = (evidence_of(report) for report in reports)
    refuse_other_truth(baseline, candidate)
    for report, evidence in zip(reports, (baseline, candidate), strict=True):
        _refuse_stale(report, evidence)
    return baseline, candidate


def _refuse_unlike(baseline: EvalReport, candidate: EvalReport) -> None:
    names = ("task", "split", "data_digest", "evaluator", "classes", "unit", "units")
    unlike = [
        f"{name.replace('_', ' ')} ({_short(baseline, name)} and {_short(candidate, name)})"
        for name in names
        if getattr(baseline, name) != getattr(candidate, name)
    ]
    for name in sorted(baseline.settings.keys() | candidate.settings.keys()):
        old, new = (r.settings.get(name, "not set") for r in (baseline, candidate))
        if old != new:
            unlike.append(f"setting {name} ({old} and {new})")
    if unlike:
        raise ComparisonError(
            f"these evaluations may not be compared, they differ in {', '.join(unlike)}; "
            "evaluate both by the same code on the same data"
        )


def _short(report: EvalReport, name: str) -> str:
    value = getattr(report, name)
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def evidence_of(report: EvalReport) -> Evidence:
    """What the report rests on: its file of evidence, else its predictions matched anew.

    The latter by the task's default options. Raises ComparisonError, DataError.
    """
    task = task_of(report)
    if report.evidence:
        return load_evidence(Path(report.evidence), report.task)
    if not (report.ground_truth and report.predictions):
        raise ComparisonError(
            f"the evaluation of {report.checkpoint} keeps neither evidence nor predictions; "
            "evaluate it again"
        )
    return task.read(Path(report.ground_truth), Path(report.predictions), task.options())


def _refuse_stale(report: EvalReport, evidence: Evidence) -> None:
    ones = np.ones((1, len(evidence.units)), dtype=np.uint16)
    for column, now in zip(evidence.columns, evidence.table(ones)[0], strict=True):
        said = None if column.label else report.metrics.get(column.metric)
        if said is not None and not math.isclose(said, now, abs_tol=1e-6):
            source = report.evidence or report.predictions
            raise ComparisonError(
                f"the report of {report.checkpoint} says {column.metric} {said:.6f}, but "
                f"{source} gives {'none' if math.isnan(now) else f'{now:.6f}'}; evaluate it again"
            )
