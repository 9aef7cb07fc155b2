"""What 1,000 bootstrap replicates of temporal mAP cost, in one run on one machine.

Made data of THUMOS-14's shape: 200 videos x 20 classes x 5 thresholds, 15 segments and 200
predictions per video. The contestants take turns within each round: one evaluation of the files
(read, match, score), one of what is already in memory (match, score), 1,000 replicates of the
evidence, and naive replicates: the evaluator run again on the drawn videos. Few of the naive ones
are run; 1,000 are extrapolated from their mean. Before that the naive numbers are held against
those of the evidence. No packaged evaluator exists to be measured beside.

    python benchmarks/bench_temporal_bootstrap.py [--videos 200] [--predictions 200] [--rounds 5]
"""

import argparse
import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from backend.scoring.temporal.task import TemporalEvidence, TemporalOptions, match, read

CLASSES = 20
SEGMENTS = 15
REPLICATES = 1000
OPTIONS = TemporalOptions()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--predictions", type=int, default=200, help="per video")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--naive", type=int, default=3, help="replicates per round")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    truth, results = dataset(rng, options.videos, options.predictions)
    evidence = match(truth, results, OPTIONS)
    counts = np.array([draw(rng, options.videos) for _ in range(REPLICATES)])
    check(evidence, truth, results, counts[: options.naive])
    with tempfile.TemporaryDirectory() as folder:
        gt, pred = Path(folder, "gt.json"), Path(folder, "pred.json")
        gt.write_text(json.dumps(truth))
        pred.write_text(json.dumps(results))
        ways: dict[str, Callable[[], object]] = {
            "one evaluation of files": lambda: read(gt, pred, OPTIONS).scores(),
            "one evaluation in memory": lambda: match(truth, results, OPTIONS).scores(),
            "1,000 replicates": lambda: evidence.table(counts),
            "naive replicate": lambda: [
                match(*drawn(truth, results, row), OPTIONS).table(ones(row.sum()))
                for row in counts[: options.naive]
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, way in ways.items():
                seconds[name].append(timed(way))
    report({name: statistics.median(values) for name, values in seconds.items()}, options.naive)
    tracemalloc.start()
    evidence.table(counts)
    print(f"peak memory of 1,000 replicates: {tracemalloc.get_traced_memory()[1] / 2**20:.0f} MiB")


def dataset(rng: np.random.Generator, videos: int, predictions: int) -> tuple[Any, Any]:
    """Annotations and results; half of the predictions lie near a segment of their video."""
    database, results = {}, {}
    for video in range(videos):
        labels = rng.integers(0, CLASSES, 2)[rng.integers(0, 2, SEGMENTS)]
        starts = rng.uniform(0, 200, SEGMENTS)
        bounds = np.stack([starts, starts + rng.uniform(1, 10, SEGMENTS)], axis=1)
        near = rng.integers(0, SEGMENTS, predictions)
        right = rng.random(predictions) < 0.5
        classes = np.where(right, labels[near], rng.integers(0, CLASSES, predictions))
        moved = np.sort(bounds[near] + rng.normal(0, 1, (predictions, 2)), axis=1)
        scores = rng.beta(np.where(right, 4, 2), np.where(right, 2, 4))
        name = f"video_{video:05d}"
        database[name] = {
            "subset": "test",
            "duration": 220.0,
            "annotations": [
                {"label": f"class {label}", "segment": segment}
                for label, segment in zip(labels.tolist(), bounds.tolist(), strict=True)
            ],
        }
        results[name] = [
            {"label": f"class {label}", "segment": segment, "score": score}
            for label, segment, score in zip(
                classes.tolist(), moved.tolist(), scores.tolist(), strict=True
            )
        ]
    return {"database": database}, {"results": results}


def draw(rng: np.random.Generator, videos: int) -> Any:
    return np.bincount(rng.integers(0, videos, videos), minlength=videos).astype(np.uint16)


def drawn(truth: Any, results: Any, counts: Any) -> tuple[Any, Any]:
    """The dataset of one replicate, each draw of a video under a name of its own."""
    names = [
        (name, f"{name}#{copy}")
        for name, count in zip(truth["database"], counts.tolist(), strict=True)
        for copy in range(count)
    ]
    database = {copy: truth["database"][name] for name, copy in names}
    return {"database": database}, {
        "results": {copy: results["results"][name] for name, copy in names}
    }


def ones(videos: int) -> Any:
    return np.ones((1, videos), dtype=np.uint16)


def check(evidence: TemporalEvidence, truth: Any, results: Any, counts: Any) -> None:
    """Naive and reweighted replicates are the same numbers."""
    shared = 1 + len(OPTIONS.tiou)
    for fast, row in zip(evidence.table(counts)[:, :shared], counts, strict=True):
        slow = match(*drawn(truth, results, row), OPTIONS).table(ones(row.sum()))
        np.testing.assert_allclose(fast, slow[0, :shared], atol=1e-12)


def timed(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def report(seconds: dict[str, float], naive: int) -> None:
    seconds["naive replicate"] /= naive
    seconds["1,000 naive replicates (extrapolated)"] = REPLICATES * seconds["naive replicate"]
    ours = seconds["1,000 replicates"]
    print(f"{'what':40} {'seconds':>9} {'1,000 replicates cost':>23}")
    for name, value in seconds.items():
        print(f"{name:40} {value:9.3f} {ours / value:22.3f}x")


if __name__ == "__main__":
    main()
