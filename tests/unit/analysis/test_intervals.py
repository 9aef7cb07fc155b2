import math

import numpy as np
import pytest
from scipy import stats

from backend.analysis.intervals import Method, Paired, interval, judge, needed, verdict
from backend.core.comparisons import Verdict
from backend.core.records import Direction
from backend.scoring.evidence import Floats

METHODS: tuple[Method, ...] = ("bca", "percentile", "student")


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


NOISE = np.random.default_rng(0)


def left_out(skewed: float = 0.0) -> Floats:
    """What a mean is without each of 200 units, of which every tenth is larger by ``skewed``."""
    units = np.random.default_rng(1).normal(0, 1, 200)
    units[::10] += skewed
    return np.asarray((units.sum() - units) / 199)


def test_an_interval_of_many_units_is_the_textbook_one() -> None:
    replicates = NOISE.normal(0.1, 0.02, 200_000)

    for method in METHODS:
        found = interval(0.1, replicates, left_out(), 10_000, 0.95, method)
        expected = (0.1 - 1.96 * 0.02, 0.1 + 1.96 * 0.02)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-3)
        assert found.method == method


def test_percentile_intervals_are_widened_as_student_did() -> None:
    """The replicates' spread is sqrt((n-1)/n) too small, and t takes the place of z."""
    replicates = NOISE.normal(0, 1, 400_000)

    found = interval(0.0, replicates, left_out(), 25, 0.95, "percentile")

    assert found.high == pytest.approx(2.0639 * math.sqrt(25 / 24), abs=0.03)


def test_bca_is_the_formula_of_efron() -> None:
    """z0 from the share of replicates below, a from the jackknife, checked against scipy."""
    rng = np.random.default_rng(3)
    units = (rng.random(400) < 0.1) + rng.normal(0, 0.05, 400)
    result = stats.bootstrap((units,), np.mean, n_resamples=4000, rng=rng, method="BCa",
                             confidence_level=0.9)  # fmt: skip
    without = (units.sum() - units) / 399
    reach = stats.t.ppf(0.95, 399) * math.sqrt(400 / 399)
    same_reach = 2 * stats.norm.cdf(reach) - 1  # scipy does not stretch, so it is asked for more
    wider = stats.bootstrap((units,), np.mean, bootstrap_result=result, n_resamples=0,
                            method="BCa", confidence_level=same_reach)  # fmt: skip

    found = interval(float(units.mean()), result.bootstrap_distribution, without, 400, 0.9)

    assert found.method == "bca"
    assert (found.low, found.high) == pytest.approx(tuple(wider.confidence_interval), abs=2e-4)
    plain = interval(float(units.mean()), result.bootstrap_distribution, without, 400, 0.9,
                     "percentile")  # fmt: skip
    assert found.low > plain.low + 4e-4


def test_bca_reaches_further_towards_a_long_tail() -> None:
    replicates = NOISE.normal(0, 1, 50_000)

    plain = interval(0.0, replicates, left_out(), 200, 0.95)
    skewed = interval(0.0, replicates, left_out(9.0), 200, 0.95)

    assert skewed.low > plain.low + 0.08
    assert skewed.high > plain.high + 0.08


def test_a_single_unit_does_not_bend_the_interval() -> None:
    """How skewed the data are cannot be known from one outlier."""
    replicates = NOISE.normal(0, 1, 50_000)
    units = np.zeros(200)
    units[0] = 1.0

    found = interval(0.0, replicates, -units, 200, 0.95)

    percentile = interval(0.0, replicates, -units, 200, 0.95, "percentile")
    assert (found.low, found.high) == pytest.approx((percentile.low, percentile.high), abs=0.05)


@pytest.mark.parametrize(
    ("delta", "without"),
    [(9.0, left_out()), (-9.0, left_out()), (0.0, np.zeros(9)), (0.0, np.full(9, np.nan))],
)
def test_where_bca_is_undefined_the_percentile_takes_its_place(
    delta: float, without: Floats
) -> None:
    replicates = NOISE.normal(0, 1, 1000)

    found = interval(delta, replicates, without, 200, 0.95)

    assert found.method == "percentile"
    assert found == interval(delta, replicates, without, 200, 0.95, "percentile")


@pytest.mark.parametrize(
    ("method", "units", "taken"),
    [
        ("bca", 100, "bca"),
        ("bca", 99, "student"),
        ("percentile", 20, "percentile"),
        ("percentile", 19, "student"),
        ("student", 5000, "student"),
    ],
)
def test_each_interval_is_used_from_so_many_units_on(
    method: Method, units: int, taken: Method
) -> None:
    replicates = NOISE.normal(0, 1, 1000)

    assert interval(0.0, replicates, left_out(), units, 0.95, method).method == taken


def test_few_units_have_students_interval() -> None:
    """Two units make three different sets; their quantiles would decide by chance."""
    replicates = np.array([0.1, 0.2, 0.2, 0.3])  # of units that gained 0.1 and 0.3

    found = interval(0.2, replicates, np.array([0.3, 0.1]), 2, 0.95)

    assert found.method == "student"
    exact = stats.t.interval(0.95, 1, 0.2, stats.sem([0.1, 0.3]))
    assert (found.low, found.high) == pytest.approx(exact)


def paired(
    old: list[float],
    new: list[float],
    units: int = 50,
    direction: Direction = "maximize",
    left_out: Floats | None = None,
) -> Paired:
    differences = np.array(new) - np.array(old)
    return Paired("m", old[0], new[0], differences, np.zeros(2) if left_out is None else left_out,
                  units, direction)  # fmt: skip


def test_wins_are_the_share_of_replicates_with_ties_half() -> None:
    old, new = [0.5, 0.5, 0.5, 0.5], [0.6, 0.5, 0.4, 0.7]

    assert judge(paired(old, new), 0.95, 0.01).wins == 0.625
    assert judge(paired(old, new, direction="minimize"), 0.95, 0.01).wins == 0.375


def test_equal_sides_are_exactly_equal() -> None:
    replicates = [0.1 + 0.2, 0.7, 0.4]
    noisy = [0.3, 0.7, 0.4]  # 0.1 + 0.2 is not 0.3 in binary

    found = judge(paired(replicates, noisy), 0.95, 0.0)

    assert (found.delta, found.low, found.high, found.wins) == (0, 0, 0, 0.5)
    assert (found.verdict, found.needed) == ("equivalent", None)


def test_undefined_replicates_are_left_out() -> None:
    found = judge(paired([0.2, math.nan, 0.2], [0.5, math.nan, 0.5]), 0.95, 0.01)

    assert (found.delta, found.low, found.high, found.wins) == pytest.approx((0.3, 0.3, 0.3, 1))


def test_an_undefined_metric_stays_undefined() -> None:
    found = judge(paired([math.nan, math.nan], [math.nan, math.nan]), 0.95, 0.01)

    assert (found.baseline, found.candidate, found.delta, found.low, found.wins) == (None,) * 5
    assert (found.verdict, found.needed) == ("undecided", None)


def test_one_unit_gives_no_interval() -> None:
    found = judge(paired([0.2, 0.2], [0.9, 0.9], units=1), 0.95, 0.01)

    assert found.delta == pytest.approx(0.7)
    assert (found.low, found.high, found.wins, found.verdict) == (None, None, None, "undecided")


def test_two_units_that_gain_the_same_or_nothing_decide_nothing() -> None:
    gained, equal = ([0.2, 0.2, 0.2], [0.7, 0.7, 0.7]), ([0.2, 0.2, 0.2], [0.2, 0.2, 0.2])

    assert judge(paired(*gained, units=2), 0.95, 0.01).verdict == "undecided"
    assert judge(paired(*gained, units=2), 0.95, 0.01).low is None
    assert judge(paired(*equal, units=2), 0.95, 0.01).verdict == "undecided"
    assert judge(paired(*equal, units=20), 0.95, 0.01).verdict == "equivalent"
    assert judge(paired(*gained, units=20), 0.95, 0.01).verdict == "better"


def test_the_units_needed_shrink_with_the_square_of_the_difference() -> None:
    replicates = NOISE.normal(0, 0.02, 100_000)

    small, large = (needed(d, replicates, 100, 0.95, margin=0.0) for d in (0.01, 0.02))

    assert small == pytest.approx(100 * (2.8016 * 0.02 / 0.01) ** 2 * 100 / 99, rel=0.02)
    assert small is not None
    assert large == pytest.approx(small / 4, rel=0.02)


def test_equivalence_needs_units_too() -> None:
    """A difference of nothing: the interval must shrink into the margin."""
    replicates = NOISE.normal(0, 0.02, 100_000)

    assert needed(0.0, replicates, 100, 0.95, margin=0.01) == needed(
        0.01, replicates, 100, 0.95, margin=0.0
    )
    assert needed(0.0, replicates, 100, 0.95, margin=0.0) is None
    assert needed(0.3, np.full(5, 0.3), 100, 0.95, margin=0.0) is None


def test_with_the_needed_units_four_of_five_data_sets_decide() -> None:
    rng = np.random.default_rng(4)
    first = rng.normal(0.1, 1, 50)
    resampled = rng.choice(first, (2000, 50)).mean(axis=1)
    first += 0.1 - first.mean()
    number = needed(0.1, resampled, 50, 0.95, margin=0.0)
    assert number is not None
    spread = first.std(ddof=1)

    t = rng.normal(0.1, spread, (1000, number))
    decided = np.abs(t.mean(axis=1)) > 1.96 * t.std(axis=1) / math.sqrt(number)

    assert decided.mean() == pytest.approx(0.8, abs=0.05)


def test_only_what_is_undecided_says_how_many_units_are_needed() -> None:
    old, rng = np.zeros(500), np.random.default_rng(5)
    unclear, clear = (
        judge(Paired("m", 0.0, d, rng.normal(d, 1.0, 500) - old, left_out(), 50), 0.95, 0.01)
        for d in (0.5, 9.0)
    )

    assert (unclear.verdict, clear.verdict) == ("undecided", "better")
    assert unclear.needed is not None
    assert unclear.needed > 50
    assert clear.needed is None
