"""B17: not yet converged."""

import numpy as np
import pytest

from backend.analysis.diagnostics.gains import course_of
from backend.analysis.diagnostics.rule import Unknown
from backend.analysis.diagnostics.rules.b17_improving import RULE, extrapolate
from tests.support.evidence_made import Course, Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown

T = np.arange(24)


def scored(course: Course) -> Made:
    return healthy(len(course)).with_curves(val_edit=course)


def going_on(course: Course) -> Made:
    """The same in the middle of a run at a constant rate."""
    made = scored(course)
    return made.with_curves(lr_all=np.full(len(course), 1e-3)).planned(steps=1200)


def test_a_rise_to_the_end() -> None:
    found = fired(RULE, scored(3.0 * T))
    assert found.severity == "info"
    assert "Still improving: val/edit is 69" in found.headline
    (turn,) = found.advice.change
    assert (turn.role, turn.times) == ("epochs", (1.5,))


def test_a_trend_without_a_new_best_at_the_end() -> None:
    course = 3.0 * T
    course[-1] = course[-2] - 0.5
    assert fired(RULE, scored(course))
    course[-8:] = 50.0
    clear(RULE, going_on(course))


def test_a_new_best_at_the_end_without_a_trend() -> None:
    course = np.full(24, 50.0)
    course[::2] = 40.0
    clear(RULE, scored(course))
    course[-1] = 75.0
    assert fired(RULE, scored(course))
    course[-1] = 50.0
    clear(RULE, going_on(course))


def test_a_new_best_by_less_than_counts_is_none() -> None:
    course = np.full(24, 80.0)
    course[-4] = 60.0
    course[-1] = 80.4
    clear(RULE, going_on(course))
    course[-1] = 80.6
    assert fired(RULE, going_on(course))


def test_a_converged_run_is_left_to_b16() -> None:
    settled = 80 * (1 - np.exp(-(T + 1) / 2.0))
    settled[-1] += 0.01
    made = scored(settled)
    clear(RULE, made)
    assert fired(RULE, going_on(settled))


def test_a_healthy_run_that_is_stopped_early_still_improves() -> None:
    assert fired(RULE, healthy(count=60).first(24))
    assert first_step(RULE, healthy(count=60).first(24)) is not None


def test_the_forecast_of_an_exponential_is_its_own() -> None:
    course = course_of(scored(80 - 60 * np.exp(-T / 12)).evidence())
    assert not isinstance(course, Unknown)
    forecast = extrapolate(course, 36 * 25)
    assert forecast is not None
    assert forecast.gain == pytest.approx(60 * (np.exp(-23 / 12) - np.exp(-35 / 12)), rel=1e-3)
    assert forecast.low <= forecast.gain <= forecast.high
    assert forecast.fits > 0.999


def test_the_interval_holds_the_truth_in_most_cases() -> None:
    truth = 60 * (np.exp(-23 / 12) - np.exp(-35 / 12))
    held = 0
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(0, 1.0, 24)
        course = course_of(scored(80 - 60 * np.exp(-T / 12) + noise).evidence())
        assert not isinstance(course, Unknown)
        forecast = extrapolate(course, 36 * 25)
        assert forecast is None or forecast.high - forecast.low < 30
        held += forecast is not None and forecast.low <= truth <= forecast.high
    assert held >= 16


def test_a_course_that_does_not_fit_gets_no_forecast() -> None:
    course = np.full(24, 50.0)
    course[::2] = 40.0
    course[-1] = 75.0
    assert "half as many" not in fired(RULE, scored(course)).headline
    known = course_of(scored(course).evidence())
    assert not isinstance(known, Unknown)
    assert extrapolate(known, 900) is None


def test_a_forecast_stays_within_the_metric() -> None:
    course = 80 - 60 * np.exp(-T / 12)
    assert "should gain 5.5" in fired(RULE, scored(course)).headline
    course += 100 - course[-1] - 2.0
    assert "should gain 2 (2 to 2)" in fired(RULE, scored(course)).headline


def test_a_forecast_that_includes_no_gain_is_none() -> None:
    course = 80 - 20 * np.exp(-T / 10) + np.random.default_rng(0).normal(0, 2.5, 24)
    course[-1] = 90.0
    known = course_of(scored(course).evidence())
    assert not isinstance(known, Unknown)
    forecast = extrapolate(known, 900)
    assert forecast is not None
    assert forecast.low == 0
    assert "half as many" not in fired(RULE, scored(course)).headline


def test_the_headline_forecasts_half_as_many_steps_again() -> None:
    found = fired(RULE, scored(80 - 60 * np.exp(-T / 12)))
    gain = 60 * (np.exp(-23 / 12) - np.exp(-35 / 12))
    assert f"half as many epochs again should gain {gain:.3f}" in found.headline
    (fact,) = [fact for fact in found.evidence if fact.name == "expected gain"]
    assert fact.value == pytest.approx(gain, rel=1e-3)


def test_few_values_that_rise_get_no_forecast() -> None:
    course = np.concatenate([np.linspace(50, 40, 20), [55, 63, 67, 69]])
    known = course_of(scored(course).evidence())
    assert not isinstance(known, Unknown)
    assert extrapolate(known, 900) is not None
    few = course_of(scored(course[:-1]).evidence())
    assert not isinstance(few, Unknown)
    assert extrapolate(few, 900) is None


def test_too_little_is_not_evaluated() -> None:
    unknown(RULE, scored(3.0 * T[:7]), "fewer than 8")
    unknown(RULE, scored(3.0 * T).without("val/edit"), "was not logged")
