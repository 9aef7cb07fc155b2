"""Does the verdict of a comparison keep its promise? Simulated models, known truth, every task.

For each task made models are scored by the real task modules on a pool of units, once. Data
sets are drawn from the pool, so the pool's own metrics are the true values. Each data set is
compared as ``assay compare`` does:

- A/A: two draws of one model. "better" may come in at most 5 % (2.5 %, with as much "worse").
- A/B: two models that are truly better. The 95 % interval of the difference must hold the
  truth in 93 to 97 %, and "better" should come more often the larger the difference: the power.

Verdicts are given without a margin, so none is "equivalent" and nothing hides behind it. Rows
of 10 units say what few units are worth. The interval is what a comparison takes by default:
Student's below 100 units, BCa from there on. About five minutes on two idle cores.

    python benchmarks/bench_calibration.py [--trials 200] [--tasks detection tracking ...]
"""

import argparse
import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from backend.analysis.settings import ComparisonSettings
from backend.scoring.evidence import Evidence
from backend.scoring.tasks import TASKS
from tests.support.calibration import Outcome, repeat
from tests.support.simulated import SIMULATED

POOL = 60
BASE = 0.6
GAINS = (0.05, 0.1)
UNITS = (10, 25, 50, 100)


@dataclass(frozen=True)
class Scenario:
    """Two models of a task on data sets of ``units``; a ``gain`` of 0 is A/A."""

    task: str
    units: int
    gain: float
    trials: int
    replicates: int


@dataclass(frozen=True)
class Row:
    """What came of a scenario; ``difference`` is the true one in the primary metric."""

    scenario: Scenario
    difference: float
    outcome: Outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="Data sets per row.")
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    options = parser.parse_args()
    scenarios = [
        Scenario(task, units, gain, options.trials, options.replicates)
        for task in options.tasks
        for units in UNITS
        for gain in (0.0, *GAINS)
    ]
    print(header(options.trials, options.replicates), flush=True)
    with ProcessPoolExecutor(options.jobs) as workers:
        for row in workers.map(run, scenarios):
            print(line(row), flush=True)


def run(scenario: Scenario) -> Row:
    task = TASKS[scenario.task]
    pools = model(scenario.task, 0.0, 0), model(scenario.task, scenario.gain, 1)
    settings = ComparisonSettings(replicates=scenario.replicates, permutations=0, margin=0)
    alike = scenario.gain == 0
    outcome = repeat(task, pools, scenario.units, scenario.trials, settings, alike)
    old, new = (pool.scores().metrics[task.primary] or 0.0 for pool in pools)
    return Row(scenario, 0.0 if alike else new - old, outcome)


def model(task: str, gain: float, seed: int) -> Evidence:
    return SIMULATED[task](POOL, BASE + gain, seed)


def header(trials: int, replicates: int) -> str:
    error = math.sqrt(0.95 * 0.05 / trials)
    columns = ("task", "metric", "units", "true difference", "better", "worse", "undecided",
               "interval holds truth", "all metrics")  # fmt: skip
    return (
        f"{trials} data sets per row, {replicates} replicates, 95 % intervals, margin 0; a share "
        f"of 95 % is known to {100 * error:.1f} points\n\n"
        f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}"
    )


def line(row: Row) -> str:
    scenario, outcome = row.scenario, row.outcome
    primary = TASKS[scenario.task].primary
    difference = f"{row.difference:+.3f}" if scenario.gain else "0 (A/A)"
    shares = (
        *(outcome.share(word) for word in ("better", "worse", "undecided")),
        outcome.coverage(primary),
        outcome.coverage(),
    )
    cells = (scenario.task, primary, str(scenario.units), difference,
             *(f"{100 * share:.1f} %" for share in shares))  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
