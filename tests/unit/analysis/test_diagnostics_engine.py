"""The engine: guards, confirmation, root causes, and what it says of a run."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from backend.analysis.diagnostics.chain import CHAIN, below, depth
from backend.analysis.diagnostics.confirm import confirmed
from backend.analysis.diagnostics.engine import diagnose, preflight
from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.rules import RULES
from backend.core.diagnosis import Action, DiagnosticFinding, Fact, Severity
from backend.core.errors import StoreError
from backend.core.events import Evaluated, MetricsLogged, Recovered, RunStarted
from tests.support.courses import training
from tests.support.evidence_made import Made, healthy, zeros

STEPS = (25, 50, 75, 100, 125, 150)


def scripted(answers: str, rule: str = "B03", confirm: int = 2) -> Rule:
    """A rule that fires (F), is clear (C) or has not what it needs (U), by evaluation."""

    def judge(evidence: Evidence) -> Verdict:
        said = answers[len(evidence.evaluations) - 1]
        if said == "F":
            return Fired("error", f"at {evidence.step}", Advice("do this"))
        return Clear() if said == "C" else Unknown("too early")

    return made_rule(rule, judge, confirm=confirm)


def made_rule(rule: str, judge: Callable[[Evidence], Verdict], confirm: int = 1) -> Rule:
    return Rule(rule, f"rule {rule}", judge, "n", "c", "t", "s", "e", confirm, below(rule))


def always(rule: str, severity: Severity) -> Rule:
    said = Fired(severity, f"{rule} is wrong.", Advice("mend it"), cause=f"cause of {rule}")
    return made_rule(rule, lambda evidence: said)


def course(answers: str) -> Evidence:
    return healthy(len(answers)).planned(warmup_steps=0).evidence()


@pytest.mark.parametrize(
    ("answers", "step"),
    [
        ("CCCFF", 100),
        ("CFFFF", 50),
        ("FF", 25),
        ("CFFC", 50),  # one clear evaluation does not clear it
        ("CFFCF", 50),
        ("CFFCCFF", 150),
        ("FCFF", 75),
        ("UFF", 50),
        ("FFUFF", 100),
    ],
)
def test_two_evaluations_in_a_row_fire_and_two_clear(answers: str, step: int) -> None:
    verdict = confirmed(scripted(answers), course(answers))
    assert isinstance(verdict, Fired)
    assert verdict.step == step


@pytest.mark.parametrize("answers", ["C", "CC", "CFC", "FC", "CFFCC", "CFCFC", "UC"])
def test_what_never_was_confirmed_or_was_cleared_is_clear(answers: str) -> None:
    assert confirmed(scripted(answers), course(answers)) == Clear()


@pytest.mark.parametrize("answers", ["F", "CF", "CFCF", "CFFCCF", "UF"])
def test_one_evaluation_alone_is_not_clear(answers: str) -> None:
    verdict = confirmed(scripted(answers), course(answers))
    assert isinstance(verdict, Unknown)
    assert f"step {25 * len(answers)} only" in verdict.reason


def test_what_is_certain_at_once_needs_no_second_look() -> None:
    assert isinstance(confirmed(scripted("CF", confirm=1), course("CF")), Fired)


def test_no_rule_of_behaviour_speaks_during_the_warm_up() -> None:
    made = healthy(6).planned(warmup_steps=101)
    rule = scripted("FFFFFF")
    verdict = confirmed(rule, made.first(4).evidence())
    assert isinstance(verdict, Unknown)
    assert "101" in verdict.reason
    later = confirmed(rule, made.evidence())
    assert isinstance(later, Fired)
    assert later.step == 125


def test_missing_evidence_is_never_clear() -> None:
    """Of nothing but a start, no rule can be clear."""
    started = healthy().events()[0]
    for events in ([], [started.model_copy(update={"plan": None})]):
        evidence = evidence_of(events)
        diagnosis = diagnose(evidence)
        concerned = [rule.id for rule in RULES if rule.concerns(evidence)]
        assert (diagnosis.findings, diagnosis.clear, diagnosis.state) == ((), (), "early")
        assert [n.rule for n in diagnosis.not_evaluated] == concerned
        assert all(n.reason for n in diagnosis.not_evaluated)


def test_each_rule_is_in_one_place_of_the_diagnosis() -> None:
    for made in (healthy(), zeros(), healthy().first(3)):
        evidence = made.evidence()
        said = diagnose(evidence)
        told = [f.rule for f in (*said.findings, *said.also_seen)]
        told += [*said.clear, *(n.rule for n in said.not_evaluated)]
        assert sorted(told) == sorted(rule.id for rule in RULES if rule.concerns(evidence))


def test_rules_for_trackers_are_silent_where_hota_is_no_metric() -> None:
    nothing, spotter = evidence_of([]), healthy().evidence()
    trackers = [rule for rule in RULES if rule.id.startswith("T")]
    assert len(trackers) == 8
    assert all(rule.concerns(nothing) and not rule.concerns(spotter) for rule in trackers)


def test_the_catalogue_is_whole_in_order_and_documented() -> None:
    expected = [rule.id for rule in RULES]
    for rule in RULES:
        texts = (rule.title, rule.needs, rule.condition, rule.threshold, rule.source, rule.example)
        assert all(texts), rule.id
        assert set(rule.explains) <= set(expected) - {rule.id}


def test_the_chain_is_that_of_the_specification() -> None:
    order = ["B06", "D01", "B12", "B08", "B03", "B01", "B05", "B16"]
    assert [depth(rule) for rule in order] == sorted({depth(rule) for rule in order})
    assert depth("D01") < depth("B04") < depth("B03")
    assert set(below("B06")) == {rule for level in CHAIN[1:] for rule in level}
    assert not below("B15")


def test_the_root_cause_silences_what_follows() -> None:
    rules = [always(rule, "error") for rule in ("B01", "B03", "D02", "B09", "B05")]
    said = diagnose(healthy().evidence(), rules=rules)
    assert [f.rule for f in said.findings] == ["D02"]
    assert set(said.findings[0].silenced) == {"B01", "B03", "B09", "B05"}
    assert {f.rule for f in said.also_seen} == {"B01", "B03", "B09", "B05"}
    assert said.findings[0].headline == "B03 is wrong. Cause: D02 is wrong."
    assert said.verdict == "not learning: cause of D02 (D02)"


def test_a_warning_silences_nothing() -> None:
    said = diagnose(healthy().evidence(), rules=[always("B01", "error"), always("D02", "warning")])
    assert [f.rule for f in said.findings] == ["B01", "D02"]
    assert said.also_seen == ()


def test_the_gravest_comes_first_and_of_equals_the_most_fundamental() -> None:
    rules = [always("B13", "error"), always("B03", "error"), always("B02", "error"),
             always("D05", "warning"), always("B14", "stop")]  # fmt: skip
    said = diagnose(healthy().evidence(), rules=rules)
    assert [f.rule for f in said.findings] == ["B14", "B02", "B03", "B13", "D05"]
    assert said.worst == "stop"


def test_an_action_is_made_of_the_advice() -> None:
    advice = Advice("lower it", change=(Turn("lr", times=(0.1,)),))
    rule = made_rule("B08", lambda evidence: Fired("error", "too high", advice))

    def act(given: Advice) -> Action:
        return Action(advice=f"{given.text}: {given.change[0].role}")

    said = diagnose(healthy().evidence(), act, [rule])
    assert said.findings[0].action.advice == "Lower it.: lr"
    assert diagnose(healthy().evidence(), rules=[rule]).findings[0].action == Action(
        advice="Lower it."
    )


def test_preflight_judges_the_data_alone() -> None:
    said = preflight(zeros().first(0).evidence())
    assert [f.rule for f in said.findings] == ["D01", "D02"]
    assert [f.rule for f in said.also_seen] == ["D04"]
    assert said.state == "sick"
    assert said.verdict.startswith("not worth training: 160 of 160 skeleton files are missing")
    assert not [n for n in said.not_evaluated if n.rule.startswith("B")]
    sound = preflight(healthy().first(0).evidence())
    assert (sound.state, sound.worst) == ("early", "info")


def test_a_healthy_run_alarms_at_no_prefix_and_converges_at_the_end() -> None:
    made = healthy(24)
    for count in range(1, 25):
        said = diagnose(made.first(count).evidence())
        assert said.worst in {None, "info"}, said.findings
        assert said.state != "converged" or count >= 8
    assert said.state == "converged"
    assert said.verdict.startswith("converged at epoch ")
    assert "val/edit" in said.verdict


def test_a_run_that_still_gains_says_so() -> None:
    said = diagnose(healthy(24).first(9).evidence())
    assert said.state == "improving"
    assert said.verdict.startswith("still improving: best so far at epoch 9 (step 225)")


def test_before_the_first_evaluation_it_is_too_early() -> None:
    assert diagnose(healthy().first(0).evidence()).verdict == "nothing is evaluated yet"
    assert (
        diagnose(healthy().first(2).evidence()).verdict
        == "too early to tell: 2 evaluations so far"
    )


def test_the_brief_is_named_by_its_cause_with_its_numbers() -> None:
    """R1: zeros for missing files. The headline has the losses, the baselines and the cause."""
    said = diagnose(zeros().replace(end="finished").evidence())
    root = said.findings[0]
    assert root.rule == "D01"
    assert said.state == "sick"
    assert "constant 0.411 + 0.404, position 0.399 + 0.363" in root.headline
    assert "Cause: 160 of 160 skeleton files" in root.headline
    assert {"B01", "B02", "B03", "B04"} <= set(root.silenced)
    assert "start no study" in root.action.advice


def test_evaluations_out_of_order_are_refused() -> None:
    events = healthy(6).events()
    swapped = [events[0], events[1], *events[5:8], *events[2:5], *events[8:]]
    with pytest.raises(StoreError, match="not in the order"):
        diagnose(evidence_of(swapped))


def test_a_resumed_run_may_go_back() -> None:
    """A new attempt begins where the old one was saved; what it logs again counts."""
    made = healthy(6)
    events = made.events()
    started = events[0]
    assert isinstance(started, RunStarted)
    again = [started.model_copy(update={"resumed_from": 75}), *made.events()[2:]]
    said = diagnose(evidence_of([*made.first(5).events(), *again]))
    assert said.step == 150
    low = Recovered(attempt=1, step=75, phase="train", kind="host", cause="c", action="a",
                    requested={}, effective={})  # fmt: skip
    assert diagnose(evidence_of([*made.first(5).events(), low, *events[2:]])).step == 150


@pytest.mark.parametrize("made", [healthy(12), zeros(12)], ids=["healthy", "zeros"])
def test_losses_and_baselines_in_another_unit_change_nothing(made: Made) -> None:
    told, scaled = (diagnose(m.evidence()) for m in (made, made.scaled(37.0)))
    assert [(f.rule, f.step, f.severity) for f in told.findings] == [
        (f.rule, f.step, f.severity) for f in scaled.findings
    ]
    assert (told.clear, told.state) == (scaled.clear, scaled.state)


def test_the_beginning_of_a_run_is_what_was_known_then() -> None:
    made = healthy(10)
    whole = made.evidence()
    for count in (1, 4, 10):
        then, cut = whole.until(made.steps[count - 1]), made.first(count).evidence()
        assert diagnose(then) == diagnose(cut)
        assert sorted(then.curves) == sorted(cut.curves)
        assert len(then.curves) == len(cut.curves)
    assert whole.until(10).curve("val/edit") is None
    assert not whole.until(10).evaluations


def test_the_end_is_known_at_the_end_only() -> None:
    evidence = healthy(4).replace(end="finished").evidence()
    assert evidence.finished is not None
    assert evidence.until(100).finished is None
    assert evidence.until(100).last(Evaluated) is None


def test_what_is_no_number_is_left_out_of_curves() -> None:
    made = healthy(4).with_curves(train_loss=[1.0, np.nan, np.inf, 0.5])
    curve = made.evidence().curve("train/loss")
    assert curve is not None
    assert curve.values.tolist() == [1.0, 0.5]
    assert len(made.evidence().all(MetricsLogged)) == 4


def test_findings_say_when_they_began() -> None:
    said = diagnose(zeros(24).evidence())
    steps = {f.rule: f.step for f in said.also_seen}
    assert steps["B01"] == 125  # the first evaluation after a fifth of 600 steps
    assert steps["B03"] == 125


def test_a_finding_is_a_copy_of_what_fired() -> None:
    fact = Fact(name="n", value=1.0, limit=0.0)
    fired = Fired("warning", "h", Advice("a"), "c", "proven", (fact,), (), 7)
    found = diagnose(healthy().evidence(), rules=[made_rule("D05", lambda e: fired)]).findings[0]
    assert found == DiagnosticFinding(
        rule="D05", title="rule D05", severity="warning", headline="H.", cause="c", sure="proven",
        step=7, evidence=(fact,), action=Action(advice="A."),
    )  # fmt: skip
    assert dataclasses.is_dataclass(fired)


def test_a_rate_too_low_explains_what_it_leaves_undone() -> None:
    """It is a warning by itself, and as grave as what it leads to."""
    alone = diagnose(healthy().evidence(), rules=[always("B09", "warning")])
    assert alone.worst == "warning"
    said = diagnose(
        healthy().evidence(),
        rules=[always("B04", "error"), always("B09", "warning"), always("D05", "warning")],
    )
    assert [(f.rule, f.severity) for f in said.findings] == [("B09", "error"), ("D05", "warning")]
    assert said.findings[0].silenced == ("B04",)
    assert said.verdict == "not learning: cause of B09 (B09)"


def test_a_symptom_without_a_deeper_cause_tells_its_own() -> None:
    said = diagnose(healthy().evidence(), rules=[always("B03", "error")])
    assert said.findings[0].headline == "B03 is wrong. Cause: cause of B03."


def test_zeros_that_others_logged_are_told_though_nothing_says_why() -> None:
    made = zeros().replace(survey=None, plan=None, observers=(), extra=())
    said = diagnose(made.evidence())
    assert (said.worst, said.verdict.partition(",")[0]) == (
        None, "val/edit is exactly 0 in all 24 evaluations",
    )  # fmt: skip
    reasons = {rule.rule: rule.reason for rule in said.not_evaluated}
    assert "are 0 at every evaluation, but it is not known" in reasons["B01"]
    assert "exactly 0" not in diagnose(made.first(5).evidence()).verdict


@pytest.mark.parametrize(
    ("evaluations", "said"),
    [
        (6, "ended after 6 evaluations, too few to tell whether it has converged; best at epoch"),
        (8, "ended, neither convergence nor a further gain that counts is shown; best at epoch"),
    ],
)
def test_a_short_course_that_ended_is_not_said_to_gain_nothing(
    evaluations: int, said: str
) -> None:
    values = [0.3 + 0.002 * place for place in range(evaluations)]
    curves = {"val/mAP": dict(enumerate(values, start=1))}
    events = [envelope.event for envelope in training(curves, "val/mAP", 20)]
    ended = diagnose(evidence_of(events), rules=())
    assert ended.verdict.startswith(said)
