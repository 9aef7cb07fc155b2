"""Made annotations and predictions of videos, and temporal mAP by its definition."""

import copy
import random
from typing import Any

Json = dict[str, Any]


def dataset(
    videos: int, classes: int, seed: int, decimals: int = 6, per_video: int = 6
) -> tuple[Json, Json]:
    """Ground truth and predictions; few ``decimals`` of the scores make many equal scores."""
    rng = random.Random(seed)
    labels = [f"class {number}" for number in range(classes)]
    database: Json = {}
    results: Json = {}
    for number in range(videos):
        name = f"video {number:03d}"
        annotations = [_annotation(rng, labels) for _ in range(rng.randint(0, per_video))]
        database[name] = {"subset": "test", "duration": 200.0, "annotations": annotations}
        results[name] = [
            _prediction(rng, labels, annotations, decimals)
            for _ in range(rng.randint(0, 3 * per_video))
        ]
    return {"database": database}, {"results": results}


def copied(truth: Json, predictions: Json, counts: list[int]) -> tuple[Json, Json]:
    """The files with video i under ``counts[i]`` names of its own."""
    database: Json = {}
    results: Json = {}
    for name, count in zip(sorted(truth["database"]), counts, strict=True):
        for number in range(count):
            database[f"{name} #{number:03d}"] = copy.deepcopy(truth["database"][name])
            if name in predictions["results"]:
                results[f"{name} #{number:03d}"] = predictions["results"][name]
    return {"database": database}, {"results": results}


def by_the_book(truth: Json, predictions: Json, tiou: float) -> dict[str, float]:
    """AP of each class of the ground truth, step by step as the specification has it."""
    database = truth["database"]
    found = sorted(
        (-item["score"], position, video, item)
        for video, items in predictions["results"].items()
        for position, item in enumerate(items)
    )
    labels = {item["label"] for video in database.values() for item in video["annotations"]}
    return {label: _ap(database, found, label, tiou) for label in labels}


def _ap(database: Json, found: list[Any], label: str, tiou: float) -> float:
    total = sum(a["label"] == label for v in database.values() for a in v["annotations"])
    taken: set[tuple[str, int]] = set()
    right, seen = 0, 0
    points: list[tuple[float, float]] = []
    for _, _, video, item in found:
        if item["label"] != label:
            continue
        seen += 1
        overlaps = sorted(
            (-_iou(item["segment"], a["segment"]), number)
            for number, a in enumerate(database[video]["annotations"])
            if a["label"] == label
        )
        for negative, number in overlaps:
            if -negative < tiou:
                break
            if (video, number) not in taken:
                taken.add((video, number))
                right += 1
                break
        points.append((right / total, right / seen))
    area, before = 0.0, 0.0
    for number, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[number:])
        before = recall
    return area


def _iou(one: list[float], other: list[float]) -> float:
    overlap = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    return overlap / ((one[1] - one[0]) + (other[1] - other[0]) - overlap)


def _annotation(rng: random.Random, labels: list[str]) -> Json:
    start = rng.uniform(0, 180)
    return {"label": rng.choice(labels), "segment": [start, start + rng.uniform(1, 20)]}


def _prediction(
    rng: random.Random, labels: list[str], annotations: list[Json], decimals: int
) -> Json:
    if annotations and rng.random() < 0.7:
        near = rng.choice(annotations)
        start, end = (value + rng.gauss(0, 1) for value in near["segment"])
        label, score = near["label"], rng.betavariate(4, 2)
    else:
        start = rng.uniform(0, 180)
        end, label, score = start + rng.uniform(1, 20), rng.choice(labels), rng.betavariate(2, 4)
    return {
        "label": label,
        "segment": [start, max(end, start + 0.1)],
        "score": round(score, decimals),
    }
