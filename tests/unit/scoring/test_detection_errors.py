"""What each kind of error costs, against cases worked by hand and the definition, naively."""

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.scoring.detection.errors import KINDS
from backend.scoring.detection.task import evaluate
from tests.support.detections import Results, Truth, detector, ground_truth

HERE = (0, 0, 100, 100)


def scene(*boxes: tuple[int, tuple[float, float, float, float]], images: int = 1) -> Truth:
    """Boxes (class, corners) in the first of some images; the classes are 1 and 2."""
    return {
        "images": [{"id": image} for image in range(1, images + 1)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": label, "bbox": list(bbox)}
            for number, (label, bbox) in enumerate(boxes, start=1)
        ],
    }


def box(label: int, bbox: tuple[float, float, float, float], score: float) -> dict[str, Any]:
    return {"image_id": 1, "category_id": label, "bbox": list(bbox), "score": score}


def costs(truth: Truth, predictions: Results) -> dict[str, float]:
    ones = np.ones((1, len(truth["images"])), dtype=np.uint16)
    row = evaluate(truth, predictions).errors.table(ones)[0]
    return dict(zip(KINDS, row.tolist(), strict=True))


def only(**expected: float) -> Any:
    return pytest.approx(dict.fromkeys(KINDS, 0.0) | expected, abs=1e-9)


def test_a_right_detection_costs_nothing() -> None:
    assert costs(scene((1, HERE)), [box(1, HERE, 0.9)]) == only()


def test_a_badly_placed_box_of_the_right_class_is_a_localisation_error() -> None:
    quarter = (0, 0, 50, 50)  # IoU 0.25
    assert costs(scene((1, HERE)), [box(1, quarter, 0.9)]) == only(localisation=1.0)


def test_a_well_placed_box_of_another_class_is_a_classification_error() -> None:
    """Both classes are in the picture: one is found, the other is called by the first's name."""
    there = (200, 200, 50, 50)
    truth = scene((1, HERE), (2, there))

    found = costs(truth, [box(1, HERE, 0.8), box(1, there, 0.9)])

    assert found == only(classification=1 - 0.25)  # AP 0.5 and 0, then 1 and 1


def test_a_second_box_on_a_found_object_is_a_duplicate() -> None:
    """Of two boxes on one object the surer one is right; the duplicate stands before another."""
    there = (200, 200, 50, 50)
    boxes = [box(1, HERE, 0.9), box(1, HERE, 0.8), box(1, there, 0.7)]

    recalls_at_full_precision = 51  # of 101; the others see 2 right of 3
    ap = (recalls_at_full_precision + 50 * 2 / 3) / 101
    assert costs(scene((1, HERE), (1, there)), boxes) == only(duplicate=1 - ap)


def test_a_box_where_nothing_is_counts_as_background() -> None:
    boxes = [box(1, (300, 300, 20, 20), 0.9), box(1, HERE, 0.5)]
    assert costs(scene((1, HERE)), boxes) == only(background=0.5)


def test_a_box_in_an_image_without_objects_counts_as_background() -> None:
    elsewhere = box(1, HERE, 0.9) | {"image_id": 2}
    found = costs(scene((1, HERE), images=2), [elsewhere, box(1, HERE, 0.5)])
    assert found == only(background=0.5)


def test_a_badly_placed_box_of_another_class_is_both() -> None:
    quarter = (0, 0, 50, 50)
    there = (300, 300, 60, 60)
    truth = scene((1, HERE), (2, there))
    boxes = [box(2, quarter, 0.9), box(2, there, 0.5), box(1, HERE, 0.5)]

    assert costs(truth, boxes) == only(both=1 - 0.75)


def test_an_object_that_nothing_aims_at_is_missed() -> None:
    truth = scene((1, HERE), (1, (300, 300, 20, 20)))
    assert costs(truth, [box(1, HERE, 0.9)]) == only(missed=1 - 51 / 101)


def test_of_two_that_aim_at_one_object_only_the_surer_is_mended() -> None:
    quarter, third = (0, 0, 50, 50), (0, 0, 100, 33)
    found = costs(scene((1, HERE)), [box(1, quarter, 0.5), box(1, third, 0.9)])
    assert found == only(localisation=1.0)


def test_a_crowd_takes_no_blame() -> None:
    truth = scene((1, HERE))
    truth["annotations"].append(
        {"id": 9, "image_id": 1, "category_id": 1, "bbox": [200, 200, 400, 400], "iscrowd": 1}
    )
    assert costs(truth, [box(1, (300, 300, 20, 20), 0.9), box(1, HERE, 0.5)]) == only()


def test_without_ground_truth_no_cost_is_defined() -> None:
    assert np.isnan(list(costs(scene(), [box(1, HERE, 0.9)]).values())).all()


def test_without_predictions_everything_is_missed_and_nothing_gained() -> None:
    """There are no detections whose precision could rise, so even then AP stays 0."""
    assert costs(scene((1, HERE)), []) == only()


@settings(max_examples=80, deadline=None)
@given(
    images=st.integers(1, 6),
    classes=st.integers(1, 3),
    boxes=st.floats(0.5, 5),
    noise=st.floats(0, 5),
    crowds=st.sampled_from([0, 0.2]),
    seed=st.integers(0, 10_000),
)
def test_costs_are_those_of_the_definition(
    images: int, classes: int, boxes: float, noise: float, crowds: float, seed: int
) -> None:
    truth = ground_truth(images, classes, boxes, seed, crowds)
    rng = np.random.default_rng(seed)
    predictions = detector(truth, seed + 1, jitter=0.25, noise=noise)
    for item in predictions:  # a fifth of the boxes gets any class
        if rng.random() < 0.2:
            item["category_id"] = int(rng.integers(1, classes + 1))

    found = costs(truth, predictions)

    expected = by_the_book(truth, predictions)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


def by_the_book(truth: Truth, predictions: Results) -> dict[str, float]:
    """TIDE as its paper has it, box by box: errors found, then mended one kind at a time."""
    wrong: list[dict[str, Any]] = []
    right: list[dict[str, Any]] = []
    missed: dict[int, int] = defaultdict(int)
    for image in truth["images"]:
        items = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        real = [a | {"used": False, "best": None} for a in items if not a["iscrowd"]]
        crowds = [a for a in items if a["iscrowd"]]
        found = [dict(p) for p in predictions if p["image_id"] == image["id"]]
        for item in sorted(found, key=lambda p: -p["score"]):
            sort = right if claim(item, real) else wrong
            if sort is right or not in_crowd(item, crowds):
                sort.append(item)
        for item in (item for item in wrong if item["image_id"] == image["id"]):
            blame(item, real)
        for a in real:
            missed[a["category_id"]] += not a["used"] and a["best"] is None
    truths: dict[int, int] = defaultdict(int)
    for a in truth["annotations"]:
        truths[a["category_id"]] += not a["iscrowd"]
    return {kind: gain(kind, right, wrong, truths, missed) for kind in KINDS}


def claim(item: dict[str, Any], real: list[dict[str, Any]]) -> bool:
    """Take the best ground truth of the class that is not taken."""
    open_ones = [a for a in real if a["category_id"] == item["category_id"] and not a["used"]]
    best = max(open_ones, key=lambda a: overlap(item, a), default=None)
    if best is None or overlap(item, best) < 0.5:
        return False
    best["used"] = True
    return True


def in_crowd(item: dict[str, Any], crowds: list[dict[str, Any]]) -> bool:
    own = item["bbox"][2] * item["bbox"][3]
    return any(
        shared(item, a) / own >= 0.5 for a in crowds if a["category_id"] == item["category_id"]
    )


def blame(item: dict[str, Any], real: list[dict[str, Any]]) -> None:
    """Name the error and what mending it would find."""
    own = [a for a in real if a["category_id"] == item["category_id"]]
    other = [a for a in real if a["category_id"] != item["category_id"]]
    near, confused = (max((overlap(item, a) for a in some), default=0) for some in (own, other))
    target = None
    if 0.1 <= near <= 0.5:
        item["kind"], target = "localisation", max(own, key=lambda a: overlap(item, a))
    elif confused >= 0.5:
        item["kind"], target = "classification", max(other, key=lambda a: overlap(item, a))
    elif any(a["used"] and overlap(item, a) >= 0.5 for a in own):
        item["kind"] = "duplicate"
    else:
        item["kind"] = "background" if max(near, confused) <= 0.1 else "both"
    item["mends"] = None
    if target is not None and not target["used"] and target["best"] is None:
        target["best"] = item  # the most confident comes first
        item["mends"] = target


def gain(
    kind: str,
    right: list[dict[str, Any]],
    wrong: list[dict[str, Any]],
    truths: dict[int, int],
    missed: dict[int, int],
) -> float:
    points = [(item["category_id"], item["score"], True) for item in right]
    as_is = points + [(item["category_id"], item["score"], False) for item in wrong]
    for item in wrong:
        if item["kind"] != kind:
            points.append((item["category_id"], item["score"], False))
        elif item["mends"] is not None:
            points.append((item["mends"]["category_id"], item["score"], True))
    fewer = {c: n - missed[c] if kind == "missed" else n for c, n in truths.items()}
    labels = [c for c, n in truths.items() if n]
    if not labels:
        return np.nan
    gains = [ap(points, c, fewer[c]) - ap(as_is, c, truths[c]) for c in labels]
    return max(float(np.mean(gains)), 0.0)


def ap(points: list[tuple[int, float, bool]], label: int, truths: int) -> float:
    ranked = sorted((p for p in points if p[0] == label), key=lambda p: -p[1])
    right, curve = 0, []
    for number, (_, _, hit) in enumerate(ranked, start=1):
        right += hit
        curve.append((right / truths if truths else 0.0, right / number))
    heights = [
        max((precision for recall, precision in curve if recall >= at), default=0.0)
        for at in np.linspace(0, 1, 101)
    ]
    return sum(heights) / 101 if truths else 0.0


def overlap(one: dict[str, Any], other: dict[str, Any]) -> float:
    both = shared(one, other)
    areas = [item["bbox"][2] * item["bbox"][3] for item in (one, other)]
    return float(both / (sum(areas) - both))


def shared(one: dict[str, Any], other: dict[str, Any]) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one["bbox"], other["bbox"]
    width = min(ax + aw, bx + bw) - max(ax, bx)
    height = min(ay + ah, by + bh) - max(ay, by)
    return float(max(width, 0) * max(height, 0))
