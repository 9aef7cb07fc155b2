import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pydantic import ValidationError

from backend.core.errors import DataError
from backend.scoring.detection.task import (
    COCO_NAMES,
    METRICS,
    TASK,
    DetectionOptions,
    evaluate,
    load_ground_truth,
    load_predictions,
    read,
    score,
)
from tests.support.detections import Results, Truth, detector, ground_truth


def by_the_book(truth: Truth, predictions: Results) -> Any:
    """pycocotools as its manual uses it: files, loadRes, evaluate, accumulate, summarize."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps({"info": {}, **truth}))
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(json.loads(json.dumps(predictions))), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def tiny(**changes: Any) -> Truth:
    truth = {
        "images": [{"id": 1}, {"id": 2}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40]},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [10, 10, 40, 40]},
        ],
    }
    return truth | changes


def box(image: Any = 1, category: Any = 1, bbox: Any = (10, 10, 40, 40), score: Any = 0.9) -> Any:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}


@pytest.mark.parametrize("seed", range(4))
def test_the_metrics_are_pycocotools_own(seed: int) -> None:
    truth = ground_truth(images=25, classes=4, crowds=0.1, seed=seed)
    predictions = detector(truth, seed=seed + 100, noise=3)

    scores = score(truth, predictions)

    expected = by_the_book(truth, predictions).stats[:9]
    found = [scores.metrics[name] for name in METRICS[:9]]
    assert found == [None if value < 0 else pytest.approx(value, abs=1e-12) for value in expected]


def test_per_class_scores_are_pycocotools_on_that_class_alone() -> None:
    truth = ground_truth(images=20, classes=3, seed=1)
    predictions = detector(truth, seed=2)

    per_class = score(truth, predictions).per_class

    for category in truth["categories"]:
        label = category["id"]
        alone = truth | {
            "categories": [category],
            "annotations": [a for a in truth["annotations"] if a["category_id"] == label],
        }
        judge = by_the_book(alone, [p for p in predictions if p["category_id"] == label])
        assert per_class[category["name"]] == {
            "mAP50-95": pytest.approx(judge.stats[0]),
            "mAP50": pytest.approx(judge.stats[1]),
            "instances": len(alone["annotations"]),
        }


def test_an_annotation_whose_id_is_zero_can_be_found() -> None:
    truth = tiny()
    for annotation in truth["annotations"]:
        annotation |= {"id": annotation["id"] - 1, "area": 1600, "iscrowd": 0}
    predictions = [box(1), box(2)]
    assert by_the_book(truth, predictions).stats[1] < 1  # what pycocotools alone makes of it

    assert score(truth, predictions).metrics["mAP50"] == pytest.approx(1.0)


def test_images_may_have_names_for_ids() -> None:
    truth = tiny(images=[{"id": "b"}, {"id": "a"}])
    truth["annotations"][0]["image_id"] = "b"
    truth["annotations"][1]["image_id"] = "a"

    evidence = evaluate(truth, [box("b"), box("a", score=0.5)])

    assert evidence.units == ("a", "b")
    assert evidence.ranked.images.tolist() == [1, 0]


def test_working_point_is_the_confidence_with_the_highest_f1_over_all_classes() -> None:
    truth = ground_truth(images=15, classes=3, crowds=0.1, seed=4)
    predictions = detector(truth, seed=5, noise=2)
    for prediction in predictions:
        prediction["score"] = round(prediction["score"], 1)  # many ties

    evidence = evaluate(truth, predictions)

    best = max(
        (metrics["f1"], confidence, metrics)
        for confidence in {p["score"] for p in predictions}
        if (metrics := by_hand(truth, predictions, confidence))["f1"] is not None
    )
    metrics = evidence.scores().metrics
    assert {name: metrics[name] for name in best[2]} == pytest.approx(best[2])
    assert evidence.point.confidence == best[1]


def by_hand(
    truth: Truth, predictions: Results, confidence: float, iou: float = 0.5
) -> dict[str, Any]:
    """Precision, recall and F1 from what pycocotools matched."""
    judge = by_the_book(truth, predictions)
    rule = int(np.flatnonzero(np.isclose(judge.params.iouThrs, iou))[0])
    right = kept = wanted = 0
    for result in judge.evalImgs:
        if result is None or result["aRng"] != judge.params.areaRng[0]:
            continue
        sure = np.array(result["dtScores"]) >= confidence
        counted = sure & ~result["dtIgnore"][rule].astype(bool)
        right += int((counted & (result["dtMatches"][rule] > 0)).sum())
        kept += int(counted.sum())
        wanted += int((result["gtIgnore"] == 0).sum())
    return {
        "precision": right / kept if kept else None,
        "recall": right / wanted,
        "f1": 2 * right / (kept + wanted),
    }


@pytest.mark.parametrize(("confidence", "iou"), [(0.3, 0.5), (0.6, 0.75), (0.0, 0.95), (2.0, 0.5)])
def test_working_point_can_be_fixed(confidence: float, iou: float) -> None:
    truth = ground_truth(images=15, classes=3, crowds=0.1, seed=6)
    predictions = detector(truth, seed=7, noise=2)
    options = DetectionOptions(confidence=confidence, iou=iou)

    metrics = evaluate(truth, predictions, options).scores().metrics

    expected = by_hand(truth, predictions, confidence, iou)
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


def test_an_iou_that_coco_does_not_know_is_refused() -> None:
    with pytest.raises(ValidationError, match="choose one of COCO's thresholds"):
        DetectionOptions(iou=0.52)


def test_without_predictions_everything_was_missed() -> None:
    evidence = evaluate(tiny(), [])
    scores = evidence.scores()

    assert scores.metrics["mAP50-95"] == scores.metrics["AR100"] == scores.metrics["f1"] == 0
    assert scores.metrics["recall"] == 0
    assert scores.metrics["precision"] is None
    assert evidence.point.confidence is None
    assert scores.per_class["dog"] == {"mAP50-95": None, "mAP50": None, "instances": 0}
    assert scores.warnings == ("There are no predictions at all.",)


@pytest.mark.parametrize("predictions", [[], [box()]])
def test_without_ground_truth_boxes_nothing_is_defined(predictions: Results) -> None:
    scores = score(tiny(annotations=[]), predictions)

    assert set(scores.metrics) == set(METRICS)
    assert set(scores.metrics.values()) == {None}
    assert "no boxes" in scores.warnings[0]


def test_ground_truth_of_crowds_only_is_undefined_too() -> None:
    truth = tiny()
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 1

    scores = score(truth, [box()])

    assert set(scores.metrics.values()) == {None}
    assert "no boxes" in scores.warnings[0]


def test_useless_predictions_score_zero() -> None:
    scores = score(tiny(), [box(bbox=(300, 300, 5, 5))])

    assert (scores.metrics["mAP50"], scores.metrics["f1"], scores.metrics["precision"]) == (
        0,
        0,
        0,
    )


def test_detections_beyond_a_hundred_of_an_image_and_class_are_left_out_and_named() -> None:
    wrong = [box(bbox=(100, 100, 5, 5), score=0.9) for _ in range(100)]

    scores = score(tiny(), [*wrong, box(score=0.1), box(2)])

    assert "1 detections beyond the 100" in scores.warnings[0]
    assert scores.metrics["recall"] == 0.5


def test_boxes_without_area_are_named() -> None:
    truth = tiny()
    truth["annotations"][0]["bbox"] = [10, 10, 0, 40]

    scores = score(truth, [box(1), box(2)])

    assert "1 ground-truth boxes have no area" in scores.warnings[0]
    assert scores.metrics["recall"] == 0.5


def test_the_input_is_left_as_it_was() -> None:
    truth = ground_truth(images=3)
    predictions = detector(truth)
    before = json.dumps([truth, predictions])

    score(truth, predictions)

    assert json.dumps([truth, predictions]) == before


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    score(tiny(), [box()])

    assert capsys.readouterr() == ("", "")


def test_detections_lie_by_falling_score_with_ties_in_image_order() -> None:
    truth = tiny()
    truth["annotations"].append(
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [0, 0, 200, 200], "iscrowd": 1}
    )
    inside_crowd = box(1, bbox=(100, 100, 20, 20), score=0.7)

    ranked = evaluate(truth, [box(2, score=0.9), box(1, score=0.9), inside_crowd]).ranked

    assert ranked.scores.tolist() == [0.9, 0.9, 0.7]
    assert ranked.images.tolist() == [0, 1, 0]
    assert (ranked.hits[0] & 1).tolist() == [1, 1, 0]
    assert (ranked.counted[0] & 1).tolist() == [1, 1, 0]


GROUND_TRUTH_ERRORS: dict[str, tuple[Truth, str]] = {
    "no images": (tiny(images=[]), "lists no images"),
    "no categories": (tiny(categories=[]), "lists no categories"),
    "no annotations key": (
        {"images": [{"id": 1}], "categories": [{"id": 1}]},
        "'annotations' must be a list",
    ),
    "a number": ({**tiny(), "images": 3}, "'images' must be a list"),
    "image twice": (tiny(images=[{"id": 1}, {"id": 1}]), "two images have the id 1"),
    "image without id": (tiny(images=[{}]), "image 1 has the id None"),
    "category twice": (
        tiny(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]),
        "two categories have the id 1",
    ),
    "image as number and text": (
        tiny(images=[{"id": 1}, {"id": "1"}]),
        "two images have the id 1, once a number and once a text",
    ),
    "class name twice": (
        tiny(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]),
        "two categories are called 'a'",
    ),
    "category by name": (tiny(categories=[{"id": "a"}]), "category id 'a' is not a whole number"),
}
ANNOTATION_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown image": ({"image_id": 9}, "annotation 5: image_id 9 is not an image"),
    "unknown category": ({"category_id": 2}, "annotation 5: category_id 2 is not a category"),
    "no box": ({"bbox": None}, "annotation 5: bbox is None; expected"),
    "three numbers": ({"bbox": [1, 2, 3]}, "expected [x, y, width, height]"),
    "NaN": ({"bbox": [1, math.nan, 3, 4]}, "nan is not a finite number"),
    "negative size": ({"bbox": [5, 5, -3, 4]}, "[5, 5, -3, 4] has a negative size"),
    "negative area": ({"area": -1}, "area -1 is negative"),
}
PREDICTION_ERRORS = {
    "unknown image": (box(9), "entry 2: image_id 9 is not an image of the ground truth"),
    "image as text": (box("1"), "image_id '1' is not an image"),
    "unknown category": (box(category=3), "entry 2: category_id 3 is not a category"),
    "category as list": (box(category=[1]), "category_id [1] is not a category"),
    "NaN": (box(bbox=(1, 1, math.nan, 2)), "nan is not a finite number"),
    "text": (box(bbox=(1, 1, "2", 2)), "'2' is not a finite number"),
    "text of any length": (box(score="9" * 5000), "score: '999999999999...9999999999999' is not"),
    "negative size": (box(bbox=(5, 5, 3, -4)), "entry 2: bbox [5, 5, 3, -4] has a negative size"),
    "no score": ({"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}, "score: None is not"),
    "huge number": (box(score=10**400), "is not a finite number"),
    "infinite score": (box(score=math.inf), "entry 2: score: inf is not a finite number"),
    "no object": (3, "entry 2: expected an object"),
}


@pytest.mark.parametrize("case", GROUND_TRUTH_ERRORS)
def test_wrong_ground_truth_is_refused(case: str) -> None:
    truth, sentence = GROUND_TRUTH_ERRORS[case]
    with pytest.raises(DataError) as error:
        score(truth, [])
    assert sentence in str(error.value)


@pytest.mark.parametrize("case", ANNOTATION_ERRORS)
def test_wrong_annotation_is_refused(case: str) -> None:
    change, sentence = ANNOTATION_ERRORS[case]
    wrong = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]} | change
    with pytest.raises(DataError) as error:
        score(tiny(annotations=[wrong]), [])
    assert sentence in str(error.value)


def test_annotation_ids_must_differ() -> None:
    twice = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
    with pytest.raises(DataError, match="two annotations have the id 5"):
        score(tiny(annotations=[twice, twice]), [])


@pytest.mark.parametrize("case", PREDICTION_ERRORS)
def test_wrong_prediction_is_refused(case: str) -> None:
    wrong, sentence = PREDICTION_ERRORS[case]
    with pytest.raises(DataError) as error:
        score(tiny(), [box(), wrong])
    assert sentence in str(error.value)


@pytest.mark.parametrize("predictions", [{"annotations": []}, "boxes"])
def test_predictions_must_be_a_list(predictions: Any) -> None:
    with pytest.raises(DataError, match="expected a list of boxes"):
        score(tiny(), predictions)


def test_ground_truth_must_be_an_object() -> None:
    with pytest.raises(DataError, match="expected an object"):
        score([], [])  # type: ignore[arg-type]


def test_numpy_numbers_are_numbers() -> None:
    corners = np.array([10, 10, 40, 40], dtype=np.float32)
    prediction = box(np.int64(1), np.int32(1), score=np.float32(0.5)) | {"bbox": corners}
    truth = tiny(images=[{"id": np.int64(1)}, {"id": 2}])

    assert score(truth, [prediction]).metrics["recall"] == 0.5


def test_files_are_read(tmp_path: Path) -> None:
    truth, results = tmp_path / "gt.json", tmp_path / "results.json"
    truth.write_text(json.dumps(tiny()))
    results.write_text(json.dumps([box()]))

    assert score(load_ground_truth(truth), load_predictions(results)).metrics["recall"] == 0.5


def test_a_wrong_box_in_a_file_is_named_with_its_file(tmp_path: Path) -> None:
    truth, results = tmp_path / "gt.json", tmp_path / "results.json"
    truth.write_text(json.dumps(tiny()))
    results.write_text(json.dumps([box(), box(bbox=(1, 1, math.nan, 2))]))

    with pytest.raises(DataError) as error:
        read(truth, results)

    assert str(results) in str(error.value)
    assert "entry 2" in str(error.value)
    assert "nan is not a finite number" in str(error.value)


def test_every_metric_is_described_and_has_a_name_in_coco() -> None:
    assert tuple(spec.name for spec in TASK.metrics) == METRICS == tuple(COCO_NAMES)
    assert TASK.primary in METRICS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "no such file"),
        ('{"images": [', "not valid JSON"),
        ("3", "expected COCO"),
        (r'["\ud800"]', "half a character"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    path = tmp_path / "coco.json"
    if text is not None:
        path.write_text(text)
    for load in (load_ground_truth, load_predictions):
        with pytest.raises(DataError) as error:
            load(path)
        assert str(path) in str(error.value)
        assert sentence in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        load_predictions(path)


def test_letters_in_two_halves_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "coco.json"
    path.write_text(r'[{"image_id": "\ud83c\udfbe"}]')
    assert load_predictions(path) == [{"image_id": "\U0001f3be"}]


def test_boxes_beyond_any_picture_warn_of_nothing() -> None:
    huge = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1e308, 1e308], "area": 9}
    assert score(tiny(annotations=[huge]), [box()]).metrics["mAP50"] == 0
