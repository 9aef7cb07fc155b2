"""The checkpoints that one run kept, scored on the same units: which is the best, and is it
better than the last one beyond what other units could say?"""

from collections.abc import Iterator, Sequence

import numpy as np

from backend.analysis import text
from backend.analysis.families import compare_family
from backend.analysis.intervals import interval
from backend.analysis.paired import column_of
from backend.analysis.reports import paired_evidence, task_of
from backend.analysis.resampling import bootstrap_counts, resample
from backend.analysis.settings import DEFAULTS, ComparisonSettings
from backend.core.comparisons import Family, FamilyMember
from backend.core.errors import ComparisonError
from backend.core.records import Checkpoint, EvalReport, Record
from backend.scoring.evidence import Evidence

ScoredCheckpoint = tuple[Checkpoint, EvalReport]


class KeptCheckpoint(Record):
    """One checkpoint and its scores; ``best`` in the metric that decides."""

    epoch: int
    step: int
    path: str
    sha256: str
    metrics: dict[str, float | None]
    best: bool


class KeptCheckpoints(Record):
    """All checkpoints of a run on one split. ``low`` and ``high`` bound the best one's ``metric``
    over other units; ``against_last`` holds every other one against the last, its intervals
    adjusted for their number. ``sentences`` say what comes of it."""

    run: str
    split: str
    unit: str
    units: int
    metric: str
    confidence: float
    checkpoints: tuple[KeptCheckpoint, ...]
    best_epoch: int
    best_step: int
    value: float
    low: float | None
    high: float | None
    against_last: Family | None = None
    sentences: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judge_kept(
    run: str, scored: Sequence[ScoredCheckpoint], settings: ComparisonSettings = DEFAULTS
) -> KeptCheckpoints:
    """What the scores of a run's checkpoints, in the order of their steps, say.

    The best has the best primary metric, the earliest of equals. Raises ComparisonError if they
    were not scored alike or the metric is undefined, DataError for damaged evidence.
    """
    last = scored[-1][1]
    task, evidence = task_of(last), [paired_evidence((last, one))[1] for _, one in scored]
    metric = settings.primary or task.primary
    column_of(metric, evidence[-1])
    known = [(at, v) for at, (_, r) in enumerate(scored) if (v := r.metrics[metric]) is not None]
    if not known:
        raise ComparisonError(f"{metric} is undefined on {last.split}, so no checkpoint is best")
    sign = 1 if task.direction(metric) == "maximize" else -1
    at, value = max(known, key=lambda pair: (sign * pair[1], -pair[0]))
    low, high = own_interval(evidence[at], metric, value, settings)
    family = _against_last(scored, evidence, settings)
    best = scored[at][0]
    return KeptCheckpoints(
        run=run,
        split=last.split,
        unit=last.unit,
        units=last.units,
        metric=metric,
        confidence=settings.confidence,
        checkpoints=tuple(
            _kept(checkpoint, report, best=place == at)
            for place, (checkpoint, report) in enumerate(scored)
        ),
        best_epoch=best.epoch,
        best_step=best.step,
        value=value,
        low=low,
        high=high,
        against_last=family,
        sentences=_sentences(scored, at, (metric, value, low, high), family, settings),
        warnings=(*_warnings(scored), *(family.warnings if family else ())),
    )


def _warnings(scored: Sequence[ScoredCheckpoint]) -> Iterator[str]:
    """Those of all, and those of some with their epochs."""
    for warning in dict.fromkeys(w for _, report in scored for w in report.warnings):
        of = [label(checkpoint, scored) for checkpoint, r in scored if warning in r.warnings]
        yield warning if len(of) == len(scored) else f"{', '.join(of)}: {warning}"


def _kept(checkpoint: Checkpoint, report: EvalReport, best: bool) -> KeptCheckpoint:
    return KeptCheckpoint(
        epoch=checkpoint.epoch,
        step=checkpoint.step,
        path=checkpoint.path,
        sha256=checkpoint.sha256,
        metrics=report.metrics,
        best=best,
    )


def own_interval(
    evidence: Evidence, metric: str, value: float, settings: ComparisonSettings
) -> tuple[float | None, float | None]:
    """The interval of one checkpoint's own metric; None where there is no spread to go by."""
    at = column_of(metric, evidence)
    units = int(evidence.carrying()[at])
    drawn = bootstrap_counts(len(evidence.units), settings.replicates, settings.seed)
    sample = resample(evidence, drawn)
    replicates = sample.replicates[:, at]
    replicates = replicates[~np.isnan(replicates)]
    if units < 2 or not replicates.size:
        return None, None
    left_out = sample.left_out[:, at]
    found = interval(value, replicates, left_out, units, settings.confidence, settings.interval)
    return found.low, found.high


def _against_last(
    scored: Sequence[ScoredCheckpoint], evidence: Sequence[Evidence], settings: ComparisonSettings
) -> Family | None:
    """Every other checkpoint against the last: whichever is picked, its interval holds."""
    *others, last = (label(checkpoint, scored) for checkpoint, _ in scored)
    if not others:
        return None
    rest = dict(zip(others, evidence[:-1], strict=True))
    return compare_family(task_of(scored[-1][1]), (last, evidence[-1]), rest, settings)


def label(checkpoint: Checkpoint, scored: Sequence[ScoredCheckpoint]) -> str:
    """``epoch 3``; with its step where the epoch has several."""
    same = sum(other.epoch == checkpoint.epoch for other, _ in scored)
    return f"epoch {checkpoint.epoch}" + (f", step {checkpoint.step}" if same > 1 else "")


def _sentences(
    scored: Sequence[ScoredCheckpoint],
    at: int,
    found: tuple[str, float, float | None, float | None],
    family: Family | None,
    settings: ComparisonSettings,
) -> tuple[str, ...]:
    metric, value, low, high = found
    report = scored[at][1]
    over = f"{text.level(settings.confidence)} over the {report.unit}s"
    bounds = "" if low is None else f" ({text.number(low)} to {text.number(high)}, {over})"
    best = f"Best is {label(scored[at][0], scored)}: {metric} {text.number(value)}{bounds}."
    if family is None:
        return best, "The run keeps no other checkpoint to compare it with."
    if at == len(scored) - 1:
        return best, "It is the last one."
    return best, _verdict(family.members[at], family)


def _verdict(member: FamilyMember, family: Family) -> str:
    """Is the best better than the last one, allowing for having been picked?"""
    others = len(family.members)
    adjusted = f", adjusted for {others} comparisons" if others > 1 else ""
    alike = f"; up to {text.plain(family.margin)} counts as nothing" if family.margin else ""
    return text.sentence(
        f"it {text.said(member.verdict)} the last one ({family.baseline}): "
        f"{text.signed(member.delta)} ({text.level(family.confidence)} interval "
        f"{text.bounds(member.low, member.high)}{adjusted}{alike})"
    )
