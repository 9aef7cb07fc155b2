"""Scores are what an independent COCO evaluation of the same boxes says."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backend.core.errors import CheckpointError, DataError
from backend.core.records import EvalReport
from backend.core.trainer import EvalRequest
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.shapes import write_dataset
from tests.support.yolo_runs import Training


def evaluate(
    run: Training, out: Path, data: Path | None = None, split: str = "holdout"
) -> EvalReport:
    request = EvalRequest(
        checkpoint=str(run.best()), data=str(data or run.config.data), split=split, out=str(out)
    )
    return YoloTrainer(run.config, out / "work").evaluate(request)


@pytest.fixture(scope="module")
def report(trained: Training, tmp_path_factory: pytest.TempPathFactory) -> EvalReport:
    return evaluate(trained, tmp_path_factory.mktemp("evaluation"))


def test_the_detector_has_learnt_something(report: EvalReport) -> None:
    assert (report.metrics["mAP50"] or 0) > 0.5


def test_an_independent_evaluation_agrees(report: EvalReport) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(report.ground_truth)
        judge = COCOeval(truth, truth.loadRes(report.predictions), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert report.metrics["mAP50-95"] == pytest.approx(judge.stats[0], abs=1e-9)
    assert report.metrics["mAP50"] == pytest.approx(judge.stats[1], abs=1e-9)
    assert report.metrics["AR100"] == pytest.approx(judge.stats[8], abs=1e-9)


def test_the_truth_is_what_the_label_files_say(report: EvalReport, trained: Training) -> None:
    truth = json.loads(Path(report.ground_truth).read_text())
    assert [image["id"] for image in truth["images"]] == list(range(1, 25))
    assert truth["images"][0]["file_name"] == "images/holdout/000.png"
    assert [c["id"] for c in truth["categories"]] == [1, 2, 3]
    lines = (trained.config.data.parent / "labels/holdout/002.txt").read_text().splitlines()
    boxes = [a for a in truth["annotations"] if a["image_id"] == 3]
    for line, box in zip(lines, boxes, strict=True):
        label, x, y, w, h = (float(word) for word in line.split())
        assert box["category_id"] == label + 1
        expected = [(x - w / 2) * 64, (y - h / 2) * 64, w * 64, h * 64]
        assert box["bbox"] == pytest.approx(expected, abs=1e-3)


def test_the_report_says_how_it_was_made(report: EvalReport, trained: Training) -> None:
    assert "pycocotools" in report.evaluator
    assert report.settings == {"imgsz": "64", "conf": "0.001", "iou": "0.7", "max_det": "100"}
    assert (report.split, report.units, report.classes) == (
        *("holdout", 24),
        ("square", "disc", "triangle"),
    )
    assert set(report.per_class) == set(report.classes)
    assert report.checkpoint == str(trained.best())


def test_evaluating_twice_gives_the_same(
    report: EvalReport, trained: Training, tmp_path: Path
) -> None:
    again = evaluate(trained, tmp_path)
    assert again.metrics == report.metrics
    assert Path(again.predictions).read_bytes() == Path(report.predictions).read_bytes()


def test_the_final_report_is_what_evaluate_says_today(trained: Training, tmp_path: Path) -> None:
    today = evaluate(trained, tmp_path, split="val")
    final = trained.evaluated().report
    assert today.metrics == final.metrics
    assert today.data_digest == final.data_digest


def test_the_training_s_own_validation_agrees_closely(trained: Training) -> None:
    """Ultralytics scores otherwise (interpolation, batch shapes); not much otherwise."""
    best = next(e.checkpoint for e in trained.saved() if e.checkpoint.path == trained.outcome.best)
    final = trained.evaluated().report.metrics
    assert final["mAP50"] == pytest.approx(best.metrics["val/mAP50"], abs=0.03)
    assert final["mAP50-95"] == pytest.approx(best.metrics["val/mAP50-95"], abs=0.03)


def test_classes_are_joined_by_name(trained: Training, tmp_path: Path) -> None:
    """The same images with the classes in another order give the same scores."""
    here = trained.config.data.parent
    swapped = tmp_path / "swapped"
    data = write_dataset(swapped, {"train": 96, "val": 24, "holdout": 24}, seed=7)
    text = data.read_text().replace("- square\n- disc\n", "- disc\n- square\n")
    data.write_text(text)
    for label in (swapped / "labels/holdout").iterdir():
        lines = (here / "labels/holdout" / label.name).read_text().splitlines()
        label.write_text(
            "".join({"0": "1", "1": "0"}.get(n[0], n[0]) + n[1:] + "\n" for n in lines)
        )
    one, other = evaluate(trained, tmp_path / "a"), evaluate(trained, tmp_path / "b", data)
    assert other.classes == ("disc", "square", "triangle")
    assert other.metrics == pytest.approx(one.metrics)
    for name in one.classes:
        assert other.per_class[name] == pytest.approx(one.per_class[name])


def test_classes_that_the_checkpoint_does_not_know_count_as_missed(
    trained: Training, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "d", {"val": 8}, ["square", "star", "disc"])
    report = evaluate(trained, tmp_path / "out", data, "val")
    assert report.per_class["star"]["mAP50"] == 0.0
    assert any("does not know star" in warning for warning in report.warnings)
    assert any("does not have triangle" in warning for warning in report.warnings)


def test_no_common_class_is_refused(trained: Training, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "d", {"val": 2}, ["cat", "dog"])
    with pytest.raises(DataError, match=r"none of its classes \(cat, dog\) is known"):
        evaluate(trained, tmp_path / "out", data, "val")
    assert not (tmp_path / "out/predictions.json").exists()


def test_an_unknown_split_is_refused(trained: Training, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no split 'test'; it has train, val, holdout"):
        evaluate(trained, tmp_path, split="test")


def test_a_missing_checkpoint_is_refused(trained: Training, tmp_path: Path) -> None:
    request = EvalRequest(
        checkpoint=str(tmp_path / "x.safetensors"),
        data=str(trained.config.data),
        split="val",
        out=str(tmp_path),
    )
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        YoloTrainer(trained.config, tmp_path).evaluate(request)


def test_real_photographs_are_evaluated(trained: Training, tmp_path: Path) -> None:
    """Odd sizes and 80 classes; none is known by name, so nothing can be scored."""
    data = Path(__file__).parents[4] / "shared/data/coco256/data.yaml"
    if not data.is_file():
        pytest.skip(f"{data} is not here")
    with pytest.raises(DataError, match="none of its classes"):
        evaluate(trained, tmp_path, data, "val")
