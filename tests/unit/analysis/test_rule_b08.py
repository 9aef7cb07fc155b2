"""B08: the learning rate is too high."""

import numpy as np
import pytest

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.rules.b08_learning_rate_high import RULE
from tests.support.evidence_made import Made, blind, healthy, probe
from tests.support.rule_checks import clear, fired, first_step, unknown


def wrecked(peak: float = 2.2) -> Made:
    """R2: the validation loss rises above that of an untrained network and ends at a constant."""
    made = healthy(24)
    course = np.concatenate([[1.5, peak, 1.21, 0.90], np.full(20, 0.830)])
    lcl = course / 2
    return made.with_curves(
        train_loss=np.minimum(course, 1.49), val_loss=course, train_lcl_loss=lcl, val_lcl_loss=lcl,
        train_mlc_loss=lcl, val_mlc_loss=lcl, val_edit=np.zeros(24), val_f1_lcl=np.zeros(24),
    ).replace(
        observers=(made.observers[0], lambda place, step: blind(step)),
        extra=(probe(150, 1.0), probe(600, 1.0)),
    )  # fmt: skip


def test_a_loss_worse_than_none_that_never_recovered() -> None:
    found = fired(RULE, wrecked())
    assert found.severity == "error"
    assert "rose to 2.200 at step 50" in found.headline
    assert "1.386 of an untrained network" in found.headline
    assert found.advice.change[0].role == "lr"
    assert found.advice.study[0].times == (1 / 10, 1 / 30, 1 / 100)
    assert first_step(RULE, wrecked()) == 75
    assert first_step(RULE, healthy()) is None


def test_a_tenth_above_is_the_limit() -> None:
    clear(RULE, wrecked(1.386 * 1.09))
    assert fired(RULE, wrecked(1.386 * 1.11))


def test_a_run_that_recovered_is_clear() -> None:
    made = wrecked()
    loss = made.curves["val/loss"].copy()
    loss[10:] = 0.4
    clear(RULE, made.with_curves(val_loss=loss))


def test_the_warm_up_may_be_worse() -> None:
    made = healthy(24)
    loss = made.curves["val/loss"].copy()
    loss[0] = 3.0
    clear(RULE, made.with_curves(val_loss=loss).planned(warmup_steps=26))


def test_updates_that_are_a_tenth_of_the_weights() -> None:
    made = healthy(24)
    rate = made.curves["lr/all"] / made.curves["lr/all"].max()
    found = fired(RULE, made.with_curves(update_all=0.11 * rate))
    assert "One step changes the weights by 11.0 %" in found.headline
    clear(RULE, made.with_curves(update_all=0.09 * rate))
    assert first_step(RULE, made.with_curves(update_all=0.11 * rate)) == 75


def test_the_ratio_is_that_at_the_peak_of_the_schedule() -> None:
    """A cosine halves the rate on average: a ratio of 0.09 is one of 0.18 at the peak."""
    made = healthy(24)
    rate = made.curves["lr/all"] / made.curves["lr/all"].max()
    ratios = 0.18 * rate
    assert np.median(ratios) < 0.1
    assert fired(RULE, made.with_curves(update_all=ratios))
    assert diagnose(made.evidence()).state == "converged"


def test_a_loss_that_jumps_up_and_down() -> None:
    def jumping(share: float) -> Made:
        made = healthy(24)
        course = 0.4 * (1 + share / 2 * np.resize([1.0, -1.0], 24))
        return made.with_curves(train_loss=course)

    found = fired(RULE, jumping(0.4))
    assert "up and down" in found.headline
    clear(RULE, jumping(0.2))
    rising = np.geomspace(0.4, 400, 24)
    clear(RULE, healthy(24).with_curves(train_loss=rising))


def test_it_explains_what_follows() -> None:
    said = diagnose(wrecked().evidence())
    assert [f.rule for f in said.findings] == ["B08"]
    assert {"B01", "B02", "B04"} <= set(said.findings[0].silenced)
    assert said.verdict == "not learning: the learning rate is too high (B08)"


def test_twenty_steps_after_the_warm_up_are_needed() -> None:
    unknown(RULE, healthy().planned(warmup_steps=590), "20 steps")
    unknown(RULE, healthy().replace(plan=None), "warm-up")
    made = healthy().without("update/all", "lr/all").surveyed(baselines=())
    unknown(RULE, made.first(4), "update ratios")


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_losses_in_another_unit_change_nothing(factor: float) -> None:
    assert first_step(RULE, wrecked().scaled(factor)) == first_step(RULE, wrecked())


def test_a_ratio_without_a_rate_says_nothing() -> None:
    made = healthy(24).with_curves(update_all=np.full(24, 0.5))
    assert fired(RULE, made)
    clear(RULE, made.without("lr/all"))  # the losses are judged all the same
    unknown(RULE, made.without("lr/all").surveyed(baselines=()).first(4), "update ratios")
    ended = np.concatenate([[3e-3], np.full(23, 1e-6)])
    clear(RULE, made.with_curves(lr_all=ended).planned(warmup_steps=26))
