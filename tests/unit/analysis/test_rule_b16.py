"""B16: converged."""

import numpy as np

from backend.analysis.diagnostics.rules.b16_converged import RULE
from backend.core.records import MetricSpec
from tests.support.evidence_made import Course, Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown


def settling(count: int = 24, level: float = 80.0, drift: float = 0.0, wave: float = 0.2) -> Made:
    """A score that is there after a third, and then drifts and wavers."""
    t = np.arange(count)
    course = level * (1 - np.exp(-(t + 1) / (count / 12))) + drift * t + wave * (-1.0) ** t
    return healthy(count).with_curves(val_edit=course)


def flat_rate(made: Made) -> Made:
    return made.with_curves(lr_all=np.full(len(made.steps), 1e-3))


def test_a_settled_run_at_its_end() -> None:
    found = fired(RULE, settling())
    assert found.severity == "info"
    assert found.headline.startswith("Converged: val/edit is 80.")
    assert "epoch" in found.headline
    assert "last 5 evaluations" in found.headline
    assert found.curves[0].key == "val/edit"


def test_it_waits_until_the_rate_is_down() -> None:
    made = settling()
    step = first_step(RULE, made)
    assert step == 22 * 25
    rate = made.curves["lr/all"] / made.curves["lr/all"].max()
    assert rate[20] > 0.05 > rate[21]


def test_a_constant_rate_waits_for_the_end_or_for_the_plan() -> None:
    made = flat_rate(settling())
    clear(RULE, made.first(20))
    assert fired(RULE, made.first(20).replace(config={"runner.schedule.name": "constant"}))
    assert fired(RULE, made)
    assert fired(RULE, made.first(20).replace(end="stopped"))


def test_still_rising_is_not_converged() -> None:
    clear(RULE, settling(drift=0.4))
    clear(RULE, settling(drift=0.2, wave=0.0))


def test_falling_is_not_converged_either() -> None:
    clear(RULE, settling(drift=-1.0, wave=0.0))


def test_the_gain_that_counts_depends_on_the_unit() -> None:
    jump = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.504, 0.504, 0.504])

    def score(scale: float, more: float = 0.0) -> Made:
        course = scale * np.where(jump > 0.5, jump + more, jump)
        return healthy(12).with_curves(val_edit=course).surveyed(baselines=())

    assert fired(RULE, score(1))
    clear(RULE, score(1, more=0.003))
    assert fired(RULE, score(100))
    clear(RULE, score(100, more=0.003))


def loss(course: Course) -> Made:
    return healthy(len(course)).replace(
        headline="val/loss", metrics=(MetricSpec(name="loss", direction="minimize"),)
    ).with_curves(val_loss=course)  # fmt: skip


def test_a_loss_is_better_when_low() -> None:
    t = np.arange(24)
    falling = 0.3 + np.exp(-t / 2)
    assert "val/loss is 0.3" in fired(RULE, loss(falling)).headline
    clear(RULE, loss(falling + 0.6))
    clear(RULE, loss(0.5 - 0.01 * t))


def test_a_metric_at_its_trivial_value_has_not_converged() -> None:
    clear(RULE, settling(level=30.0))
    assert fired(RULE, settling(level=36.0))
    clear(RULE, settling(level=0.0, wave=0.0).surveyed(baselines=()))
    assert fired(RULE, settling(level=30.0).surveyed(baselines=()))


def test_too_little_is_not_evaluated() -> None:
    unknown(RULE, settling(7), "fewer than 8 evaluations")
    unknown(RULE, settling().without("val/edit"), "was not logged")
    unknown(RULE, settling().with_curves(val_edit=[np.nan] * 24), "was not logged")
    unknown(RULE, settling().replace(metrics=()), "better high or low")
    unknown(RULE, settling().without("lr/all").first(20), "falls further is not known")
    assert fired(RULE, settling().without("lr/all"))


def test_healthy_courses_do_not_converge_early() -> None:
    for seed in range(5):
        step = first_step(RULE, healthy(seed=seed))
        assert step is None or step >= 500
