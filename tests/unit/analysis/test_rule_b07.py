"""B07: the validation loss rises while the training loss falls."""

import numpy as np
import pytest

from backend.analysis.diagnostics.rules.b07_overfitting import RULE
from tests.support.evidence_made import BASELINES, Made, baselines, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown


def turning(drift: float = 0.05, metric: float = 0.0) -> Made:
    """The validation loss falls for eight evaluations and then rises by ``drift`` each time."""
    made = healthy(24, noisy=0.003)
    generator = np.random.default_rng(5)
    down = np.linspace(0.8, 0.4, 8)
    up = 0.4 * (1 + drift) ** np.arange(1, 17)
    val = np.concatenate([down, up]) * (1 + 0.003 * generator.standard_normal(24))
    edit = np.concatenate([np.linspace(0, 60, 8), 60 + metric * np.arange(1, 17)])
    return made.with_curves(
        val_loss=val, train_loss=np.geomspace(0.8, 0.02, 24),
        val_edit=edit * (1 + 0.001 * generator.standard_normal(24)),
    )  # fmt: skip


def test_a_loss_that_turned() -> None:
    found = fired(RULE, turning())
    assert found.severity == "warning"
    assert "while the training loss still falls" in found.headline
    assert "the best epoch is" in found.headline
    assert {turn.role for turn in found.advice.study} == {"dropout", "weight_decay"}
    step = first_step(RULE, turning())
    assert step is not None
    assert 13 * 25 <= step <= 17 * 25
    assert first_step(RULE, turning(-0.01)) is None
    assert first_step(RULE, healthy()) is None


def test_it_is_information_while_the_metric_still_rises() -> None:
    found = fired(RULE, turning(metric=1.0))
    assert found.severity == "info"
    assert "the metric still rises" in found.headline
    assert not found.advice.change


def test_the_best_epoch_is_that_of_the_metric() -> None:
    edit = np.full(24, 10.0)
    edit[9] = 70.0
    found = fired(RULE, turning().with_curves(val_edit=edit))
    assert "the best epoch is epoch 10 (step 250)" in found.headline
    assert found.advice.change[0].values == (10,)


def test_a_training_loss_that_rises_too_is_no_overfitting() -> None:
    rising = np.concatenate([np.linspace(0.8, 0.4, 8), np.linspace(0.41, 0.9, 16)])
    clear(RULE, turning().with_curves(train_loss=rising))


def test_a_rise_of_less_than_a_tenth_is_none() -> None:
    clear(RULE, turning(0.004))


def test_the_label_mix_explains_a_stable_gap() -> None:
    """The brief: 0.78 against 0.77 is what a blind predictor has as well."""
    generator = np.random.default_rng(2)
    train = 0.770 + 0.001 * generator.standard_normal(24)
    val = 0.783 + 0.001 * generator.standard_normal(24)
    shifted = {n: {p: v * 1.017 for p, v in losses.items()} for n, losses in BASELINES.items()}
    made = turning().with_curves(train_loss=train, val_loss=val)
    mixed = made.surveyed(baselines=(baselines("train"), baselines("val", shifted)))
    found = fired(RULE, mixed)
    assert found.severity == "info"
    assert "the label mix explains the gap" in found.headline
    clear(RULE, made)  # equal baselines do not explain it
    clear(RULE, made.surveyed(baselines=()))


def test_eight_evaluations_of_both_are_needed() -> None:
    unknown(RULE, turning().first(7), "8 evaluations")
    parts = ("loss", "lcl_loss", "mlc_loss")
    unknown(RULE, healthy().without(*(f"val/{p}" for p in parts)), "8 evaluations")
    unknown(RULE, healthy().without(*(f"train/{p}" for p in parts)), "8 evaluations")


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_losses_in_another_unit_change_nothing(factor: float) -> None:
    assert first_step(RULE, turning().scaled(factor)) == first_step(RULE, turning())


def test_without_a_metric_the_loss_names_the_epoch() -> None:
    for made in (turning().without("val/edit"), turning().with_curves(val_edit=np.zeros(24))):
        found = fired(RULE, made)
        assert found.severity == "warning"
        assert "the best epoch is epoch 9 (step 225)" in found.headline


def test_five_evaluations_since_the_best_are_waited_for() -> None:
    steep = turning(0.3)
    clear(RULE, steep.first(12))
    assert fired(RULE, steep.first(13))


def test_a_metric_that_rose_at_first_and_then_rests_is_no_excuse() -> None:
    generator = np.random.default_rng(8)
    edit = np.concatenate([np.linspace(0, 60, 14), np.full(10, 60.0)])
    made = turning().with_curves(val_edit=edit * (1 + 0.002 * generator.standard_normal(24)))
    assert fired(RULE, made).severity == "warning"
