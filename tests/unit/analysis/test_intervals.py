import math

import numpy as np
import pytest

from backend.analysis.intervals import Paired, interval, judge, student_quantile, verdict
from backend.core.records import Direction, Verdict


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.05, "better"),
        (0.001, 0.05, "better"),
        (-0.05, -0.02, "worse"),
        (-0.05, 0.02, "undecided"),
        (0.0, 0.05, "undecided"),
        (-0.05, 0.0, "undecided"),
        (-0.01, 0.01, "equivalent"),
        (0.002, 0.008, "equivalent"),
        (-0.008, -0.002, "equivalent"),
        (0.0, 0.0, "equivalent"),
        (None, None, "undecided"),
    ],
)
def test_verdict(low: float | None, high: float | None, expected: Verdict) -> None:
    assert verdict(low, high, margin=0.01) == expected


def test_without_a_margin_only_no_difference_at_all_is_equivalent() -> None:
    assert verdict(0.0, 0.0, margin=0) == "equivalent"
    assert verdict(1e-9, 1e-8, margin=0) == "better"


def test_where_less_is_better_the_verdict_turns_round() -> None:
    assert verdict(-0.05, -0.02, 0.01, "minimize") == "better"
    assert verdict(0.02, 0.05, 0.01, "minimize") == "worse"
    assert verdict(-0.05, 0.02, 0.01, "minimize") == "undecided"


@pytest.mark.parametrize(
    ("probability", "freedom", "expected"),
    [(0.975, 9, 2.262157), (0.975, 19, 2.093024), (0.975, 39, 2.022691), (0.95, 9, 1.833113),
     (0.995, 19, 2.860935), (0.975, 4999, 1.960439)],
)  # fmt: skip
def test_student_quantiles_are_those_of_the_tables(
    probability: float, freedom: int, expected: float
) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(expected, rel=1e-3)


def test_interval_of_normal_replicates() -> None:
    differences = np.random.default_rng(0).normal(0.1, 0.02, 200_000)

    low, high = interval(differences, 0.95, units=10_000)

    assert (low, high) == pytest.approx((0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02), abs=4e-4)


def test_few_units_widen_the_interval_as_student_did() -> None:
    """The replicates' spread is sqrt((n-1)/n) too small, and t takes the place of z."""
    differences = np.random.default_rng(0).normal(0, 1, 400_000)

    _, high = interval(differences, 0.95, units=10)

    assert high == pytest.approx(2.262 * math.sqrt(10 / 9), abs=0.03)


def paired(
    old: list[float], new: list[float], units: int = 50, direction: Direction = "maximize"
) -> Paired:
    return Paired("m", old[0], new[0], np.array(old), np.array(new), units, direction)


def test_wins_are_the_share_of_replicates_with_ties_half() -> None:
    old, new = [0.5, 0.5, 0.5, 0.5], [0.6, 0.5, 0.4, 0.7]

    assert judge(paired(old, new), 0.95, 0.01).wins == 0.625
    assert judge(paired(old, new, direction="minimize"), 0.95, 0.01).wins == 0.375


def test_equal_sides_are_exactly_equal() -> None:
    replicates = [0.1 + 0.2, 0.7, 0.4]
    noisy = [0.3, 0.7, 0.4]  # 0.1 + 0.2 is not 0.3 in binary

    found = judge(paired(replicates, noisy), 0.95, 0.0)

    assert (found.delta, found.low, found.high, found.wins) == (0, 0, 0, 0.5)
    assert found.verdict == "equivalent"


def test_undefined_replicates_are_left_out() -> None:
    found = judge(paired([0.2, math.nan, 0.2], [0.5, math.nan, 0.5]), 0.95, 0.01)

    assert (found.delta, found.low, found.high, found.wins) == pytest.approx((0.3, 0.3, 0.3, 1))


def test_an_undefined_metric_stays_undefined() -> None:
    found = judge(paired([math.nan, math.nan], [math.nan, math.nan]), 0.95, 0.01)

    assert (found.baseline, found.candidate, found.delta, found.low, found.wins) == (None,) * 5
    assert found.verdict == "undecided"


def test_one_unit_gives_no_interval() -> None:
    found = judge(paired([0.2, 0.2], [0.9, 0.9], units=1), 0.95, 0.01)

    assert found.delta == pytest.approx(0.7)
    assert (found.low, found.high, found.wins, found.verdict) == (None, None, None, "undecided")
