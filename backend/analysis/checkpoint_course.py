"""How the checkpoints of one run scored, from what comparisons of the past keep of them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from backend.analysis.kept import own_interval
from backend.analysis.reports import evidence_of, task_of
from backend.analysis.settings import DEFAULTS, ComparisonSettings
from backend.core.comparisons import Comparison
from backend.core.records import Checkpoint, EvalReport


class Point(NamedTuple):
    """One checkpoint's metric; ``low`` and ``high`` bound it over other units, None where there
    is no spread to go by."""

    checkpoint: Checkpoint
    value: float
    low: float | None
    high: float | None


class Course(NamedTuple):
    """The checkpoints that were scored on the same data, in the order of their steps."""

    metric: str
    split: str
    unit: str
    units: int
    confidence: float
    points: tuple[Point, ...]


Evaluated = tuple[Checkpoint, EvalReport]


def evaluations(run: str, comparisons: Sequence[Comparison]) -> list[Evaluated]:
    """The checkpoints of a run on the data that most of them were scored on, the newest
    evaluation of each, in the order of their steps. ``comparisons`` are newest first."""
    groups: dict[tuple[str, ...], dict[str, Evaluated]] = defaultdict(dict)
    for one in comparisons:
        reports = (one.target.baseline_report, one.target.candidate_report)
        for side, report in zip((one.baseline, one.candidate), reports, strict=True):
            if side.checkpoint.run == run:
                same = (report.data_digest, report.split, report.evaluator, str(report.settings))
                groups[same].setdefault(side.checkpoint.sha256, (side.checkpoint, report))
    most = max(groups.values(), key=len, default={})
    return sorted(most.values(), key=lambda pair: pair[0].step)


def course_of(scored: Sequence[Evaluated], settings: ComparisonSettings = DEFAULTS) -> Course:
    """The primary metric of each with its interval; undefined ones are left out.

    Raises ComparisonError or DataError for evidence that is gone or damaged.
    """
    first = scored[0][1]
    metric = task_of(first).primary
    points = []
    for checkpoint, report in scored:
        value = report.metrics.get(metric)
        if value is not None:
            low, high = own_interval(evidence_of(report), metric, value, settings)
            points.append(Point(checkpoint, value, low, high))
    return Course(metric, first.split, first.unit, first.units, settings.confidence, tuple(points))
