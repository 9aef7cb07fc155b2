"""B01: every key metric is exactly zero, and always was."""

import numpy as np

from backend.analysis.diagnostics.rules.b01_metric_zero import RULE
from backend.core.records import MetricSpec
from tests.support.evidence_made import (
    Made,
    baselines,
    blind,
    healthy,
    predictions,
    survey,
    zeros,
)
from tests.support.rule_checks import clear, fired, first_step, unknown


def test_zeros_at_every_evaluation() -> None:
    found = fired(RULE, zeros())
    assert found.severity == "error"
    assert "edit, f1_lcl are exactly 0 in all 24 evaluations, with 155 to find" in found.headline
    assert "highest p 0.22" in found.headline
    assert [turn.role for turn in found.advice.study] == ["threshold"]
    # a fifth of 600 steps is done at the fifth evaluation; the sixth confirms it
    assert first_step(RULE, zeros()) == 150


def test_what_is_predicted_elsewhere_is_no_matter_of_the_threshold() -> None:
    found = fired(RULE, zeros())
    assert "passes the threshold" in found.cause
    made = zeros().replace(observers=(lambda place, step: predictions(step, 0.5),))
    made = made.with_curves(**{f"val_{name}": np.full(24, 0.4) for name in ("lcl_loss", "loss")})
    elsewhere = fired(RULE, made)
    assert elsewhere.cause == "nothing that is predicted lies where the truth is"
    assert not elsewhere.advice.change
    assert "over the same inputs" in elsewhere.advice.text


def test_the_same_run_with_one_value_above_zero_is_clear() -> None:
    edit = np.zeros(24)
    edit[3] = 0.01
    clear(RULE, zeros().with_curves(val_edit=edit))
    clear(RULE, healthy())


def test_a_metric_that_was_zero_at_first_is_no_alarm() -> None:
    assert first_step(RULE, healthy()) is None


def test_too_few_evaluations_or_too_early_is_unknown() -> None:
    unknown(RULE, zeros().first(2), "needs 3 and a fifth")
    unknown(RULE, zeros().first(4), "needs 3 and a fifth")
    assert fired(RULE, zeros().first(5))


def test_without_something_to_find_it_is_unknown() -> None:
    made = zeros().replace(observers=(), survey=survey(labels=(), baselines=()))
    unknown(RULE, made, "anything to find")
    nothing = made.replace(observers=(lambda place, step: blind(step, 0),))
    unknown(RULE, nothing, "anything to find")


def test_without_metrics_it_is_unknown() -> None:
    unknown(RULE, zeros().replace(metrics=()), "no metric")
    unknown(RULE, zeros().without("val/edit", "val/f1_lcl"), "no metric")


def test_a_ranking_is_no_key_metric() -> None:
    """AP and AUROC of a blind network are above zero; without baselines their names tell."""
    ranks = tuple(MetricSpec(name=n, direction="maximize") for n in ("ap_frame", "auroc_frame"))
    made = zeros().with_curves(val_ap_frame=np.full(24, 0.03), val_auroc_frame=np.full(24, 0.5))
    made = made.replace(metrics=(*made.metrics, *ranks)).surveyed(baselines=())
    assert "ap_frame" not in fired(RULE, made).headline


def test_a_detector_is_judged_by_its_own_metrics() -> None:
    names = ("mAP50-95", "mAP50", "precision", "recall")
    made = zeros().surveyed(baselines=()).replace(
        headline="val/mAP50-95", trainer="yolo",
        metrics=tuple(MetricSpec(name=name, direction="maximize") for name in names),
    )  # fmt: skip
    curves = {f"val/{name}": np.zeros(24) for name in names}
    dead = made.replace(curves=curves)
    assert "mAP50-95, mAP50, precision, recall are exactly 0" in fired(RULE, dead).headline
    clear(RULE, dead.with_curves(val_recall=np.full(24, 0.1)))


def test_losses_in_another_unit_change_nothing() -> None:
    def said(made: Made) -> str:
        return fired(RULE, made).headline

    assert said(zeros()) == said(zeros().scaled(10.0))


def test_a_loss_that_falls_is_waited_for() -> None:
    clear(RULE, zeros().with_curves(val_loss=np.linspace(0.9, 0.3, 24)))
    assert fired(RULE, zeros().with_curves(val_loss=np.linspace(0.9, 0.85, 24)))


def test_a_headline_that_falls_is_no_key_metric() -> None:
    found = fired(RULE, zeros().replace(headline="val/loss"))
    assert "loss" not in found.headline


def test_the_headline_counts_even_if_its_baseline_is_not_known() -> None:
    told = baselines("val").model_copy(update={"metrics": {"nothing": {"f1_lcl": 0.0}}})
    made = zeros().surveyed(baselines=(told,))
    assert "f1_lcl, edit are exactly 0" in fired(RULE, made).headline
    clear(RULE, made.with_curves(val_edit=np.full(24, 5.0)))
