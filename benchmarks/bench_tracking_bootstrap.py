"""What a bootstrap of HOTA over sequences costs, in one run on one machine.

Made sequences with a made tracker. One evaluation by trackeval (HOTA, CLEAR and Identity of
each sequence, class-agnostic, then their combination; reading is not counted) is the
yardstick. Against it:

* Assay matching the same boxes once, in every view (class-agnostic and three classes);
* all replicates of every column of that evidence (class-agnostic, per class, averages);
* trackeval's ``combine_sequences`` on the drawn sequences, class-agnostic only: what a
  bootstrap without our evidence would do. A few replicates are run and extrapolated to all.

The contestants take turns; medians over rounds. Both bootstraps must agree to 1e-12.

    python benchmarks/bench_tracking_bootstrap.py [--sequences 40] [--replicates 1000]
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from tests.support.tracks import Judge, made_sequence

CLASSES = (1, 2, 3)
NAIVE = 50  # replicates that are really recomputed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=40)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ways = contestants(options)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        answers = {}
        for name, way in ways.items():
            start = time.perf_counter()
            answers[name] = way()
            times[name].append(time.perf_counter() - start)
        agree(answers["replicates"], answers["naive"])
    report(options, {name: statistics.median(taken) for name, taken in times.items()})


def contestants(options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    from backend.scoring.tracking.motchallenge import Sequence, tracks
    from backend.scoring.tracking.task import match

    number, frames = options.sequences, options.frames
    made = [made_sequence(seed, frames, options.objects, CLASSES) for seed in range(number)]
    sequences = [
        Sequence(f"{at}", frames, tracks(truth), tracks(found))
        for at, (truth, found) in enumerate(made)
    ]
    judge = Judge()
    prepared = [judge.data(truth, found, frames) for truth, found in made]
    results = np.array([judge.evaluated(data) for data in prepared], dtype=object)
    evidence = match(sequences)
    chance = np.random.default_rng(0)
    draws = chance.multinomial(number, [1 / number] * number, options.replicates)
    counts = draws.astype(np.uint16)
    return {
        "trackeval": lambda: judge.combined(judge.evaluated(data) for data in prepared),
        "matching": lambda: match(sequences),
        "replicates": lambda: evidence.table(counts),
        "naive": lambda: [
            judge.combined(np.repeat(results, drawn))["HOTA"] for drawn in counts[:NAIVE]
        ],
    }


def agree(table: Any, theirs: list[float]) -> None:
    if not np.allclose(table[: len(theirs), 0], theirs, rtol=0, atol=1e-12):
        raise SystemExit("the two bootstraps disagree: their times mean nothing")


def report(options: argparse.Namespace, taken: dict[str, float]) -> None:
    one, ours = taken["trackeval"], taken["replicates"]
    naive = taken["naive"] / min(NAIVE, options.replicates) * options.replicates
    rows = {
        "trackeval, one evaluation, class-agnostic": one,
        f"Assay: matching once, {1 + len(CLASSES)} views": taken["matching"],
        f"Assay: {options.replicates} replicates, all columns": ours,
        f"combine_sequences, {options.replicates} replicates ({NAIVE} run)": naive,
    }
    print(f"{options.sequences} sequences x {options.frames} frames x {options.objects} objects")
    for name, cost in rows.items():
        print(f"{name:52} {cost:9.3f} s {cost / one:8.3f} of one evaluation")
    print(f"combining again / Assay's replicates: {naive / ours:.0f}x")


if __name__ == "__main__":
    main()
