"""The numbers behind the rules, against hand-made answers and scipy."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau, norm

from backend.analysis.diagnostics.evidence import Curve
from backend.analysis.diagnostics.series import (
    ema,
    late,
    noise,
    rate_share,
    running_median,
    slope,
    total_loss,
    trend,
    window,
)
from tests.support.evidence_made import healthy


def curve(values: list[float]) -> Curve:
    return Curve(np.arange(1, len(values) + 1) * 10, np.array(values))


def test_the_average_starts_at_the_first_value() -> None:
    assert ema([4.0, 0.0, 0.0]).tolist() == [4.0, 2.0, 1.0]
    assert ema([]).tolist() == []


def test_the_noise_of_a_line_is_none_and_that_of_noise_is_its_sigma() -> None:
    assert noise([1.0, 2.0, 3.0, 4.0]) == 0
    assert noise([1.0, 5.0]) == 0
    drawn = np.random.default_rng(0).normal(3.0, 0.2, 20_000) + np.linspace(0, 5, 20_000)
    assert noise(drawn) == pytest.approx(0.2, rel=0.05)
    assert noise([0.0, 1.0, 0.0, 1.0]) == pytest.approx(1.4826 * 0 / math.sqrt(2))
    assert noise([0.0, 3.0, 1.0, 5.0]) == pytest.approx(1.4826 * 1.0 / math.sqrt(2))


@pytest.mark.parametrize("seed", range(5))
def test_the_trend_is_mann_kendalls(seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 12, 40).astype(float)
    s = sum(np.sign(values[j] - values[i]) for i in range(40) for j in range(i + 1, 40))
    _, ties = np.unique(values, return_counts=True)
    variance = (40 * 39 * 85 - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    assert trend(values) == pytest.approx((s - np.sign(s)) / math.sqrt(variance))
    tau = kendalltau(np.arange(40), values, method="asymptotic")
    assert 2 * norm.sf(abs(trend(values))) == pytest.approx(tau.pvalue, abs=0.05)


def test_a_trend_needs_three_values_and_some_difference() -> None:
    assert trend([1.0, 2.0]) == 0
    assert trend([1.0] * 10) == 0
    assert trend(list(range(20))) > 5
    assert trend(list(range(20))[::-1]) < -5


def test_long_curves_are_thinned_not_refused() -> None:
    assert trend(np.arange(30_000.0)) > 10
    assert slope(Curve(np.arange(30_000), 3.0 * np.arange(30_000.0))) == pytest.approx(3.0)


def test_the_slope_is_per_step_and_shrugs_at_an_outlier() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 500.0, 6.0, 7.0]
    assert slope(curve(values)) == pytest.approx(0.1)
    assert slope(curve([1.0])) == 0


def test_the_window_is_a_tenth_of_the_planned_evaluations() -> None:
    assert window(healthy(24).evidence()) == 3
    assert window(healthy(24).planned(validations=55).evidence()) == 6
    assert window(healthy(12).replace(plan=None).evidence()) == 3


def test_late_is_a_fifth_of_the_steps() -> None:
    assert not late(healthy(20).first(3).evidence())
    assert late(healthy(20).first(4).evidence())


def test_a_loss_in_parts_is_their_sum() -> None:
    made = healthy(4).without("train/loss", "val/loss")
    total = total_loss(made.evidence(), "val")
    assert total is not None
    expected = made.curves["val/lcl_loss"] + made.curves["val/mlc_loss"]
    assert total.values == pytest.approx(expected)
    assert total_loss(made.without(*made.curves, "val/edit").evidence(), "val") is None


def test_the_share_of_the_rate_follows_the_schedule() -> None:
    made = healthy(10)
    shares = rate_share(made.evidence(), np.array(made.steps))
    assert shares is not None
    assert shares == pytest.approx(made.curves["lr/all"] / made.curves["lr/all"].max())
    assert rate_share(made.without("lr/all").evidence(), np.array(made.steps)) is None


def test_the_running_median_is_of_all_before() -> None:
    values = np.random.default_rng(0).standard_normal(50)
    assert running_median(values)[0] == math.inf
    assert running_median(values)[1:].tolist() == [
        float(np.median(values[:place])) for place in range(1, 50)
    ]
