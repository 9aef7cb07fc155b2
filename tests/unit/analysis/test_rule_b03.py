"""B03: a loss is no better than predictors that never look."""

import numpy as np
import pytest

from backend.analysis.diagnostics.rules.b03_trivial_loss import RULE
from backend.analysis.diagnostics.trivial import collapsed, is_trivial, standings
from tests.support.evidence_made import Made, baselines, healthy, sampled, zeros
from tests.support.rule_checks import clear, fired, first_step, unknown


def level(lcl: float, mlc: float) -> Made:
    """Both losses stay where they are, on both splits."""
    flat = {"lcl": np.full(24, lcl), "mlc": np.full(24, mlc), "sum": np.full(24, lcl + mlc)}
    return zeros().with_curves(
        train_lcl_loss=flat["lcl"], train_mlc_loss=flat["mlc"], train_loss=flat["sum"],
        val_lcl_loss=flat["lcl"], val_mlc_loss=flat["mlc"], val_loss=flat["sum"],
    )  # fmt: skip


def test_the_brief_sits_at_the_position_level() -> None:
    found = fired(RULE, level(0.409, 0.383))
    assert found.severity == "error"
    assert "lcl_loss 0.409 and mlc_loss 0.383 are no better" in found.headline
    assert "constant 0.411 + 0.404, position 0.399 + 0.363" in found.headline
    assert "After 600 of 600 steps" in found.headline
    assert "input" in found.cause
    assert not found.advice.study
    assert {s.key for s in found.curves} >= {"val/lcl_loss", "train/mlc_loss"}
    assert found.curves[0].levels == {"constant": 0.411, "position": 0.399}
    assert first_step(RULE, level(0.409, 0.383)) == 150


def test_the_constant_level_asks_for_the_learning_rate() -> None:
    """R2: 0.416 and 0.414 are not even at the level of the position."""
    found = fired(RULE, level(0.416, 0.414))
    assert "constant" in found.cause
    assert found.advice.change[0].role == "lr"
    assert found.advice.study[0].times == (0.1, 0.01)
    assert collapsed(level(0.416, 0.414).evidence())
    assert not collapsed(level(0.409, 0.383).evidence())


def test_one_head_is_judged_without_the_other() -> None:
    """R3: the sum hides that the frame head learns nothing; its weight is the cause."""
    losses = {
        "untrained": {"lcl_loss": 0.693, "mlc_loss": 0.693},
        "constant": {"lcl_loss": 0.144, "mlc_loss": 0.404},
        "position": {"lcl_loss": 0.141, "mlc_loss": 0.363},
    }
    made = level(0.139, 0.329).surveyed(
        baselines=(baselines("train", losses), baselines("val", losses)),
        sampled=(sampled("train", 1.0, positions=10_000, positive=362),),
    )
    found = fired(RULE, made)
    assert "lcl_loss 0.139 is no better" in found.headline
    assert "while mlc_loss 0.329 beats them" in found.headline
    assert "with weight 1" in found.cause
    assert found.advice.change[0].role == "positive_weight"
    assert found.advice.study[0].values == (5.0, 10.0, 26.6, 30.0)
    heavy = made.surveyed(sampled=(sampled("train", 30.0),))
    assert "this head alone" in fired(RULE, heavy).cause


@pytest.mark.parametrize(
    ("factor", "fires"), [(0.96, False), (0.98, True), (1.2, True), (1.27, False)]
)
def test_the_limits_are_three_below_and_a_quarter_above(factor: float, fires: bool) -> None:
    low = {"constant": {"lcl_loss": 1.0, "mlc_loss": 1.0}}
    made = level(factor, factor).surveyed(
        baselines=(baselines("train", low), baselines("val", low))
    )
    known = standings(made.evidence())
    assert all(is_trivial(found) is fires for found in known.values())
    if fires:
        assert fired(RULE, made)
    else:
        clear(RULE, made)


def test_the_phase_at_the_start_of_a_healthy_run_is_no_alarm() -> None:
    assert first_step(RULE, healthy()) is None
    clear(RULE, healthy())


def test_a_loss_far_above_and_falling_is_another_rules() -> None:
    clear(RULE, level(0.63, 0.62))


def test_a_model_that_overfits_has_used_its_input() -> None:
    made = level(0.42, 0.41)
    clear(
        RULE, made.with_curves(train_lcl_loss=np.full(24, 0.01), train_mlc_loss=np.full(24, 0.02))
    )


def test_a_loss_without_parts_is_judged_as_a_whole() -> None:
    made = level(0.409, 0.383).without(
        "train/lcl_loss", "train/mlc_loss", "val/lcl_loss", "val/mlc_loss"
    )
    assert "loss 0.792 is no better" in fired(RULE, made.planned(losses=())).headline


def test_without_baselines_curves_or_time_it_is_unknown() -> None:
    unknown(RULE, zeros().surveyed(baselines=()), "trivial baselines")
    unknown(RULE, zeros().first(2), "3 evaluations")
    unknown(RULE, zeros().first(4), "a fifth")
    unknown(RULE, zeros().replace(survey=None), "trivial baselines")


def test_loss_and_baseline_in_another_unit_change_nothing() -> None:
    for factor in (1e-3, 50.0):
        assert (
            fired(RULE, level(0.409, 0.383).scaled(factor)).cause
            == fired(RULE, level(0.409, 0.383)).cause
        )
        clear(RULE, healthy().scaled(factor))


def test_no_weight_on_rare_events_comes_before_the_learning_rate() -> None:
    """At the constant level with weight 1 an event carries 4 % of the loss."""
    bare = level(0.416, 0.414).surveyed(sampled=(sampled("train", 1.0),))
    assert fired(RULE, bare).advice.change[0].role == "positive_weight"
    assert fired(RULE, level(0.416, 0.414)).advice.change[0].role == "lr"
    blind = level(0.409, 0.383).surveyed(sampled=(sampled("train", 1.0),))
    assert not fired(RULE, blind).advice.change


def test_a_loss_that_still_falls_is_waited_for() -> None:
    """The element head of a healthy run comes down later than the frame head."""
    late_head = np.concatenate([np.full(3, 0.42), [0.42, 0.41, 0.385, 0.36], np.full(17, 0.35)])
    made = level(0.2, 0.4).with_curves(train_mlc_loss=late_head, val_mlc_loss=late_head)
    clear(RULE, made.first(7))
    resting = np.concatenate([np.full(7, 0.41), np.full(17, 0.408)])
    assert fired(RULE, made.with_curves(train_mlc_loss=resting, val_mlc_loss=resting).first(8))


def test_a_loss_that_was_better_once_has_not_stayed_there_but_come_back() -> None:
    fallen = np.concatenate([np.linspace(0.45, 0.1, 12), np.full(12, 0.4)])
    made = zeros()
    clear(RULE, made.with_curves(**{
        f"{split}_{part}_loss": fallen for split in ("train", "val") for part in ("lcl", "mlc")
    }))  # fmt: skip
