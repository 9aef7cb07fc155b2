"""Does the verdict keep its promise? Simulated detectors whose true difference is known.

Images are drawn from a pool that was matched once, so a repetition costs no matching.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.analysis.intervals import Paired, judge
from backend.analysis.reweighting import average_precision, bootstrap_counts, mean_over_classes
from backend.core.records import Verdict
from backend.scoring.detection import ClassMatches, Matches, match
from tests.support.detections import detector, ground_truth

POOL = 2000
IMAGES = 40
REPETITIONS = 200
Drawn = NDArray[np.intp]


@pytest.fixture(scope="module")
def pools() -> tuple[Matches, Matches, Matches]:
    """Two draws of one detector, and a clearly better one."""
    truth = ground_truth(images=POOL, classes=2, seed=1)
    return (
        match(truth, detector(truth, seed=2)),
        match(truth, detector(truth, seed=3)),
        match(truth, detector(truth, seed=4, found=0.95, jitter=0.05)),
    )


def subset(matches: Matches, images: Drawn) -> Matches:
    place = np.full(POOL, -1)
    place[images] = np.arange(len(images))
    classes = []
    for found in matches.classes:
        kept = place[found.images] >= 0
        classes.append(
            ClassMatches(
                name=found.name,
                scores=found.scores[kept],
                images=place[found.images[kept]],
                matched=found.matched[:, kept],
                ignored=found.ignored[:, kept],
                truths=found.truths[images],
            )
        )
    return Matches(tuple(range(len(images))), matches.thresholds, tuple(classes))


def verdicts(old: Matches, new: Matches, margin: float, repetitions: int) -> list[Verdict]:
    rng = np.random.default_rng(7)
    found = []
    for repetition in range(repetitions):
        images = np.sort(rng.choice(POOL, IMAGES, replace=False))
        counts = np.concatenate(
            [np.ones((1, IMAGES), np.uint16), bootstrap_counts(IMAGES, 300, repetition)]
        )
        old_values, new_values = (
            mean_over_classes(average_precision(subset(side, images), counts).mean(axis=2))
            for side in (old, new)
        )
        pair = Paired(
            "mAP50-95", old_values[0], new_values[0], old_values[1:], new_values[1:], IMAGES
        )
        found.append(judge(pair, 0.95, margin).verdict)
    return found


def test_equal_detectors_are_rarely_told_apart(pools: tuple[Matches, Matches, Matches]) -> None:
    """With no margin to hide behind, 'better' or 'worse' may come in 5 % of 200: 10, give or
    take 3.1; more than 19 has a chance below 0.3 %."""
    found = verdicts(pools[0], pools[1], margin=0.0, repetitions=REPETITIONS)

    wrong = sum(word in {"better", "worse"} for word in found)
    assert wrong <= 19
    assert "equivalent" not in found


def test_a_clear_improvement_is_found_nearly_always(
    pools: tuple[Matches, Matches, Matches],
) -> None:
    found = verdicts(pools[0], pools[2], margin=0.01, repetitions=50)

    assert found.count("better") >= 48
    assert "worse" not in found
