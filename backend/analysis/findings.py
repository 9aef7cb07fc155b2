"""What is wrong with a run: by the catalogue, by how it ended, and by what it was scored."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from backend.analysis import text
from backend.analysis.diagnostics.engine import words_only
from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.judging import judged
from backend.analysis.experts import DenseTwin
from backend.core.diagnosis import Diagnosis
from backend.core.events import Envelope, Event, MetricsLogged, RunFinished, RunStarted
from backend.core.records import EvalReport, Finding, StudyRecord

FROZEN_CHANGED = "B13"


def find_findings(
    events: Sequence[Envelope],
    report: EvalReport | None = None,
    *,
    primary: str = "",
    step: int | None = None,
    config: Mapping[str, str] | None = None,
) -> tuple[Finding, ...]:
    """What a careful reader of a checkpoint would object to; the gravest first.

    ``step`` is its optimizer step: what went wrong after it is no fault of its weights.
    ``report`` is an evaluation of it, ``primary`` its leading metric; ``config`` the run's.
    """
    evidence = evidence_of([envelope.event for envelope in events], config)
    diagnosis = judged(evidence if step is None else evidence.until(step), words_only)
    found = [*of_diagnosis(diagnosis), *other_findings(events, report, primary=primary)]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def of_diagnosis(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """The catalogue's findings; what would have ended the run is an error."""
    return tuple(
        Finding(
            rule=found.rule,
            severity="error" if found.severity == "stop" else found.severity,
            message=found.headline.rstrip("."),
            step=found.step,
            action=found.action.advice.rstrip("."),
        )
        for found in diagnosis.findings
    )


def other_findings(
    events: Sequence[Envelope],
    report: EvalReport | None = None,
    *,
    primary: str = "",
    dense: DenseTwin | None = None,
) -> tuple[Finding, ...]:
    """What no rule looks at: the run's end, its evaluation, and ``dense``, what its experts are
    held against."""
    told = [envelope.event for envelope in events]
    return (
        *_ended_early(told),
        *_not_better_than_dense(dense),
        *(_nothing_found(report, primary) if report else ()),
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


def _not_better_than_dense(dense: DenseTwin | None) -> list[Finding]:
    """Experts that cost more trouble than they are worth, as far as one run each can tell."""
    if dense is None or dense.better is not False:
        return []
    action = "use the dense model (moe.experts: dense), or show that the experts win elsewhere"
    return [Finding(rule="experts-not-better", severity="info", message=dense.said, action=action)]


def stopped_trials(study: StudyRecord) -> tuple[str, ...]:
    """How many trials each rule ended, as sentences without their full stop."""
    ended = Counter(trial.finding for trial in study.trials if trial.finding)
    count = text.plural(len(study.trials), "trial")
    return tuple(
        f"{number} of {count} {'was' if number == 1 else 'were'} stopped: {rule_last(finding)}"
        for finding, number in ended.most_common()
    )


def rule_last(finding: str) -> str:
    """``B04 Input unused`` as ``input unused (B04)``."""
    rule, _, title = finding.partition(" ")
    return f"{title[0].lower()}{title[1:]} ({rule})" if title else rule
