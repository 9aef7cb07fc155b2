"""B05: the training loss leaves its best value behind."""

import numpy as np
import pytest

from backend.analysis.diagnostics.rules.b05_divergence import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown


def diverging(factor: float = 1.5, begin: int = 10) -> Made:
    """From an evaluation on the loss grows by a factor each time, up to twenty times."""
    made = healthy(24)
    loss = made.curves["train/loss"].copy()
    for place in range(begin, 24):
        loss[place] = min(loss[place - 1] * factor, 2.0)
    return made.with_curves(train_loss=loss)


def test_a_loss_that_rises_for_good() -> None:
    found = fired(RULE, diverging())
    assert found.severity == "error"
    assert "rose from" in found.headline
    assert [turn.role for turn in found.advice.change] == ["lr", "clip"]
    assert found.advice.change[0].times == (1 / 3,)
    step = first_step(RULE, diverging())
    assert step is not None
    assert 275 < step <= 375
    assert first_step(RULE, healthy()) is None


def test_half_above_the_best_is_the_limit() -> None:
    def ends(factor: float) -> Made:
        made = healthy(24, noisy=0.001)
        loss = np.concatenate([np.full(12, 0.4), np.linspace(0.4, 0.4 * factor, 12)])
        return made.with_curves(train_loss=loss)

    clear(RULE, ends(1.5))  # the smoothed course lags behind
    assert fired(RULE, ends(1.7))


def test_a_loss_that_lies_where_it_rose_to_has_diverged_until_it_comes_back() -> None:
    loss = np.concatenate([np.full(8, 0.4), np.linspace(0.4, 1.2, 6), np.linspace(1.2, 1.1, 10)])
    made = healthy(24, noisy=0.001).with_curves(train_loss=loss)
    assert fired(RULE, made)
    loss[-4:] = 0.4
    clear(RULE, healthy(24, noisy=0.001).with_curves(train_loss=loss))


def test_a_single_spike_is_no_divergence() -> None:
    loss = healthy(24).curves["train/loss"].copy()
    loss[15] *= 6
    made = healthy(24).with_curves(train_loss=loss)
    assert first_step(RULE, made) is None


def test_a_rise_within_the_noise_is_none() -> None:
    generator = np.random.default_rng(3)
    noisy = 0.4 * np.exp(0.5 * generator.standard_normal(24))
    assert first_step(RULE, healthy(24).with_curves(train_loss=noisy)) is None


def test_ten_times_the_first_loss_is_a_wreck() -> None:
    made = healthy(6).with_curves(train_loss=[1.0, 1.0, 1.0, 1.0, 1.0, 10.1])
    assert fired(RULE, made)


def test_a_loss_in_parts_is_added() -> None:
    made = diverging().without("train/loss")
    rising = diverging().curves["train/loss"] / 2
    assert fired(RULE, made.with_curves(train_lcl_loss=rising, train_mlc_loss=rising))
    clear(RULE, healthy(24).without("train/loss"))


def test_five_points_are_needed() -> None:
    unknown(RULE, diverging().first(4), "5 evaluations")
    unknown(RULE, healthy().without("train/loss", "train/lcl_loss", "train/mlc_loss"), "5 eval")
    clear(RULE, healthy().first(5))


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_losses_in_another_unit_change_nothing(factor: float) -> None:
    assert first_step(RULE, diverging().scaled(factor)) == first_step(RULE, diverging())


def test_losses_whose_scale_still_moves_are_not_judged() -> None:
    """AdaTAD's are divided by a running mean that begins at 100."""
    made = healthy(24)
    rising = 0.4 * (1 - 0.8 * 0.8 ** np.arange(24))
    made = made.with_curves(train_loss=rising)
    assert fired(RULE, made)
    clear(RULE, made.planned(settling=251))
    unknown(RULE, made.planned(settling=600), "needs a training loss at 5 evaluations")
    assert fired(RULE, diverging(begin=14).planned(settling=51))
