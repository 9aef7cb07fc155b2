import numpy as np
import pytest
from scipy import stats

from backend.analysis.recipes import compare_recipes, improvement, iqm
from backend.analysis.settings import ComparisonSettings
from backend.core.comparisons import RecipeComparison
from backend.core.errors import ComparisonError
from tests.support.evidence import COUNTS, CountEvidence, counted

FEW = ComparisonSettings(replicates=200)


def runs(seeds: int, skill: float = 0.6, first: int = 0, units: int = 60) -> list[CountEvidence]:
    return [counted(units, skill, seed) for seed in range(first, first + seeds)]


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert iqm(np.array([9.0, 1, 2, 3, 4, 5, 6, -50])) == 3.5
    assert iqm(np.array([1.0, 2, 6])) == 3  # too few to leave any out


def test_improvement_counts_pairs_with_ties_half() -> None:
    old, new = np.array([1.0, 2, 3]), np.array([2.0, 4])

    assert improvement(old, new, "maximize") == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    assert improvement(old, new, "minimize") == pytest.approx(1 - 4.5 / 6)
    assert improvement(old, new, "maximize") == pytest.approx(
        stats.mannwhitneyu(new, old).statistic / 6
    )


def test_improvement_is_unknown_where_a_run_has_no_value() -> None:
    old, new = np.array([[1.0, 2], [1, np.nan]]), np.array([[3.0], [3]])

    np.testing.assert_array_equal(improvement(old, new, "maximize"), [1, np.nan])
    np.testing.assert_array_equal(improvement(old, new, "minimize"), [0, np.nan])


def test_few_units_and_seeds_that_are_all_alike_decide_nothing() -> None:
    def alike(units: int, hits: int) -> list[CountEvidence]:
        return [CountEvidence(np.tile(np.array([hits, 0, 4 - hits]), (units, 1, 1)))] * 3

    few = compare_recipes(COUNTS, alike(5, 1), alike(5, 3), FEW)
    many = compare_recipes(COUNTS, alike(30, 1), alike(30, 3), FEW)

    assert (few.low, few.baseline.low, few.verdict) == (None, None, "undecided")
    assert (many.low, many.high, many.verdict) == (many.delta, many.delta, "better")


def test_a_better_recipe_is_found() -> None:
    found = compare_recipes(COUNTS, runs(5), runs(5, 0.75, first=10), FEW)

    assert found.verdict == "better"
    assert len(found.baseline.values) == len(found.candidate.values) == 5
    assert found.delta == pytest.approx(found.candidate.iqm - found.baseline.iqm)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.delta < found.high
    assert (found.improvement, found.improvement_low) == (1, 1)
    for side in (found.baseline, found.candidate):
        assert side.low is not None
        assert side.high is not None
        assert side.low < side.iqm < side.high
    assert found.warnings == ()
    assert RecipeComparison.model_validate_json(found.model_dump_json()) == found


def test_turned_round_it_is_worse_by_the_same_interval() -> None:
    forth = compare_recipes(COUNTS, runs(5), runs(5, 0.75, first=10), FEW)
    back = compare_recipes(COUNTS, runs(5, 0.75, first=10), runs(5), FEW)

    assert back.verdict == "worse"
    assert back.delta == pytest.approx(-forth.delta)
    assert back.improvement == 0


def test_a_lucky_seed_is_no_better_recipe() -> None:
    """One run may win clearly; the spread between seeds says that the next may not."""
    lucky = [*runs(2), counted(60, 0.85, 7)]

    assert compare_recipes(COUNTS, runs(3, first=20), lucky, FEW).verdict == "undecided"


def test_of_equal_recipes_few_are_told_apart() -> None:
    """100 pairs of recipes whose seeds differ in skill: 5 give or take 2.2."""
    told = 0
    for trial in range(100):
        rng = np.random.default_rng(trial)
        sides = [
            [counted(60, rng.normal(0.6, 0.03), int(rng.integers(1 << 30)), trial) for _ in "abc"]
            for _ in "ab"
        ]
        settings = ComparisonSettings(replicates=100, margin=0)
        told += compare_recipes(COUNTS, sides[0], sides[1], settings).verdict in {
            "better",
            "worse",
        }

    assert told <= 12


@pytest.mark.parametrize(("old", "new"), [(1, 1), (2, 5), (5, 2)])
def test_with_fewer_than_three_seeds_it_cannot_be_decided(old: int, new: int) -> None:
    found = compare_recipes(COUNTS, runs(old), runs(new, 0.9, first=10), FEW)

    assert (found.low, found.high, found.verdict) == (None, None, "undecided")
    assert found.improvement == 1
    assert (found.improvement_low, found.improvement_high) == (None, None)
    assert f"With {min(old, new)} seed" in found.warnings[0]
    assert "cannot be decided; train at least 3" in found.warnings[0]


def test_three_seeds_are_decided_with_a_warning() -> None:
    found = compare_recipes(COUNTS, runs(3), runs(3, 0.9, first=10), FEW)

    assert found.verdict == "better"
    assert "With 3 seeds on a side the spread between seeds is a rough guess" in found.warnings[0]


def test_few_units_are_warned_of() -> None:
    found = compare_recipes(COUNTS, runs(5, units=8), runs(5, first=9, units=8), FEW)

    assert "Only 8 units carry ground truth" in found.warnings[0]


def test_recipes_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ComparisonError, match="without any run"):
        compare_recipes(COUNTS, [], runs(3))
    with pytest.raises(ComparisonError, match="different ground truth"):
        compare_recipes(COUNTS, runs(3), [CountEvidence(counted().found, digest="other")] * 3)
    nothing = [CountEvidence(np.zeros((30, 2, 3), dtype=np.int64))] * 3
    with pytest.raises(ComparisonError, match="f1 is undefined in a run"):
        compare_recipes(COUNTS, nothing, nothing)
