"""What is wrong with a run, as far as its events and its evaluation tell."""

import math
from collections.abc import Sequence
from typing import Literal

from backend.analysis.experts import DenseTwin, Judgement, Rule, judge
from backend.core.events import (
    Envelope,
    Event,
    ExpertsObserved,
    FreezeReported,
    MetricsLogged,
    RunFinished,
    RunStarted,
)
from backend.core.records import EvalReport, Finding

FROZEN_CHANGED = "frozen-tensors-changed"
EXPERT_ACTIONS: dict[Rule, str] = {
    "dead": "raise moe.load_balance_weight or use moe.balance: bias, and train again",
    "collapsed": "raise moe.load_balance_weight, or lower new_lr and warm up for longer",
    "undecided": "raise moe.route_sup, or train for longer: as it is, the choice means little",
}


def find_findings(
    events: Sequence[Envelope],
    report: EvalReport | None = None,
    *,
    primary: str = "",
    step: int | None = None,
    dense: DenseTwin | None = None,
) -> tuple[Finding, ...]:
    """What a careful reader would object to; the gravest first.

    ``step`` is the optimizer step of the checkpoint in question: what went wrong after it is
    no fault of its weights. ``report`` is an evaluation of it, ``primary`` its leading metric;
    ``dense`` is what experts are held against.
    """
    told = [envelope.event for envelope in events]
    found = [
        *_frozen_changed(told),
        *_not_finite(told, step),
        *_ended_early(told),
        *_experts(told, step),
        *_not_better_than_dense(dense),
        *(_nothing_found(report, primary) if report else ()),
    ]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def _frozen_changed(events: Sequence[Event]) -> list[Finding]:
    reports = [e for e in events if isinstance(e, FreezeReported) and e.phase == "verified"]
    if not reports or not reports[-1].violations:
        return []
    names = reports[-1].violations
    return [
        Finding(
            rule=FROZEN_CHANGED,
            severity="error",
            message=f"{len(names)} frozen tensors changed in training, among them {names[0]}",
            action="keep them out of the optimizer, their normalisation layers in eval mode, and "
            "train again",
        )
    ]


def _not_finite(events: Sequence[Event], step: int | None) -> list[Finding]:
    """NaN or infinity in a loss or a metric; of several values at one step the last counts."""
    judged = {m.name for e in events if isinstance(e, RunStarted) for m in e.metrics}
    bad: dict[tuple[str, int], float] = {}
    for event in events:
        if isinstance(event, MetricsLogged):
            for key, value in event.metrics.items():
                bad.pop((key, event.step), None)
                if not math.isfinite(value):
                    bad[key, event.step] = value
    first: dict[str, int] = {}
    for key, at in bad:
        first[key] = min(at, first.get(key, at))
    return [_finding_of(key, at, bad[key, at], judged, step) for key, at in first.items()]


def _finding_of(key: str, at: int, value: float, judged: set[str], step: int | None) -> Finding:
    """An error in what the training aims at, up to the checkpoint; else a warning.

    The norm of a gradient, say, is infinite now and then in mixed precision, to no harm.
    """
    name = key.partition("/")[2]
    matters = "loss" in key or name in judged
    earlier = step is None or at <= step
    return Finding(
        rule="not-finite",
        severity="error" if matters and earlier else "warning",
        message=f"{key} is {value} at step {at}",
        step=at,
        action="lower the learning rate or clip gradients, and train again from before that step",
    )


def _ended_early(events: Sequence[Event]) -> list[Finding]:
    """A run that did not reach its planned end; a resume takes an earlier end back."""
    if not events:
        unknown = "there is no record of the training, so only the evaluation was looked at"
        return [_ending("no-record", "info", unknown)]
    last = events[-1]
    if isinstance(last, RunFinished) and last.status == "finished":
        return []
    planned = [e.epochs for e in events if isinstance(e, RunStarted)]
    reached = max((e.epoch for e in events if isinstance(e, MetricsLogged)), default=0)
    where = f"in epoch {reached} of {planned[-1]}" if planned else "before its first epoch"
    if not isinstance(last, RunFinished):
        return [_ending("unfinished", "warning", f"the run has not ended; it is {where}")]
    why = f"{where}: {last.reason}" if last.reason else where
    if last.status != "failed":
        return [_ending("ended-early", "info", f"the run was {last.status} {why}")]
    verb = "was interrupted" if last.interrupted else "failed"
    return [_ending("failed", "warning", f"the run {verb} {why}")]


def _ending(rule: str, severity: Literal["info", "warning"], message: str) -> Finding:
    action = "nothing, if that was meant" if severity == "info" else "let it come to its end"
    return Finding(rule=rule, severity=severity, message=message, action=action)


def _nothing_found(report: EvalReport, primary: str) -> list[Finding]:
    """A model that predicts nothing, or nothing right, where there is something to find."""
    if report.metrics.get(primary) != 0:
        return []
    return [
        Finding(
            rule="nothing-found",
            severity="error",
            message=f"{primary} on the split '{report.split}' is 0: nothing that is there was "
            "found",
            action="look at the predictions, the classes' order and the score floor",
        )
    ]


def _experts(events: Sequence[Event], step: int | None) -> list[Finding]:
    """What is wrong with the experts of the checkpoint; without a step, of those seen last."""
    seen = [
        event.report
        for event in events
        if isinstance(event, ExpertsObserved) and (step is None or event.report.step <= step)
    ]
    if not seen:
        return []
    if step is not None:
        seen.sort(key=lambda report: report.step)  # the final one looks back
    found = [_expert_finding(judgement, seen[-1].step) for judgement in judge(seen[-1])]
    return [finding for finding in found if finding is not None]


def _expert_finding(judgement: Judgement, step: int) -> Finding | None:
    if judgement.rule not in EXPERT_ACTIONS:
        return None
    return Finding(
        rule=f"experts-{judgement.rule}",
        severity="warning",
        message=judgement.said,
        step=step,
        action=EXPERT_ACTIONS[judgement.rule],
    )


def _not_better_than_dense(dense: DenseTwin | None) -> list[Finding]:
    """Experts that cost more trouble than they are worth, as far as one run each can tell."""
    if dense is None or dense.better is not False:
        return []
    action = "use the dense model (moe.experts: dense), or show that the experts win elsewhere"
    return [Finding(rule="experts-not-better", severity="info", message=dense.said, action=action)]
