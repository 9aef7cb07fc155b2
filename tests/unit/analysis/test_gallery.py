"""What both models found, drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.analysis.gallery import HEAD, MISSED, RIGHT, WRONG, named, pairs
from backend.core.comparisons import DataComparison, UnitDelta
from tests.support.comparisons import data, report

SIZE = 320
FIRST, SECOND = [40.0, 60.0, 80.0, 80.0], [200.0, 200.0, 60.0, 60.0]


def unit(name: str, delta: float) -> UnitDelta:
    return UnitDelta(unit=name, baseline=0.5, candidate=0.5 + delta, delta=delta)


def found(image: int, box: list[float], score: float = 0.9, label: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": label, "bbox": box, "score": score}


@pytest.fixture
def compared(tmp_path: Path) -> DataComparison:
    """Two photographs of two objects; the old model misses one, the new one sees a ghost.

    What the old one finds with less confidence than where its F1 is best does not count.
    """
    images = []
    for number in (1, 2):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), "#202020").save(path)
        images.append({"id": number, "file_name": path.name, "width": SIZE, "height": SIZE})
    truths = [
        {"id": 2 * number + k, "image_id": number, "category_id": 1, "bbox": box, "area": 1.0}
        for number in (1, 2)
        for k, box in enumerate((FIRST, SECOND))
    ]
    truth = {"images": images, "annotations": truths, "categories": [{"id": 1, "name": "cup"}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    ghost = found(1, [10.0, 250.0, 50.0, 50.0])
    sides = {
        "old": [found(1, FIRST), *[found(1, [5.0, 5.0, 20.0, 20.0], 0.6)] * 6,
                found(1, SECOND, score=0.5)],
        "new": [found(1, FIRST), found(1, SECOND), ghost],
    }  # fmt: skip
    reports = []
    for side, boxes in sides.items():
        file = tmp_path / f"{side}.json"
        file.write_text(json.dumps(boxes))
        truth_file = str(tmp_path / "truth.json")
        where = str(tmp_path / "data.yaml")
        reports.append(report(ground_truth=truth_file, predictions=str(file), data=where))
    changes = {
        "data": reports[0].data,
        "baseline_report": reports[0],
        "candidate_report": reports[1],
        "per_unit": (unit("1", 0.4), unit("2", -0.2)),
    }
    return data().model_copy(update=changes)


def count(image: Image.Image, color: str) -> int:
    """Pixels of exactly this colour."""
    wanted = tuple(bytes.fromhex(color[1:]))
    return int((np.asarray(image) == wanted).all(axis=2).sum())


def halves(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    width = (image.width - 8) // 2
    old = image.crop((0, HEAD, width, image.height))
    return old, image.crop((image.width - width, HEAD, image.width, image.height))


def test_each_side_shows_what_it_found_and_what_it_missed(compared: DataComparison) -> None:
    first, second = pairs(compared)
    assert (first.unit.unit, second.unit.unit) == ("1", "2")
    old, new = halves(first.image)
    assert count(old, RIGHT) > 0
    assert count(old, WRONG) == 0
    assert count(old, MISSED) > 0, "a detection that its F1 does not count finds nothing"
    assert count(new, RIGHT) > count(old, RIGHT)
    assert count(new, WRONG) > 0
    assert count(new, MISSED) == 0
    left, right = halves(second.image)
    assert count(left, MISSED) == count(right, MISSED) > 0


def test_a_second_detection_of_the_same_object_is_wrong(
    compared: DataComparison, tmp_path: Path
) -> None:
    beside = [FIRST[0] + 8, *FIRST[1:]]
    (tmp_path / "old.json").write_text(json.dumps([found(1, FIRST), found(1, beside)]))
    old, _ = halves(next(pairs(compared)).image)
    assert count(old, RIGHT) > 0
    assert count(old, WRONG) > 0


def test_another_class_is_wrong_however_well_it_fits(
    compared: DataComparison, tmp_path: Path
) -> None:
    truth = json.loads((tmp_path / "truth.json").read_text())
    truth["categories"].append({"id": 2, "name": "bowl"})
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    (tmp_path / "old.json").write_text(json.dumps([found(1, FIRST, label=2)]))
    old, _ = halves(next(pairs(compared)).image)
    assert count(old, RIGHT) == 0
    assert count(old, WRONG) > 0


def test_an_evaluation_whose_predictions_are_gone_is_not_drawn(
    compared: DataComparison, tmp_path: Path
) -> None:
    (tmp_path / "old.json").unlink()
    assert list(pairs(compared)) == []


def test_images_that_are_gone_are_passed_over(compared: DataComparison, tmp_path: Path) -> None:
    (tmp_path / "images" / "1.png").unlink()
    assert [pair.unit.unit for pair in pairs(compared)] == ["2"]


def test_half_are_gains_and_half_are_losses(compared: DataComparison) -> None:
    many = (*(unit("1", 0.4) for _ in range(9)), unit("2", -0.2))
    drawn = list(pairs(compared.model_copy(update={"per_unit": many}), most=4))
    assert [pair.unit.unit for pair in drawn] == ["1", "1", "2"]


def test_a_task_without_images_has_no_gallery(compared: DataComparison) -> None:
    other = compared.baseline_report.model_copy(update={"task": "temporal"})
    assert list(pairs(compared.model_copy(update={"baseline_report": other}))) == []


def test_images_are_called_by_their_files(compared: DataComparison) -> None:
    assert [unit.unit for unit in named(compared).per_unit] == ["1.png", "2.png"]
