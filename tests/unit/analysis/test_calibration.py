"""Does the verdict keep its promise? Simulated models whose true difference is known.

``benchmarks/bench_calibration.py`` asks the same of more data sets and prints a table.
"""

import pytest

from backend.analysis.intervals import Method
from backend.analysis.settings import ComparisonSettings
from backend.scoring.evidence import Evidence, Task
from backend.scoring.tasks import TASKS
from tests.support.calibration import Outcome, repeat
from tests.support.evidence import COUNTS, counted
from tests.support.simulated import SIMULATED

POOL = 40
TRIALS = 40


def outcome(
    task: Task, pools: tuple[Evidence, Evidence], units: int, trials: int, alike: bool = False,
    method: Method = "bca",
) -> Outcome:  # fmt: skip
    settings = ComparisonSettings(replicates=200, permutations=0, margin=0, interval=method)
    return repeat(task, pools, units, trials, settings, alike)


@pytest.mark.parametrize("method", ["bca", "percentile", "student"])
@pytest.mark.parametrize("units", [8, 100])
def test_intervals_hold_the_truth_as_often_as_they_say(units: int, method: Method) -> None:
    """95 % of 400: 380, give or take 4.4. Three of those are allowed, and one in a hundred
    for what a bootstrap of so few replicates and units is known to lack."""
    pools = counted(500, 0.6, seed=1), counted(500, 0.66, seed=2)

    found = outcome(COUNTS, pools, units, trials=400, method=method)

    assert 0.907 <= found.coverage("f1") <= 0.983


def test_equal_models_are_rarely_told_apart() -> None:
    """With no margin to hide behind, 'better' or 'worse' may come in 5 % of 400: 20, give or
    take 4.4; more than 35 has a chance below 0.1 %."""
    pools = counted(500, 0.6, seed=1), counted(500, 0.6, seed=2)

    found = outcome(COUNTS, pools, 40, trials=400, alike=True)

    assert 400 * found.share("better", "worse") <= 35
    assert found.verdicts["equivalent"] == 0


@pytest.mark.parametrize("task", list(TASKS))
def test_each_task_tells_equal_models_apart_rarely_and_better_ones_often(task: str) -> None:
    """5 % of 40 are 2, give or take 1.4; more than 7 has a chance below 0.1 %."""
    same, again, good = (
        SIMULATED[task](POOL, skill, seed) for seed, skill in enumerate((0.6, 0.6, 0.9))
    )

    equal = outcome(TASKS[task], (same, again), 25, TRIALS, alike=True)
    better = outcome(TASKS[task], (same, good), 40, TRIALS // 2)

    assert TRIALS * equal.share("better", "worse") <= 7
    assert better.share("better") >= 0.9
    assert better.verdicts["worse"] == 0
