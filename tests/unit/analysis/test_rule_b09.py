"""B09: a learning rate too low."""

import numpy as np
import pytest

from backend.analysis.diagnostics.rules.b09_learning_rate_low import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown

CONSTANT = 0.815


def slow(end: float = 1.255, start: float = 1.386) -> Made:
    """The loss goes down by a line, as with 1e-5 in place of 3e-3."""
    return healthy().with_curves(train_loss=np.linspace(start, end, 24))


def with_ratio(ratio: float) -> Made:
    """Updates of this size at the full rate."""
    made = healthy()
    return made.with_curves(update_all=ratio * made.curves["lr/all"] / 3e-3)


def test_a_loss_that_falls_and_will_not_arrive() -> None:
    found = fired(RULE, slow().first(16))
    assert found.severity == "warning"
    assert "would end at 1.255" in found.headline
    assert "0.815" in found.headline
    (turn,) = found.advice.study
    assert (turn.role, turn.times) == ("lr", (3, 10, 30))
    assert found.curves[0].levels == {"constant": CONSTANT}


def test_it_is_an_error_where_nothing_is_found_either() -> None:
    assert fired(RULE, slow().with_curves(val_edit=np.zeros(24))).severity == "error"
    assert fired(RULE, with_ratio(1e-6).with_curves(val_edit=np.zeros(24))).severity == "error"
    assert fired(RULE, slow().without("val/edit")).severity == "warning"


def test_it_is_heard_of_as_soon_as_there_are_ten_points_and_one_more() -> None:
    assert first_step(RULE, slow()) == 11 * 25
    assert first_step(RULE, healthy()) is None


def test_a_healthy_run_is_clear_at_its_end_though_its_updates_are_tiny_there() -> None:
    made = healthy()
    assert made.curves["update/all"][-1] < 1e-4
    clear(RULE, made)


def test_a_loss_that_will_arrive_or_stands_still_or_is_near_the_baseline() -> None:
    clear(RULE, slow(end=0.4).first(12))
    clear(RULE, slow(start=1.2, end=1.2))
    clear(RULE, slow(start=0.86, end=0.83))
    assert fired(RULE, slow(start=1.0, end=0.87))


def test_updates_are_judged_at_the_full_rate() -> None:
    found = fired(RULE, with_ratio(0.9e-5))
    assert (found.severity, "9e−06" in found.headline) == ("warning", True)
    clear(RULE, with_ratio(1.1e-5))


def test_a_rate_of_nothing_is_no_evidence() -> None:
    made = with_ratio(1e-3)
    rate = made.curves["lr/all"].copy()
    rate[8:] = 1e-7
    made = made.with_curves(lr_all=rate, update_all=np.full(24, 1e-9))
    unknown(RULE, made, "fewer than 10 update ratios")


def test_too_little_is_not_evaluated() -> None:
    unknown(RULE, slow().first(3), "15%")
    unknown(RULE, slow().first(9), "fewer than 10")
    unknown(RULE, with_ratio(1e-3).first(10).with_curves(train_loss=[1.0] * 10).planned(
        warmup_steps=50), "fewer than 10")  # fmt: skip
    unknown(RULE, healthy().replace(plan=None, metrics=(), headline="").first(0), "15%")


@pytest.mark.parametrize(
    ("key", "why"),
    [("update/all", "update ratio"), ("lr/all", "learning rate"), ("train/loss", "constant")],
)
def test_without_an_input_it_never_says_clear(key: str, why: str) -> None:
    made = healthy().without(key)
    if key == "train/loss":
        made = made.without("train/lcl_loss", "train/mlc_loss")
        why = "no training loss"
    unknown(RULE, made, why)
    unknown(RULE, healthy().surveyed(baselines=()), "constant prediction")


def test_losses_do_not_wait_for_updates() -> None:
    assert fired(RULE, slow().without("update/all"))
    assert fired(RULE, with_ratio(1e-6).surveyed(baselines=()))


def test_the_unit_of_the_loss_is_of_no_matter() -> None:
    assert fired(RULE, slow().scaled(1000))
    clear(RULE, healthy().scaled(1000))
