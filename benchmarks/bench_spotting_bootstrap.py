"""What 1,000 bootstrap replicates of event spotting cost, against one evaluation of the clips.

Made data in the size of F3Set's tennis split: 1,883 clips of some 94 strided frames with 3.7
events each, 29 elements, more than 600 event types, a score per frame. Contestants take turns:
one evaluation in memory (matching and all metrics), the replicates from its evidence, and
replicates as one would do them by hand (copy the clips that were drawn, evaluate again). Of the
last, ``--naive`` are timed and the time of all is estimated from their median. Both ways must
give the same numbers.

    python benchmarks/bench_spotting_bootstrap.py [--clips 1883] [--replicates 1000] [--naive 5]
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from backend.scoring.evidence import Counts
from backend.scoring.spotting.task import Clip, Events, SpottingEvidence, match

ELEMENTS = tuple(f"element {number}" for number in range(29))
TYPES = 640


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1883)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--naive", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    clips = made(options.clips)
    even = np.full(len(clips), 1 / len(clips))
    drawn = np.random.default_rng(1).multinomial(len(clips), even, size=options.replicates)
    counts: Counts = drawn.astype(np.uint16)
    seconds: dict[str, list[float]] = {"evaluation": [], "replicates": [], "one by hand": []}
    evidence = match(ELEMENTS, clips)
    for turn in range(options.rounds):
        seconds["evaluation"].append(timed(partial(evaluated, clips)))
        seconds["replicates"].append(timed(partial(fresh(evidence).table, counts)))
        if turn < options.naive:
            again = by_hand(clips, counts[turn])
            seconds["one by hand"].append(timed(partial(evaluated, again)))
    check(evidence, evidence.table(counts), clips, counts[: options.naive])
    peak = memory(partial(fresh(evidence).table, counts))
    report({name: statistics.median(took) for name, took in seconds.items()}, counts, peak)


def made(number: int) -> list[Clip]:
    """Clips and detections: most right, some late, wrong, doubled or missed."""
    rng = np.random.default_rng(0)
    types = rng.random((TYPES, len(ELEMENTS))) < 6.5 / len(ELEMENTS)
    often = 1 / np.arange(1, TYPES + 1)
    often /= often.sum()
    return [_clip(rng, f"clip {n}", types, often) for n in range(number)]


def _clip(rng: np.random.Generator, name: str, types: np.ndarray, often: np.ndarray) -> Clip:
    frames = int(rng.integers(60, 129))
    at = np.unique(rng.integers(0, frames, 1 + rng.poisson(2.8)))
    kinds = rng.choice(len(types), len(at), p=often)
    kept = rng.random(len(at)) < 0.85
    late = np.clip(at[kept] + rng.integers(-1, 3, kept.sum()), 0, frames - 1)
    seen = np.where(rng.random(kept.sum()) < 0.7, kinds[kept], rng.choice(len(types), kept.sum()))
    late, first = np.unique(late, return_index=True)
    scores = rng.random(frames) * 0.6
    scores[at] += 0.3
    return Clip(name, frames, Events(at, types[kinds]), Events(late, types[seen[first]]), scores)


def evaluated(clips: list[Clip]) -> SpottingEvidence:
    evidence = match(ELEMENTS, clips)
    evidence.scores()
    return evidence


def fresh(evidence: SpottingEvidence) -> SpottingEvidence:
    """The same evidence without what it has cached, as if it came from disk."""
    frames = evidence.frames
    return replace(evidence, frames=replace(frames) if frames else None)


def by_hand(clips: list[Clip], counts: np.ndarray) -> list[Clip]:
    return [
        replace(clip, name=f"{clip.name}, copy {n}")
        for clip, count in zip(clips, counts.tolist(), strict=True)
        for n in range(count)
    ]


def check(
    evidence: SpottingEvidence, table: np.ndarray, clips: list[Clip], counts: Counts
) -> None:
    for row, drawn in zip(table, counts, strict=False):
        metrics = match(ELEMENTS, by_hand(clips, drawn)).scores().metrics
        for column, value in zip(evidence.columns, row, strict=True):
            if not column.label:
                assert np.isclose(metrics[column.metric], value, rtol=0, atol=1e-9), column


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(work: Callable[[], object]) -> float:
    """MB held at most beyond what was held before."""
    tracemalloc.start()
    work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def report(seconds: dict[str, float], counts: Counts, peak: float) -> None:
    replicates, units = counts.shape
    one, many, hand = seconds["evaluation"], seconds["replicates"], seconds["one by hand"]
    print(f"{units:,} clips, {replicates:,} replicates")
    print(f"one evaluation                  {one:8.2f} s")
    print(f"replicates from the evidence    {many:8.2f} s, {many / one:.1f} evaluations")
    print(f"replicates by hand, estimated   {hand * replicates:8.0f} s, from {hand:.2f} s each: "
          f"{hand * replicates / many:.0f} times as long")  # fmt: skip
    print(f"memory of the replicates        {peak:8.0f} MB at most")


if __name__ == "__main__":
    main()
