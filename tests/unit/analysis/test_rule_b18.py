"""B18: a plateau."""

import numpy as np

from backend.analysis.diagnostics.rules.b18_plateau import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown

CONSTANT = 0.815
T = np.arange(24)


def standing(share: float = 0.7, tilt: float = 0.0, rate: float = 1.0) -> Made:
    """The validation loss falls to a share of the constant's and stands there from the sixth
    evaluation on, wavering; ``tilt`` is what it still makes over six evaluations."""
    wave = 0.0005 * (-1.0) ** T
    course = CONSTANT * share * (1 + np.exp(-T / 1.0) + tilt * (T - 18) / 5 + wave)
    return healthy().with_curves(val_loss=course, lr_all=np.full(24, 1e-3) * rate)


def test_a_loss_that_stands_high_up() -> None:
    found = fired(RULE, standing())
    assert (found.severity, found.sure) == ("warning", "possible")
    assert "70% of what a constant" in found.headline
    assert found.curves[0].levels == {"constant": CONSTANT}
    assert [turn.role for turn in found.advice.change] == ["lr"]
    assert first_step(RULE, standing()) is not None
    assert first_step(RULE, healthy()) is None


def test_a_good_loss_may_stand_still() -> None:
    clear(RULE, standing(share=0.49))
    assert fired(RULE, standing(share=0.51))


def test_a_loss_that_moves_is_no_plateau() -> None:
    clear(RULE, standing(tilt=-0.05))
    clear(RULE, standing(tilt=-0.0025))


def ending(*newest: float) -> Made:
    made = standing()
    course = made.curves["val/loss"].copy()
    course[-len(newest) :] = 0.6 * np.array(newest)
    return made.with_curves(val_loss=course)


def test_a_slope_counts_where_noise_hides_the_trend() -> None:
    clear(RULE, ending(1.012, 1.0, 1.016, 0.99, 1.004, 0.985))
    assert fired(RULE, ending(1.004, 1.0, 1.006, 0.998, 1.003, 0.997))


def test_of_many_losses_a_fifth_is_looked_at() -> None:
    made = healthy(40)
    course = np.concatenate([np.linspace(0.8, 0.62, 34), [0.6, 0.601, 0.6, 0.601, 0.6, 0.601]])
    made = made.with_curves(val_loss=course, lr_all=np.full(40, 1e-3))
    clear(RULE, made)
    assert fired(RULE, made.with_curves(val_loss=np.append(course[:30], [0.6, 0.601] * 5)))


def test_a_rate_that_has_come_down_stands_still_by_plan() -> None:
    rate = np.full(24, 1e-3)
    rate[-1] = 0.9e-4
    clear(RULE, standing().with_curves(lr_all=rate))
    rate[-1] = 1.1e-4
    assert fired(RULE, standing().with_curves(lr_all=rate))


def test_training_losses_serve_where_there_are_no_others() -> None:
    made = standing()
    course = made.curves["val/loss"]
    made = made.without("val/loss", "val/lcl_loss", "val/mlc_loss").with_curves(train_loss=course)
    assert fired(RULE, made).curves[0].key == "train/loss"


def test_too_little_is_not_evaluated() -> None:
    made = standing()
    unknown(RULE, made.first(4), "a fifth of the planned steps")
    unknown(RULE, made.first(5).planned(steps=125), "fewer than 6")
    unknown(RULE, made.without("lr/all"), "learning rate")
    unknown(RULE, made.surveyed(baselines=()), "constant prediction")
    losses = [key for key in made.curves if key.endswith("loss")]
    unknown(RULE, made.without(*losses), "no loss")


def test_the_unit_of_the_loss_is_of_no_matter() -> None:
    assert fired(RULE, standing().scaled(1e-3))
    clear(RULE, standing(share=0.4).scaled(1e3))
