"""Simulated models of each task on made data, scored by the real task modules, in memory.

A model has a skill between 0 and 1, and a seed: two seeds of one skill are two draws of one
model. Units differ in how hard they are, for every model alike.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from backend.scoring.detection import task as detection
from backend.scoring.evidence import Evidence
from backend.scoring.spotting import task as spotting
from backend.scoring.spotting.task import Clip, Events
from backend.scoring.temporal import task as temporal
from backend.scoring.tracking import task as tracking
from backend.scoring.tracking.motchallenge import Sequence, tracks
from tests.support.detections import detector, ground_truth

Simulate = Callable[[int, float, int], Evidence]
"""Units, skill and seed of the model."""


def hardness(units: int) -> Any:
    """How hard each unit is, 0.5 to 2."""
    return np.random.default_rng(0).uniform(0.5, 2, units)


def simulated_detection(units: int, skill: float, seed: int) -> Evidence:
    """Images with boxes of two classes: misses, jitter, false detections."""
    truth = ground_truth(units, classes=2, seed=96)
    rng = np.random.default_rng(seed)
    error = 1 - skill
    found = []
    for number, hard in enumerate(hardness(units)):
        image = truth["images"][number]
        boxes = [box for box in truth["annotations"] if box["image_id"] == image["id"]]
        found += detector(
            truth | {"images": [image], "annotations": boxes},
            seed=int(rng.integers(1 << 30)),
            found=1 - min(0.9, 0.5 * error * hard),
            jitter=0.2 * error * hard,
            noise=2 * error * hard,
        )
    return detection.evaluate(truth, found)


def simulated_tracking(units: int, skill: float, seed: int) -> Evidence:
    """Sequences of eight frames with three objects: misses, jitter, changed identities."""
    return tracking.match(simulated_sequences(units, skill, seed))


def simulated_sequences(units: int, skill: float, seed: int) -> list[Sequence]:
    """What ``simulated_tracking`` scores."""
    return [
        _sequence(number, hard * (1 - skill), np.random.default_rng([seed, number]))
        for number, hard in enumerate(hardness(units))
    ]


def _sequence(number: int, error: float, rng: np.random.Generator) -> Sequence:
    truths = np.random.default_rng([99, number])
    start, speed = truths.uniform(0, 200, (3, 2)), truths.uniform(-4, 4, (3, 2))
    truth, found, ids = [], [], np.arange(3) + 10
    for frame in range(1, 9):
        for body in range(3):
            box = np.array([*(start[body] + speed[body] * frame), 40, 60])
            truth.append([frame, body + 1, *box, 1])
            if rng.random() < 0.4 * error:
                ids[body] = ids.max() + 1
            if rng.random() > 0.8 * error:
                moved = box[:2] + rng.normal(0, 20 * error, 2)
                found.append([frame, ids[body], *moved, 40, 60, 0.9])
    rows = (np.array(side, dtype=np.float64).reshape(-1, 7) for side in (truth, found))
    return Sequence(f"{number:04d}", 8, tracks(next(rows), truth=True), tracks(next(rows)))


def simulated_temporal(units: int, skill: float, seed: int) -> Evidence:
    """Videos with actions of two classes: misses, jitter, false detections."""
    database, results = {}, {}
    for number, hard in enumerate(hardness(units)):
        truths, rng = np.random.default_rng([98, number]), np.random.default_rng([seed, number])
        error = hard * (1 - skill)
        annotations, found = [], []
        for _ in range(1 + truths.poisson(2)):
            start, length = truths.uniform(0, 180), truths.uniform(4, 20)
            label = f"class {truths.integers(2)}"
            annotations.append({"label": label, "segment": [start, start + length]})
            if rng.random() > 0.5 * error:
                shift, stretch = rng.normal(0, 0.4 * error * length, 2)
                end = start + shift + max(1.0, length + stretch)
                found.append((label, start + shift, end, rng.beta(4, 2)))
        for _ in range(rng.poisson(2 * error)):
            start = rng.uniform(0, 180)
            found.append((f"class {rng.integers(2)}", start, start + 8, rng.beta(2, 4)))
        name = f"{number:04d}"
        database[name] = {"subset": "test", "duration": 400.0, "annotations": annotations}
        results[name] = [
            {"label": label, "segment": [start, end], "score": score}
            for label, start, end, score in found
        ]
    files = {"database": database}, {"results": results}
    return temporal.match(*files, temporal.TemporalOptions())


def simulated_spotting(units: int, skill: float, seed: int) -> Evidence:
    """Clips with events of three elements: misses, shifts, second detections, wrong
    elements, false events."""
    clips = []
    for number, hard in enumerate(hardness(units)):
        truths, rng = np.random.default_rng([97, number]), np.random.default_rng([seed, number])
        error = hard * (1 - skill)
        event = np.zeros(40, dtype=np.bool_)
        event[truths.choice(np.arange(2, 38, 4), 1 + truths.poisson(2), replace=False)] = True
        elements = truths.random((40, 3)) < 0.5
        found, guessed = np.zeros_like(event), elements ^ (rng.random((40, 3)) < 0.15 * error)
        for frame in np.flatnonzero(event):
            if rng.random() > 0.5 * error:
                shift = int(np.clip(round(rng.normal(0, error)), -2, 2))
                found[frame + shift] = True
                guessed[frame + shift] = guessed[frame]
                if rng.random() < 0.2 * error and frame + shift < 39:
                    found[frame + shift + 1] = True
        found |= rng.random(40) < 0.03 * error
        scores = np.clip(0.6 * found + rng.normal(0.2, 0.3 * error, 40), 0, 1)
        name = f"{number:04d}"
        sides = (Events.from_masks(event, elements), Events.from_masks(found, guessed))
        clips.append(Clip(name, 40, *sides, scores))
    return spotting.match(("near", "cross", "serve"), clips)


SIMULATED: dict[str, Simulate] = {
    "detection": simulated_detection,
    "tracking": simulated_tracking,
    "temporal": simulated_temporal,
    "spotting": simulated_spotting,
}
