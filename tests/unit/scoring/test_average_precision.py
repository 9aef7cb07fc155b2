"""Drawing images from evidence is scoring a data set in which they stand that often."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backend.scoring.detection.average_precision import mean_over_classes
from backend.scoring.detection.task import METRICS, DetectionEvidence, DetectionOptions, evaluate
from backend.scoring.detection.yolo_truth import load_yolo_truth
from backend.scoring.evidence import Column
from tests.support.detections import Results, Truth, detector, ground_truth

COCO256 = Path(__file__).parents[4] / "shared" / "data" / "coco256" / "data.yaml"


def by_pycocotools(truth: Truth, predictions: Results) -> dict[Column, float]:
    """What pycocotools prints, and AP per class; NaN where it says -1."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_coco(truth, truth["annotations"]), _coco(truth, predictions), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    found = {Column(n): float(v) for n, v in zip(METRICS, judge.stats[:9], strict=False)}
    precision = judge.eval["precision"][..., 0, -1]
    for place, category in enumerate(truth["categories"]):
        found[Column("mAP50-95", category["name"])] = float(precision[:, :, place].mean())
        found[Column("mAP50", category["name"])] = float(precision[0, :, place].mean())
    return {column: np.nan if value < 0 else value for column, value in found.items()}


def _coco(truth: Truth, boxes: Results) -> Any:
    coco = COCO()
    areas = [box.get("area", box["bbox"][2] * box["bbox"][3]) for box in boxes]
    coco.dataset = truth | {
        "annotations": [
            {"iscrowd": 0} | box | {"id": number, "area": area}
            for number, (box, area) in enumerate(zip(boxes, areas, strict=True), start=1)
        ]
    }
    coco.createIndex()
    return coco


def drawn_values(evidence: DetectionEvidence, counts: list[int]) -> dict[Column, float]:
    row = evidence.table(np.array([counts], dtype=np.uint16))[0]
    return dict(zip(evidence.columns, row.tolist(), strict=True))


def assert_judged(evidence: DetectionEvidence, counts: list[int], *judged: Any) -> None:
    found, expected = drawn_values(evidence, counts), by_pycocotools(*judged)
    picked = {column: found[column] for column in expected}
    assert picked == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert len(found) == len(expected) + 3  # precision, recall and F1 are not pycocotools'


def drawn(truth: Truth, predictions: Results, counts: list[int]) -> tuple[Truth, Results]:
    """The data set in which each image really stands as often as it was drawn."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: Results = []
    for image, count in zip(truth["images"], counts, strict=True):
        for copy in range(count):
            key = image["id"] * 100 + copy
            images.append({"id": key})
            for item in truth["annotations"]:
                if item["image_id"] == image["id"]:
                    annotations.append(item | {"image_id": key, "id": len(annotations) + 1})
            results += [p | {"image_id": key} for p in predictions if p["image_id"] == image["id"]]
    return truth | {"images": images, "annotations": annotations}, results


def in_three_sizes(truth: Truth) -> Truth:
    """The same scenes with small, medium and large boxes."""
    scales = {1: 0.25, 2: 1.0, 0: 3.0}
    boxes = [
        item | {"bbox": [v * scales[item["id"] % 3] for v in item["bbox"]],
                "area": item["area"] * scales[item["id"] % 3] ** 2}
        for item in truth["annotations"]
    ]  # fmt: skip
    return truth | {"annotations": boxes}


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 12),
    classes=st.integers(1, 4),
    boxes=st.floats(0, 4),
    noise=st.floats(0, 4),
    crowds=st.sampled_from([0, 0.2]),
    digits=st.sampled_from([1, 2, 15]),
    seed=st.integers(0, 10_000),
)
def test_each_image_once_is_pycocotools_to_nine_digits(
    images: int, classes: int, boxes: float, noise: float, crowds: float, digits: int, seed: int
) -> None:
    truth = in_three_sizes(ground_truth(images, classes, boxes, seed, crowds))
    predictions = detector(truth, seed + 1, noise=noise, jitter=0.05)
    for prediction in predictions:
        prediction["score"] = round(prediction["score"], digits)  # few digits: many ties

    assert_judged(evaluate(truth, predictions), [1] * images, truth, predictions)


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=10), seed=st.integers(0, 10_000))
def test_a_drawn_image_counts_as_if_it_stood_there_several_times(
    counts: list[int], seed: int
) -> None:
    if not any(counts):
        counts[0] = 1
    truth = in_three_sizes(ground_truth(len(counts), classes=2, seed=seed, crowds=0.1))
    predictions = detector(truth, seed + 1, jitter=0.05)
    options = DetectionOptions(confidence=0.4)
    evidence = evaluate(truth, predictions, options)

    really = drawn(truth, predictions, counts)

    assert_judged(evidence, counts, *really)
    point = {name: drawn_values(evidence, counts)[Column(name)] for name in METRICS[9:]}
    expected = evaluate(*really, options).scores().metrics
    assert {n: None if np.isnan(v) else v for n, v in point.items()} == {
        name: expected[name] for name in point
    }


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(0, 3), min_size=2, max_size=8), seed=st.integers(0, 10_000))
def test_errors_of_a_drawn_image_count_as_if_it_stood_there_several_times(
    counts: list[int], seed: int
) -> None:
    if not any(counts):
        counts[0] = 1
    truth = ground_truth(len(counts), classes=2, seed=seed, crowds=0.1)
    predictions = detector(truth, seed + 1, jitter=0.2, noise=2)
    evidence = evaluate(truth, predictions).errors

    one_by_one = evaluate(*drawn(truth, predictions, counts)).errors

    ones = np.ones((1, sum(counts)), dtype=np.uint16)
    np.testing.assert_allclose(
        evidence.table(np.array([counts], dtype=np.uint16)), one_by_one.table(ones), atol=1e-12
    )


@pytest.mark.skipif(not COCO256.exists(), reason="../shared/data/coco256 is not there")
def test_real_labels_with_a_made_detector_are_scored_as_by_pycocotools() -> None:
    truth = load_yolo_truth(COCO256)
    predictions = detector(truth, seed=3, jitter=0.1, noise=3)
    counts = np.random.default_rng(0).poisson(1, len(truth["images"])).tolist()
    numbered = {image["id"]: number for number, image in enumerate(truth["images"])}
    for item in (*truth["images"], *truth["annotations"], *predictions):
        key = "image_id" if "image_id" in item else "id"
        item[key] = numbered[item[key]]
    evidence = evaluate(truth, predictions)

    assert_judged(evidence, [1] * len(counts), truth, predictions)
    assert_judged(evidence, counts, *drawn(truth, predictions, counts))


@pytest.mark.parametrize("truths", [1, 7, 29, 58, 100, 113, 200, 400])
def test_recall_thresholds_are_met_to_the_bit(truths: int) -> None:
    """0.07 is not 7 * 0.01 in binary; one threshold off would show as 1/101."""
    truth = {
        "images": [{"id": i} for i in range(truths)],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 20, 20]}
            for i in range(truths)
        ],
    }
    rng = np.random.default_rng(truths)
    predictions = [
        {"image_id": i, "category_id": 1, "score": float(rng.random()),
         "bbox": [0, 0, 20, 20] if rng.random() < 0.8 else [50, 50, 9, 9]}
        for i in range(truths)
    ]  # fmt: skip

    assert_judged(evaluate(truth, predictions), [1] * truths, truth, predictions)


def test_a_class_without_ground_truth_in_a_replicate_is_dropped_from_the_mean() -> None:
    truth = ground_truth(images=2, classes=2, boxes=0)
    for image in (1, 2):  # class 1 only in image 1, class 2 only in image 2
        truth["annotations"].append(
            {"id": image, "image_id": image, "category_id": image, "bbox": [0, 0, 20, 20]}
        )
    found = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "score": 0.9}
    evidence = evaluate(truth, [found])

    table = evidence.table(np.array([[2, 0], [0, 2], [1, 1], [0, 0]], np.uint16))

    columns = [Column("mAP50"), Column("mAP50", "class 1"), Column("mAP50", "class 2")]
    np.testing.assert_allclose(
        table[:, [evidence.columns.index(column) for column in columns]],
        [[1, 1, np.nan], [0, np.nan, 0], [0.5, 1, 0], [np.nan, np.nan, np.nan]],
    )
    assert np.isnan(table[3]).all()


def test_a_mean_of_no_class_is_undefined() -> None:
    assert np.isnan(mean_over_classes(np.ones((3, 2)), np.zeros((3, 2), dtype=np.bool_))).all()


def test_many_replicates_at_once_are_as_one_at_a_time() -> None:
    truth = ground_truth(images=30, classes=3, crowds=0.1)
    evidence = evaluate(truth, detector(truth, noise=4))
    counts = np.random.default_rng(3).poisson(1, (300, 30)).astype(np.uint16)

    together, errors = evidence.table(counts), evidence.errors.table(counts)

    for row in range(0, 300, 17):
        alone = counts[row : row + 1]
        np.testing.assert_allclose(together[row], evidence.table(alone)[0], atol=1e-12)
        np.testing.assert_allclose(errors[row], evidence.errors.table(alone)[0], atol=1e-12)
