from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.analysis.reweighting import average_precision, bootstrap_counts, mean_over_classes
from backend.scoring.detection import Matches, match, score
from tests.support.detections import Results, Truth, detector, ground_truth

METRICS = {"mAP50-95": slice(None), "mAP50": slice(0, 1), "mAP75": slice(5, 6)}


def recomputed(matches: Matches, counts: list[int]) -> dict[str, float | None]:
    ap = average_precision(matches, np.array([counts], dtype=np.uint16))
    means = {name: mean_over_classes(ap[:, :, at].mean(axis=2))[0] for name, at in METRICS.items()}
    return {name: None if np.isnan(value) else value for name, value in means.items()}


def judged(truth: Truth, predictions: Results) -> dict[str, Any]:
    metrics = score(truth, predictions).metrics
    return {name: None if (v := metrics[name]) is None else pytest.approx(v, abs=1e-9)
            for name in METRICS}  # fmt: skip


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
    truth = ground_truth(images, classes, boxes, seed, crowds)
    predictions = detector(truth, seed + 1, noise=noise, jitter=0.05)
    for prediction in predictions:
        prediction["score"] = round(prediction["score"], digits)  # few digits: many ties

    assert recomputed(match(truth, predictions), [1] * images) == judged(truth, predictions)


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=10), seed=st.integers(0, 10_000))
def test_a_drawn_image_counts_as_if_it_stood_there_several_times(
    counts: list[int], seed: int
) -> None:
    if not any(counts):
        counts[0] = 1
    truth = ground_truth(len(counts), classes=2, seed=seed, crowds=0.1)
    predictions = detector(truth, seed + 1, jitter=0.05)

    found = recomputed(match(truth, predictions), counts)

    assert found == judged(*drawn(truth, predictions, counts))


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

    assert recomputed(match(truth, predictions), [1] * truths) == judged(truth, predictions)


def test_a_class_without_ground_truth_in_a_replicate_is_dropped_from_the_mean() -> None:
    truth = ground_truth(images=2, classes=2, boxes=0)
    for image in (1, 2):  # class 1 only in image 1, class 2 only in image 2
        truth["annotations"].append(
            {"id": image, "image_id": image, "category_id": image, "bbox": [0, 0, 20, 20]}
        )
    found = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 20], "score": 0.9}

    ap = average_precision(match(truth, [found]), np.array([[2, 0], [0, 2], [1, 1]], np.uint16))

    by_class = ap.mean(axis=2)
    np.testing.assert_allclose(by_class, np.array([[1, np.nan], [np.nan, 0], [1, 0]]))
    np.testing.assert_allclose(mean_over_classes(by_class), [1, 0, 0.5])


def test_a_mean_of_no_class_is_undefined() -> None:
    assert np.isnan(mean_over_classes(np.full((1, 3), np.nan))).all()


def test_many_replicates_at_once_are_as_one_at_a_time() -> None:
    truth = ground_truth(images=30, classes=3, crowds=0.1)
    matches = match(truth, detector(truth, noise=4))
    counts = bootstrap_counts(30, 40, seed=3)

    together = average_precision(matches, counts)

    one_by_one = [average_precision(matches, row[None])[0] for row in counts]
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-12)


def test_bootstrap_draws_as_many_units_as_there_are_and_repeats_by_seed() -> None:
    counts = bootstrap_counts(50, 2000, seed=1)

    assert set(counts.sum(axis=1)) == {50}
    assert np.array_equal(counts, bootstrap_counts(50, 2000, seed=1))
    assert not np.array_equal(counts, bootstrap_counts(50, 2000, seed=2))
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.15)
    assert counts.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # binomial(50, 1/50)
