from pathlib import Path
from typing import Any

import pytest

from backend.analysis.policy import FirstVersion, Guard, Policy
from backend.analysis.promotion import FAIL, PASS, Exposure, Facts, Ruling, decide
from backend.analysis.settings import ComparisonSettings
from backend.config.compose import load_yaml, validate
from backend.core.comparisons import Comparison
from backend.core.errors import ConfigError
from backend.core.events import FreezeReported
from backend.core.records import EvalReport, Finding
from backend.scoring.tasks import TASKS
from tests.support.comparisons import comparison, data, delta, report
from tests.support.detections import contender

POLICIES = Path(__file__).parents[3] / "configs" / "policies"


OLD, NEW = contender("old").checkpoint, contender("new").checkpoint


SEEN = Exposure("run 7", {"e" * 64: "the 'val' split of run 7"})


def ruling(policy: Policy, made: Comparison | None = None, **known: Any) -> Ruling:
    facts = Facts(**{"exposure": SEEN, "findings": (), **known})
    return decide(policy, made or comparison(), candidate=NEW, champion=OLD, facts=facts)


def first(policy: Policy, measured: EvalReport | None) -> Ruling:
    facts = Facts(report=measured, primary="mAP50-95", exposure=SEEN, findings=())
    return decide(policy, None, candidate=NEW, facts=facts)


def rules(**changes: Any) -> Policy:
    """A policy without guards."""
    return Policy(guards=(), **changes)


def failures(found: Ruling) -> list[str]:
    return [reason for reason in found.reasons if reason.startswith(FAIL)]


def test_a_better_candidate_is_promoted_and_every_reason_is_given() -> None:
    policy = Policy(
        min_delta=0.02,
        guards=(Guard(metric="mAP50", max_drop=0.02),),
    )
    frozen = FreezeReported(
        phase="verified", strategy="backbone", groups=(), frozen_tensors=40, changed_tensors=9
    )

    assert ruling(policy, freeze=frozen) == Ruling(
        True,
        (
            "pass: scored on the split 'holdout', as required.",
            "pass: scored on 80 images; the policy requires at least 20.",
            "pass: the split 'holdout' is not among what run 7 used in training or validation.",
            "pass: mAP50-95 goes from 0.400 to 0.450, +0.050 (95 % interval +0.030 to +0.070): "
            "better at a margin of 0.01; the policy accepts better.",
            "pass: the gain in mAP50-95 is +0.050; the policy requires at least +0.020.",
            "pass: on the target data, mAP50 goes from 0.400 to 0.450, +0.050 (95 % interval "
            "+0.030 to +0.070); the measured difference must not be worse by more than 0.02.",
            "pass: no finding about the candidate is an error.",
            "pass: all 40 frozen tensors are equal to the bit (strategy backbone).",
        ),
    )


@pytest.mark.parametrize(
    ("change", "spread", "word"),
    [(0.05, 0.06, "undecided"), (-0.05, 0.02, "worse"), (0.002, 0.004, "equivalent")],
)
def test_what_is_not_better_is_refused_with_its_numbers(
    change: float, spread: float, word: str
) -> None:
    found = ruling(rules(), comparison(data(delta(change=change, spread=spread))))

    assert not found.promote
    assert f"{word} at a margin of 0.01; the policy accepts better." in failures(found)[0]


def test_a_policy_may_accept_equivalent_ones() -> None:
    same = comparison(data(delta(change=0.0, spread=0.005)))

    assert ruling(rules(accept=("better", "equivalent")), same).promote
    assert not ruling(rules(), same).promote


def test_the_verdict_is_taken_at_the_policys_margin_not_the_comparisons() -> None:
    """Whoever compares with a margin of 0 cannot call a tiny gain better."""
    tiny = comparison(data(delta(change=0.003, spread=0.001)), margin=0.0)

    careless, equal = failures(ruling(rules(), tiny))
    assert "made with a margin of 0; the policy requires 0.01" in careless
    assert "equivalent at a margin of 0.01" in equal


def test_a_margin_of_the_metrics_own_may_be_smaller_than_the_usual_one() -> None:
    """A policy's own comparison must not fail its own check."""
    policy = rules(margins={"mAP50-95": 0.002})
    own = comparison(data(delta(change=0.006, spread=0.001, margin=0.002)), margin=0.002)

    assert ruling(policy, own).promote


def test_a_count_needs_no_margin_and_a_percentage_a_hundred_times_that_of_a_share() -> None:
    fewer = delta("IDSW", change=-9.0, spread=2.0, direction="minimize", margin=0.0)
    more = delta("edit", change=5.0, spread=2.0, margin=0.01)
    tracked, spotted = data(fewer, task="tracking"), data(more, task="spotting")

    assert ruling(rules(primary="IDSW"), comparison(tracked, primary="IDSW")).promote
    (refused,) = failures(ruling(rules(primary="edit"), comparison(spotted, primary="edit")))
    assert "made with a margin of 0.01; the policy requires 1." in refused


def test_a_gain_that_the_permutation_test_does_not_confirm_is_refused() -> None:
    doubtful = comparison(data(delta(p_value=0.2)))

    assert failures(ruling(rules(), doubtful)) == [
        "fail: a permutation test does not confirm that mAP50-95 is better (p 0.200)."
    ]
    assert ruling(rules(), comparison(data(delta(p_value=0.02)))).promote


@pytest.mark.parametrize(
    ("policy", "changes", "sentence"),
    [
        (rules(min_delta=0.06), {}, "the gain in mAP50-95 is +0.050; the policy requires at lea"),
        (rules(confidence=0.99), {}, "intervals are at 95 %; the policy requires 99 %"),
        (rules(), {"replicates": 200}, "200 replicates; the policy requires 1000"),
        (rules(primary="AR100"), {}, "AR100 was not compared on the target data"),
        (rules(), {"target": data(split="val")}, "'val'; the policy requires 'holdout'"),
        (rules(), {"target": data(units=19)}, "scored on 19 images; the policy requires at leas"),
        (
            rules(),
            {"target": data(delta(delta=None, candidate=None, low=None, high=None, wins=None))},
            "mAP50-95 was not compared",
        ),
        (rules(), {"baseline": contender("new")}, "same weight file as what it was compared"),
        (rules(), {"baseline": contender("third")}, "not about this champion: it has sha256"),
        (rules(), {"candidate": contender("third")}, "not about this candidate: it has sha256"),
        (rules(require_frozen_intact="always"), {}, "there is no proof that the frozen layers"),
    ],
)
def test_each_rule_refuses_with_a_sentence(
    policy: Policy, changes: dict[str, Any], sentence: str
) -> None:
    found = ruling(policy, comparison(**changes))

    assert not found.promote
    assert any(sentence in reason for reason in failures(found))


def test_too_few_sequences_lead_to_the_policy_for_trackers() -> None:
    few = comparison(data(units=8).model_copy(update={"unit": "sequence"}))
    least = "fail: scored on 8 sequences; the policy requires at least"
    named = " (for trackers there is --policy configs/policies/tracking.yaml)"

    assert f"{least} 20{named}." in ruling(Policy(), few).reasons
    assert f"{least} 30." in ruling(Policy(min_units=30), few).reasons
    assert not any(named in reason for reason in ruling(Policy(), comparison()).reasons)
    assert (POLICIES / "tracking.yaml").is_file()


def test_any_split_will_do_if_the_policy_says_so() -> None:
    assert ruling(rules(require_split=None), comparison(data(split="val"))).promote


def test_all_failures_are_told_at_once() -> None:
    found = ruling(rules(), comparison(data(delta(change=-0.1), split="val", units=3)))

    assert len(failures(found)) == 3


def test_changed_frozen_tensors_are_refused() -> None:
    broken = FreezeReported(
        phase="verified", strategy="backbone", groups=(), frozen_tensors=40,
        violations=("model.0.conv.weight", "model.1.bn.bias"),
    )  # fmt: skip

    found = ruling(rules(), freeze=broken)

    assert failures(found) == [
        FAIL + "2 frozen tensors changed in training, among them model.0.conv.weight."
    ]
    assert ruling(rules(require_frozen_intact="never"), freeze=broken).promote


def test_where_nothing_was_frozen_that_is_told() -> None:
    free = FreezeReported(phase="verified", strategy="full", groups=(), frozen_tensors=0)

    found = ruling(rules(require_frozen_intact="always"), freeze=free)

    assert found.promote
    assert PASS + "nothing was to stay frozen (strategy full)." in found.reasons


def test_what_was_frozen_up_to_an_epoch_is_told_as_that() -> None:
    thawed = FreezeReported(
        phase="verified", strategy="backbone", groups=(), frozen_tensors=40, until=10
    )

    found = ruling(rules(require_frozen_intact="always"), freeze=thawed)

    assert found.promote
    assert (
        PASS + "all 40 frozen tensors are equal to the bit (strategy backbone, until they were "
        "thawed after epoch 10)."
    ) in found.reasons


def test_what_was_only_declared_frozen_is_no_proof() -> None:
    declared = FreezeReported(phase="declared", strategy="full", groups=(), frozen_tensors=0)

    assert not ruling(rules(require_frozen_intact="always"), freeze=declared).promote
    assert ruling(rules(), freeze=declared).promote


def test_a_point_guard_looks_at_the_measured_drop() -> None:
    guarded = Policy(guards=(Guard(metric="mAP50", max_drop=0.02),))

    for drop, allowed in ((0.019, True), (0.021, False)):
        made = comparison(data(delta(), delta("mAP50", change=-drop)))
        assert ruling(guarded, made).promote is allowed


def test_an_interval_guard_must_exclude_the_drop() -> None:
    guarded = Policy(guards=(Guard(metric="mAP50", max_drop=0.02, use="interval"),))

    for spread, allowed in ((0.01, True), (0.05, False)):
        made = comparison(data(delta(), delta("mAP50", change=0.0, spread=spread)))
        assert ruling(guarded, made).promote is allowed
    without = comparison(data(delta(), delta("mAP50", low=None, high=None, wins=None)))
    assert not ruling(guarded, without).promote


def test_guards_know_where_less_is_better() -> None:
    guarded = Policy(guards=(Guard(metric="loss", max_drop=0.02, use="interval"),))

    for change, allowed in ((-0.05, True), (0.05, False)):
        loss = delta("loss", change=change, spread=0.01, direction="minimize")
        assert ruling(guarded, comparison(data(delta(), loss))).promote is allowed


def test_forgetting_is_guarded_on_the_source_data() -> None:
    guarded = Policy(guards=(Guard(metric="mAP50-95", data="source", max_drop=0.05),))
    source = data(delta(change=-0.2), role="source")

    found = ruling(guarded, comparison(source=source))

    assert "on the source data, mAP50-95 goes from 0.400 to 0.200, −0.200" in failures(found)[0]


def test_a_guard_without_its_data_refuses_or_is_passed_over_as_it_says() -> None:
    guard = Guard(metric="mAP50-95", data="source", max_drop=0.05)
    skip = guard.model_copy(update={"if_absent": "skip"})

    assert "not compared on the source data; the guard refuses" in failures(
        ruling(Policy(guards=(guard,)))
    )[0]  # fmt: skip
    found = ruling(Policy(guards=(skip,)))
    assert found.promote
    assert PASS + "mAP50-95 was not compared on the source data; the guard passes over it." in (
        found.reasons
    )


def test_every_class_can_be_guarded() -> None:
    classes = (
        delta("cat", change=0.2),
        delta("dog", change=-0.1),
        delta("unseen", delta=None, baseline=None, candidate=None, low=None, high=None, wins=None),
    )
    made = comparison(data().model_copy(update={"per_class": classes, "class_metric": "mAP50-95"}))

    for max_drop, allowed in ((0.05, False), (0.15, True)):
        guard = Guard(metric="mAP50-95", per_class=True, max_drop=max_drop)
        found = ruling(Policy(guards=(guard,)), made)
        assert found.promote is allowed
        assert any(("class dog" if not allowed else "all 2 classes") in r for r in found.reasons)
    wrong = Guard(metric="mAP50", per_class=True, max_drop=0.05)
    assert (
        "classes are compared by mAP50-95, not by mAP50; the guard refuses"
        in (failures(ruling(Policy(guards=(wrong,)), made))[0])
    )


def test_classes_are_guarded_by_whatever_metric_they_were_compared() -> None:
    """Of a tracker, say; which way is worse comes with each difference."""
    classes = (
        delta("car", change=0.3, spread=0.01, direction="minimize"),
        delta("bus", change=0.02, spread=0.1, direction="minimize"),
    )
    made = comparison(data().model_copy(update={"per_class": classes, "class_metric": "IDSW"}))

    found = ruling(Policy(guards=(Guard(per_class=True, max_drop=0.05),)), made)

    assert len(failures(found)) == 1
    assert "on the target data, IDSW of class car goes from 0.400 to 0.700" in failures(found)[0]


def test_without_classes_a_guard_of_them_refuses_or_passes_over_it() -> None:
    guard = Guard(per_class=True)
    skip = guard.model_copy(update={"if_absent": "skip"})

    assert (
        "on the target data, no classes are compared; the guard refuses"
        in (failures(ruling(Policy(guards=(guard,))))[0])
    )
    assert ruling(Policy(guards=(skip,))).promote


def test_a_guard_may_refuse_only_what_is_shown_to_be_worse() -> None:
    guarded = Policy(guards=(Guard(metric="mAP50", max_drop=0.02, use="verdict"),))

    for change, spread, allowed in ((-0.05, 0.1, True), (-0.05, 0.02, False), (-0.01, 0.01, True)):
        made = comparison(data(delta(), delta("mAP50", change=change, spread=spread)))
        found = ruling(guarded, made)
        assert found.promote is allowed
        assert any("shown to be worse at a margin of 0.02" in r for r in found.reasons)


def test_a_guard_without_a_limit_takes_the_margin_of_its_metric() -> None:
    """Given in the policy, else as the comparison scaled it to the metric's unit."""
    edit = delta("edit", change=-0.8, spread=0.1, margin=1.0)
    made = comparison(data(delta(), edit))

    assert ruling(Policy(guards=(Guard(metric="edit"),)), made).promote
    tight = Policy(guards=(Guard(metric="edit"),), margins={"edit": 0.5})
    assert "worse by more than 0.5" in failures(ruling(tight, made))[0]


def test_a_guard_without_a_metric_guards_the_one_that_decides() -> None:
    guarded = Policy(guards=(Guard(data="source", max_drop=0.05),))
    forgotten = comparison(source=data(delta(change=-0.2), role="source"))

    assert "on the source data, mAP50-95 goes" in failures(ruling(guarded, forgotten))[0]


def test_a_guard_on_a_metric_that_was_not_compared_refuses() -> None:
    found = ruling(Policy(guards=(Guard(metric="f1", max_drop=0.1),)))

    assert failures(found) == [FAIL + "f1 was not compared on the target data; the guard refuses."]


@pytest.mark.parametrize("rule", ["always", "if-known"])
def test_data_that_the_search_has_used_are_refused(rule: Any) -> None:
    seen = Exposure("the 3 runs", {"d" * 64: "the 'val' split of run 7"})

    found = ruling(rules(require_unseen=rule), exposure=seen)

    assert failures(found) == [
        FAIL + "the split 'holdout' that the gate scores by (sha256 dddddddddddd) is the 'val' "
        "split of run 7; judge on data that the search has not used."
    ]
    assert ruling(rules(require_unseen="never"), exposure=seen).promote


@pytest.mark.parametrize(
    ("known", "digest", "words"),
    [
        (Exposure("run 7", {}, ("run 7 does not tell",)), "d" * 64, "run 7 does not tell;"),
        (None, "d" * 64, "where the candidate comes from is not known"),
        (SEEN, "", "the evaluation has no digest of its data"),
        (Exposure("", {}, tuple("abcde")), "d" * 64, "a, b, c and 2 more;"),
    ],
)
def test_what_cannot_be_established_is_told_and_refused_if_asked(
    known: Exposure | None, digest: str, words: str
) -> None:
    made = comparison(data(data_digest=digest))
    always = ruling(rules(require_unseen="always"), made, exposure=known)

    assert words in failures(always)[0]
    lenient = ruling(rules(), made, exposure=known)
    assert lenient.promote
    assert any(words in reason for reason in lenient.reasons)


def test_a_known_use_counts_also_where_other_runs_are_unknown() -> None:
    seen = Exposure("2 runs", {"d" * 64: "the 'val' split of run 7"}, ("run 8 does not tell",))

    assert not ruling(rules(), exposure=seen).promote


def test_a_first_version_must_be_judged_on_unseen_data_too() -> None:
    used = report(data_digest="e" * 64)

    assert "is the 'val' split of run 7" in failures(first(rules(), used))[0]


def test_an_open_error_is_refused_and_the_rest_is_told() -> None:
    error = Finding(rule="not-finite", severity="error", message="train/loss is nan at step 3",
                    action="train again")  # fmt: skip
    warning = Finding(rule="failed", severity="warning", message="the run failed in epoch 2 of 3")

    found = ruling(rules(), findings=(error, warning))

    assert failures(found) == [FAIL + "train/loss is nan at step 3 (not-finite); train again."]
    assert ruling(rules(findings="ignore"), findings=(error,)).promote
    told = ruling(rules(), findings=(warning,))
    assert told.promote
    assert (
        PASS + "no finding about the candidate is an error (warning: the run failed in epoch 2 "
        "of 3)." in told.reasons
    )


def test_a_first_version_needs_no_comparison() -> None:
    found = first(rules(), report())

    assert found == Ruling(
        True,
        (
            "pass: there is no champion yet and the policy allows a first version.",
            "pass: scored on the split 'holdout', as required.",
            "pass: scored on 80 images; the policy requires at least 20.",
            "pass: the split 'holdout' is not among what run 7 used in training or validation.",
            "pass: no finding about the candidate is an error.",
        ),
    )


def test_what_was_never_scored_is_not_promoted() -> None:
    assert failures(decide(rules(), None)) == [FAIL + "the checkpoint was not scored on anything."]


def test_a_first_version_may_be_refused() -> None:
    found = first(rules(first=FirstVersion(rule="refuse")), report())

    assert not found.promote
    assert "the policy refuses a first version" in found.reasons[0]


@pytest.mark.parametrize(
    ("measured", "allowed", "sentence"),
    [
        (report(), True, "pass: mAP50-95 is 0.450, at least the 0.4 that a first version needs."),
        (
            report(metrics={"mAP50-95": 0.39}),
            False,
            "fail: mAP50-95 is 0.390, below the 0.4 that a first version needs.",
        ),
        (
            report(metrics={"mAP50-95": None}),
            False,
            "fail: a first version needs mAP50-95 of at least 0.4, but it was not measured.",
        ),
        (None, False, "fail: a first version needs mAP50-95 of at least 0.4"),
    ],
)
def test_a_first_version_may_need_a_minimum(
    measured: EvalReport | None, allowed: bool, sentence: str
) -> None:
    policy = rules(first=FirstVersion(minimum=0.4))

    found = first(policy, measured)

    assert found.promote is allowed
    assert any(reason.startswith(sentence) for reason in found.reasons)


def test_a_first_version_that_was_compared_must_pass_the_comparison_too() -> None:
    assert decide(rules(), comparison(), candidate=NEW).promote
    worse = comparison(data(delta(change=-0.1)))
    assert not decide(rules(), worse, candidate=NEW).promote


def test_a_champion_is_only_replaced_after_a_comparison() -> None:
    facts = Facts(report=report(), exposure=SEEN)
    found = decide(rules(), None, candidate=NEW, champion=OLD, facts=facts)

    assert failures(found) == [FAIL + "there is a champion, but no comparison with it."]


def shipped(name: str) -> Policy:
    return validate(Policy, load_yaml(POLICIES / f"{name}.yaml"), name)


@pytest.mark.parametrize(
    ("name", "task"), [("default", task) for task in TASKS] + [("strict", "detection"),
                                                              ("tracking", "tracking"),
                                                              ("temporal", "temporal")]
)  # fmt: skip
def test_shipped_policies_let_a_clear_gain_pass(name: str, task: str) -> None:
    policy, primary = shipped(name), TASKS[task].primary
    proof = FreezeReported(phase="verified", strategy="full", groups=(), frozen_tensors=0)
    target = data(*(delta(spec.name) for spec in TASKS[task].metrics), units=200).model_copy(
        update={"per_class": (delta("cat"),), "class_metric": primary}
    )
    made = comparison(
        target, confidence=0.99, replicates=5000, primary=primary,
        source=data(delta(primary), role="source"),
    )  # fmt: skip

    assert failures(ruling(policy, made, freeze=proof)) == []
    worse = comparison(data(delta(primary, change=-0.1)), primary=primary)
    assert not ruling(policy, worse).promote


def test_shipped_policies_name_metrics_that_exist() -> None:
    known = {spec.name for task in TASKS.values() for spec in task.metrics}

    for path in POLICIES.glob("*.yaml"):
        policy = shipped(path.stem)
        named = {policy.primary, *policy.margins, *(guard.metric for guard in policy.guards)}
        assert named - {None} <= known


def test_the_default_policy_passes_over_a_missing_source_and_the_strict_one_does_not() -> None:
    assert ruling(shipped("default")).promote
    reasons = ruling(shipped("strict")).reasons
    assert any("source data; the guard refuses" in reason for reason in reasons)


def test_without_a_file_the_rules_are_those_of_the_default_policy() -> None:
    assert validate(Policy, load_yaml(POLICIES / "default.yaml"), "default") == Policy()


def test_a_policy_says_how_the_comparison_is_made() -> None:
    policy = rules(confidence=0.99, margin=0.02, replicates=3000, seed=7, margins={"mAP75": 0.05})

    settings = policy.settings("mAP50")

    assert settings.model_dump() == {
        **ComparisonSettings().model_dump(), "confidence": 0.99, "margin": 0.02,
        "margins": {"mAP75": 0.05}, "replicates": 3000, "seed": 7, "primary": "mAP50",
    }  # fmt: skip
    assert rules(primary="mAP75").settings("mAP50").primary == "mAP75"


def test_a_misspelt_key_of_a_policy_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'min_unit' \(did you mean 'min_units'"):
        validate(Policy, {"min_unit": 3}, "mine.yaml")
    with pytest.raises(ConfigError, match=r"margins.*greater than or equal to 0"):
        validate(Policy, {"margins": {"HOTA": -0.1}}, "mine.yaml")
