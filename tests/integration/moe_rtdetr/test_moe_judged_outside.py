"""What the trainer says of its boxes is what pycocotools says of the files that it exports."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backend.datasets import read_split, write_coco
from backend.trainers.moe_rtdetr.evaluation import Result, scores_of
from backend.trainers.moe_rtdetr.spec import CLASSES


def test_the_numbers_are_those_of_pycocotools(traffic: Path, tmp_path: Path) -> None:
    split = read_split(traffic, "train", CLASSES)
    chance = np.random.default_rng(0)
    results: list[Result] = []
    for frame in split.frames:
        for box, label in zip(frame.boxes, frame.labels, strict=True):
            left, top, right, bottom = box + chance.normal(0, 1.5, 4)
            wrong = chance.random() < 0.2
            results.append({
                "image_id": frame.id, "score": float(chance.random()),
                "category_id": int(label + wrong) % len(CLASSES) + 1,
                "bbox": [float(v) for v in (left, top, right - left, bottom - top)],
            })  # fmt: skip
    found = scores_of(split, results).metrics

    exported = write_coco([split], tmp_path / "out").parent / "annotations" / "train.json"
    (tmp_path / "boxes.json").write_text(json.dumps(results), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(exported))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / "boxes.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert found["mAP50-95"] is not None
    assert 0.05 < found["mAP50-95"] < 0.95
    for place, name in enumerate(("mAP50-95", "mAP50", "mAP75")):
        assert found[name] == pytest.approx(judge.stats[place], abs=1e-6)
    assert found["AR100"] == pytest.approx(judge.stats[8], abs=1e-6)
