"""Rules beside a training: when they look, what they tell, how they end it, and what breaks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from backend.analysis.diagnostics.engine import words_only
from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.judging import Told, guarded, judged
from backend.analysis.diagnostics.live import FatalFindingError, Limit, Live
from backend.analysis.diagnostics.rule import Unknown
from backend.analysis.diagnostics.rules import RULES
from backend.core.diagnosis import Diagnosis, DiagnosticFinding, Severity
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Diagnosed,
    Event,
    InputProbed,
    MetricsLogged,
    Noted,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import DataSurvey, InputCensus
from backend.core.records import Checkpoint, MetricSpec

HEADLINE = "val/HOTA"
STARTED = RunStarted(
    trainer="toy", epochs=3, headline=HEADLINE,
    metrics=(MetricSpec(name="HOTA", direction="maximize"),), data=(), environment={},
)  # fmt: skip
FINISHED = RunFinished(status="finished")
PROBED = InputProbed(step=1, split="val", samples=60, losses={"loss": 1.0}, permuted={"loss": 1.0})
EMPTY = DataSurveyed(
    survey=DataSurvey(
        inputs=(InputCensus(split="train", what="files", expected=4, found=0, searched="here"),)
    )
)
Script = Callable[[Sequence[Event]], Diagnosis]


class Asked:
    """A StopSignal with an answer."""

    def __init__(self) -> None:
        self.answer: str | None = None

    def reason(self) -> str | None:
        return self.answer


class Scene:
    """A Live over a list; ``script`` makes a diagnosis of the events seen."""

    def __init__(
        self, script: Script, limit: Limit = "stop", earlier: Sequence[Event] = ()
    ) -> None:
        self.told: list[Event] = []
        self.seen: list[int] = []
        self.stop = Asked()
        self._script = script
        self.live = Live(self.told.append, self.stop, self._judge, limit, earlier)

    def _judge(self, events: Sequence[Event], broke: Told) -> Diagnosis:
        self.seen.append(len(events))
        return self._script(events)

    def say(self, *events: Event) -> None:
        for event in events:
            self.live(event)

    @property
    def diagnoses(self) -> list[Diagnosis]:
        return [event.diagnosis for event in self.told if isinstance(event, Diagnosed)]


def made(rule: str = "", severity: Severity = "error", headline: str = "so it is") -> Diagnosis:
    found = DiagnosticFinding(rule=rule, title=rule, severity=severity, headline=headline)
    return Diagnosis(step=1, state="sick" if rule else "early", verdict="",
                     findings=(found,) if rule else ())  # fmt: skip


def validated(step: int) -> MetricsLogged:
    return MetricsLogged(step=step, epoch=step, metrics={HEADLINE: 0.5})


def trained(step: int) -> MetricsLogged:
    return MetricsLogged(step=step, epoch=step, metrics={"train/loss": 0.5})


def saved(step: int) -> CheckpointSaved:
    return CheckpointSaved(
        checkpoint=Checkpoint(path="a", sha256="b", step=step, epoch=step), best=True
    )


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def test_a_validation_is_judged_with_the_evidence_that_follows_it() -> None:
    scene = Scene(lambda events: made())
    scene.say(STARTED, trained(1), validated(1), PROBED)
    assert scene.seen == [], "more of it may come"
    scene.say(trained(2))
    assert scene.seen == [4], "with the probe, without the next step"
    assert types(scene.told)[-2:] == ["Diagnosed", "MetricsLogged"]
    scene.say(trained(3))
    assert scene.seen == [4], "nothing was validated since"


@pytest.mark.parametrize("last", [saved(1), None])
def test_before_the_checkpoint_or_the_question_it_is_judged_at_the_latest(
    last: Event | None,
) -> None:
    scene = Scene(lambda events: made())
    scene.say(STARTED, validated(1), PROBED)
    if last is None:
        assert scene.live.reason() is None
    else:
        scene.say(last)
    assert scene.seen == [3]


def test_a_diagnosis_is_told_when_it_differs() -> None:
    scripted = [made(), made(), made("B01"), made("B01", headline="at 0.3"),
                made("B01", severity="warning"), made("B01", severity="warning")]  # fmt: skip
    script = iter(scripted)
    scene = Scene(lambda events: next(script))
    scene.say(STARTED)
    for step in range(1, 6):
        scene.say(validated(step), saved(step))
    assert [d.findings and d.findings[0].severity for d in scene.diagnoses] == [
        (), "error", "warning",
    ]  # fmt: skip
    scene.live.conclude(FINISHED)
    assert len(scene.diagnoses) == 3, "the end brought nothing new"


def test_of_very_many_validations_each_is_judged() -> None:
    scene = Scene(lambda events: made())
    scene.say(STARTED)
    for step in range(1, 301):
        scene.say(validated(step))
        scene.live.reason()
    assert scene.seen == list(range(2, 302))
    scene.live.conclude(FINISHED)
    assert scene.seen[-1] == 302, "and the end"


def test_the_end_is_judged_as_an_end_and_its_numbers_are_told() -> None:
    scene = Scene(
        lambda events: made("B01", headline=f"{len(events)} events, {events[-1].type} last")
    )
    scene.say(STARTED, validated(1), saved(1))
    assert scene.live.conclude(FINISHED) == FINISHED
    assert scene.diagnoses[-1].findings[0].headline == "4 events, RunFinished last"


def test_dead_data_end_the_run_before_the_first_step() -> None:
    scene = Scene(lambda events: made("D01", "stop", "no files"))
    with pytest.raises(FatalFindingError, match=r"^D01: no files$"):
        scene.say(STARTED, EMPTY)
    assert types(scene.told) == ["RunStarted", "DataSurveyed", "Diagnosed"]
    ended = scene.live.conclude(RunFinished(status="stopped", reason="D01: no files"))
    assert ended.finding == "D01"


@pytest.mark.parametrize(
    ("severity", "limit", "ends"),
    [("stop", "stop", True), ("stop", "error", True), ("stop", "never", False),
     ("error", "stop", False), ("error", "error", True), ("warning", "error", False)],
)  # fmt: skip
def test_the_limit_decides_what_ends_a_run(severity: Severity, limit: Limit, ends: bool) -> None:
    scene = Scene(lambda events: made("B04", severity, "input unused"), limit)
    scene.say(STARTED, validated(1))
    assert scene.live.reason() == ("B04: input unused" if ends else None)
    ended = scene.live.conclude(RunFinished(status="stopped", reason="B04: input unused"))
    assert ended.finding == ("B04" if ends else "")


def test_somebody_elses_reason_comes_first_and_is_not_the_findings() -> None:
    scene = Scene(lambda events: made("B04", "stop", "input unused"))
    scene.stop.answer = "Ctrl-C"
    scene.say(STARTED, validated(1))
    assert scene.live.reason() == "Ctrl-C"
    assert scene.live.conclude(RunFinished(status="stopped", reason="Ctrl-C")).finding == ""


def test_a_training_that_failed_of_what_a_rule_calls_fatal_says_which() -> None:
    scene = Scene(lambda events: made("B06", "stop", "the loss is nan"))
    scene.say(STARTED, trained(1))
    failed = RunFinished(status="failed", reason="the loss is nan by step 1")
    assert scene.live.conclude(failed) == failed.model_copy(update={"finding": "B06"})


def test_a_finding_that_went_away_ends_nothing() -> None:
    script = iter([made("B04", "stop"), made(), made()])
    scene = Scene(lambda events: next(script))
    scene.say(STARTED, validated(1), trained(2), validated(2))
    assert scene.live.reason() is None
    assert scene.live.conclude(FINISHED).finding == ""


def test_a_run_that_was_refused_is_not_judged() -> None:
    scene = Scene(lambda events: made("B06", "stop"))
    refused = RunFinished(status="failed", reason="no such file", refused=True)
    assert scene.live.conclude(refused) == refused
    assert scene.told == []


def test_after_a_resume_the_earlier_events_count_and_earlier_diagnoses_do_not() -> None:
    earlier: list[Event] = [
        STARTED,
        validated(1),
        Diagnosed(diagnosis=made()),
        RunFinished(status="failed"),
    ]
    scene = Scene(lambda events: made(), earlier=earlier)
    scene.say(STARTED, validated(2), saved(2))
    assert scene.seen == [5]


def test_what_breaks_is_told_once_and_the_training_goes_on() -> None:
    def broken(events: Sequence[Event]) -> Diagnosis:
        raise ZeroDivisionError(f"{len(events)} is too many")

    scene = Scene(broken)
    scene.say(STARTED, validated(1), trained(2), validated(2), saved(2))
    assert scene.live.reason() is None
    assert scene.live.conclude(FINISHED) == FINISHED
    notes = [event for event in scene.told if isinstance(event, Noted)]
    assert [(n.level, n.message) for n in notes] == [
        ("warning", "the diagnostics broke (ZeroDivisionError: 2 is too many)")
    ]


def test_a_rule_that_breaks_is_named_and_the_others_speak() -> None:
    def broken(evidence: object) -> Unknown:
        raise ValueError("a bug")

    rules = [replace(rule, judge=broken) if rule.id == "D01" else rule for rule in RULES]
    said: list[str] = []
    verdicts = {rule.id: rule.judge(evidence_of([STARTED, EMPTY]))
                for rule in guarded(rules, said.append)}  # fmt: skip
    assert said == ["rule D01 broke (ValueError: a bug) and is left out"]
    assert verdicts["D01"] == Unknown("the rule itself broke (ValueError: a bug)")
    assert len(verdicts) == len(RULES)


def test_the_catalogue_itself_judges_live_as_it_does_later() -> None:
    def judge(events: Sequence[Event], broke: Told) -> Diagnosis:
        return judged(evidence_of(events), words_only, broke=broke)

    told: list[Event] = []
    live = Live(told.append, Asked(), judge)
    live(STARTED)
    with pytest.raises(FatalFindingError, match=r"^D01: 4 of 4 files of 'train' are missing"):
        live(EMPTY)
    ended = live.conclude(RunFinished(status="stopped", reason="D01: 4 of 4"))
    plain = [event for event in told if not isinstance(event, Diagnosed)]
    newest = next(event for event in reversed(told) if isinstance(event, Diagnosed))
    assert newest.diagnosis == judged(evidence_of([*plain, ended]), words_only)
    assert [finding.rule for finding in newest.diagnosis.findings] == ["D01"]


def test_data_rules_alone_leave_the_others_unspoken_of() -> None:
    diagnosis = judged(evidence_of([STARTED, EMPTY]), words_only, data_only=True)
    named = {f.rule for f in diagnosis.findings} | {n.rule for n in diagnosis.not_evaluated}
    assert {rule[0] for rule in named | set(diagnosis.clear)} == {"D"}
