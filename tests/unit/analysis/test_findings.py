"""What can be found wrong with a run from its events and its evaluation."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from backend.analysis.findings import FROZEN_CHANGED, find_findings, stopped_trials
from backend.core.events import (
    DataSurveyed,
    Envelope,
    Event,
    FreezeReported,
    MetricsLogged,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import DataSurvey, InputCensus
from backend.core.records import Finding, MetricSpec, StudyRecord, TrialRecord
from tests.support.comparisons import report

STARTED = RunStarted(
    trainer="toy", epochs=3, headline="val/HOTA",
    metrics=(MetricSpec(name="HOTA", direction="maximize"),), data=(), environment={},
)  # fmt: skip
FINISHED = RunFinished(status="finished")


def found(*events: Event, **about: Any) -> list[Finding]:
    envelopes = [Envelope(seq=i, time=float(i), event=event) for i, event in enumerate(events)]
    return list(find_findings(envelopes, **about))


def logged(step: int, **metrics: float) -> MetricsLogged:
    named = {key.replace("_", "/", 1): value for key, value in metrics.items()}
    return MetricsLogged(step=step, epoch=step, metrics=named)


def verified(*violations: str) -> FreezeReported:
    return FreezeReported(
        phase="verified", strategy="backbone", groups=(), frozen_tensors=4, violations=violations
    )


def told(*events: Event, **about: Any) -> list[Finding]:
    """Without what speaks of progress and of evidence that these few events have not."""
    return [f for f in found(*events, **about) if f.rule not in {"B16", "B17", "B19"}]


def severities(findings: Sequence[Finding]) -> dict[str, str]:
    return {finding.rule: finding.severity for finding in findings}


def test_a_sound_run_has_no_findings() -> None:
    sound = (STARTED, logged(1, train_loss=0.5, val_HOTA=0.5), verified(), FINISHED)

    assert found(*sound, report=report(), primary="mAP50-95") == []


def test_frozen_tensors_that_changed_are_an_error() -> None:
    (finding,) = told(STARTED, verified("model.0.weight", "model.1.bias"), FINISHED)

    assert (finding.rule, finding.severity) == (FROZEN_CHANGED, "error")
    assert finding.message == "2 frozen tensors moved, among them model.0.weight"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["train_loss", "train_box_loss", "val_HOTA"])
def test_a_loss_or_metric_that_is_not_finite_is_an_error_once(key: str, value: float) -> None:
    bad = [logged(step, **{key: value}) for step in (2, 3)]

    (finding,) = told(STARTED, logged(1, **{key: 1.0}), *bad, FINISHED)

    assert (finding.rule, finding.severity, finding.step) == ("B06", "error", 2)
    assert str(value) in finding.message


def test_an_infinite_gradient_norm_is_no_error() -> None:
    """In mixed precision the loss scaler meets one now and then, and leaves the step out."""
    events = (STARTED, logged(1, train_grad_norm=math.inf, val_HOTA=0.5), FINISHED)

    assert [f for f in told(*events) if f.severity == "error"] == []


def test_what_went_wrong_after_the_checkpoint_is_no_fault_of_its_weights() -> None:
    events = (STARTED, logged(5, train_loss=math.nan), FINISHED)

    assert severities(told(*events, step=5)) == {"B06": "error"}
    assert severities(told(*events, step=4)) == {}


def test_a_step_that_a_resume_repeated_counts_as_it_came_out_last() -> None:
    again = STARTED.model_copy(update={"resumed_from": 1})
    failed = RunFinished(status="failed", reason="diverged")

    events = (STARTED, logged(2, train_loss=math.nan), failed, again, logged(2, train_loss=0.5))
    assert told(*events, FINISHED) == []


@pytest.mark.parametrize(
    ("last", "rule", "severity", "words"),
    [
        (RunFinished(status="failed", reason="it broke"), "failed", "warning",
         "the run failed in epoch 2 of 3: it broke"),
        (RunFinished(status="failed", interrupted=True), "failed", "warning",
         "the run was interrupted in epoch 2 of 3"),
        (RunFinished(status="stopped", reason="Ctrl-C"), "ended-early", "info",
         "the run was stopped in epoch 2 of 3: Ctrl-C"),
        (RunFinished(status="pruned"), "ended-early", "info",
         "the run was pruned in epoch 2 of 3"),
        (logged(2, train_loss=0.1), "unfinished", "warning",
         "the run has not ended; it is in epoch 2 of 3"),
    ],
)  # fmt: skip
def test_an_end_before_the_plan_is_told(last: Event, rule: str, severity: str, words: str) -> None:
    (finding,) = told(STARTED, logged(2, train_loss=0.5), last)

    assert (finding.rule, finding.severity, finding.message) == (rule, severity, words)


def test_a_model_that_finds_nothing_is_an_error() -> None:
    nothing = report(metrics={"mAP50-95": 0.0, "mAP50": 0.0})

    (finding,) = told(STARTED, FINISHED, report=nothing, primary="mAP50-95")

    assert finding.severity == "error"
    assert "mAP50-95 on the split 'holdout' is 0" in finding.message
    undefined = report(metrics={"mAP50-95": None})
    assert told(STARTED, FINISHED, report=undefined, primary="mAP50-95") == []


def test_a_training_without_a_record_is_told() -> None:
    assert severities(found(report=report())) == {"no-record": "info"}


def test_the_gravest_comes_first() -> None:
    events = (STARTED, logged(1, val_HOTA=math.nan), RunFinished(status="failed"))

    assert [f.severity for f in told(*events)] == ["error", "warning"]


def test_what_would_end_a_run_is_an_error_of_its_checkpoint() -> None:
    census = InputCensus(split="train", what="files", expected=4, found=0, searched="here")
    surveyed = DataSurveyed(survey=DataSurvey(inputs=(census,)))
    first = told(STARTED, surveyed, logged(3, val_HOTA=0.5), FINISHED, step=3)[0]

    assert (first.rule, first.severity) == ("D01", "error")
    assert "4 of 4 files of 'train' are missing" in first.message
    assert first.action.startswith("Correct the folder")


def test_trials_that_rules_ended_are_counted_by_rule() -> None:
    ends = ("B04 Input unused", "", "B04 Input unused", "B06 A value is no number", "")
    trials = tuple(
        TrialRecord(number=i, state="pruned" if end else "complete", value=None, params={},
                    finding=end)
        for i, end in enumerate(ends)
    )  # fmt: skip
    study = StudyRecord(name="s", metric="m", direction="maximize", target=5, trials=trials)

    assert stopped_trials(study) == (
        "2 of 5 trials were stopped: input unused (B04)",
        "1 of 5 trials was stopped: a value is no number (B06)",
    )
    assert stopped_trials(study.model_copy(update={"trials": trials[1:2]})) == ()
