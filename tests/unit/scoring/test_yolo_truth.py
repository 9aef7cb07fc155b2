"""A YOLO data.yaml as ground truth for results as Ultralytics writes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from backend.core.errors import DataError
from backend.scoring.detection.task import DetectionOptions, read
from backend.scoring.detection.yolo_truth import first_category, load_yolo_truth
from tests.support.detections import detector

COCO256 = Path(__file__).parents[4] / "shared" / "data" / "coco256" / "data.yaml"
NAMES = ["cat", "dog", "hen"]


def dataset(folder: Path, labels: dict[str, str], split: str = "val") -> Path:
    """Gray images of 200 x 100 pixels with label files; returns the data.yaml."""
    for name, text in labels.items():
        image = folder / "images" / split / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (200, 100)).save(image)
        label = folder / "labels" / split / Path(name).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        if text:
            label.write_text(text)
    data = folder / "data.yaml"
    data.write_text(yaml.safe_dump({split: f"images/{split}", "names": NAMES}))
    return data


def result(image: Any, category: int, bbox: list[float], score: float = 0.9) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def write(path: Path, results: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(results))
    return path


def test_boxes_are_in_pixels_and_images_are_called_as_ultralytics_calls_them(
    tmp_path: Path,
) -> None:
    data = dataset(tmp_path, {"000007.png": "2 0.5 0.5 0.1 0.2\n", "b.c.png": ""})

    truth = load_yolo_truth(data)

    assert [(i["id"], i["file_name"]) for i in truth["images"]] == [
        (7, "images/val/000007.png"),
        ("b.c", "images/val/b.c.png"),
    ]
    assert all((i["width"], i["height"]) == (200, 100) for i in truth["images"])
    (box,) = truth["annotations"]
    assert (box["image_id"], box["category_id"]) == (7, 3)
    assert box["bbox"] == pytest.approx([90, 40, 20, 20])
    assert box["area"] == pytest.approx(400)
    assert truth["categories"] == [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)]


def test_an_image_that_lies_on_its_side_has_the_size_that_is_shown(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.jpg": "0 0.5 0.5 1 1\n"})
    exif = Image.Exif()
    exif[274] = 6
    Image.new("L", (200, 100)).save(tmp_path / "images" / "val" / "a.jpg", exif=exif)

    truth = load_yolo_truth(data)

    assert truth["annotations"][0]["bbox"] == [0, 0, 100, 200]


@pytest.mark.parametrize(
    ("first", "asked"), [(0, None), (1, None), (0, 0), (1, 1)], ids=["0", "1", "asked 0", "asked"]
)
def test_results_that_count_classes_from_zero_or_one_are_scored(
    tmp_path: Path, first: int, asked: int | None
) -> None:
    data = dataset(tmp_path, {"a.png": "0 0.5 0.5 0.2 0.2\n2 0.1 0.1 0.1 0.1\n"})
    boxes = [result("a", first, [80, 40, 40, 20]), result("a", first + 2, [10, 5, 20, 10])]
    found = write(tmp_path / "found.json", boxes)

    scores = read(data, found, DetectionOptions(first_category=asked)).scores()

    assert scores.metrics["mAP50-95"] == pytest.approx(1)
    assert scores.per_class["dog"]["mAP50"] is None


def test_the_split_can_be_chosen(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": "0 0.5 0.5 0.2 0.2\n"}, split="holdout")
    found = write(tmp_path / "found.json", [])

    assert read(data, found, DetectionOptions(split="holdout")).units == ("a",)
    with pytest.raises(DataError, match="no split 'val'; it has holdout"):
        read(data, found, DetectionOptions())


def test_where_nothing_tells_how_classes_are_counted_it_must_be_said() -> None:
    with pytest.raises(DataError, match="say first_category=1"):
        first_category([result(1, 2, [])], classes=3)


def test_category_ids_of_more_classes_than_there_are_are_refused() -> None:
    with pytest.raises(DataError, match="0 and 3 both occur, but the data"):
        first_category([result(1, 0, []), result(1, 3, [])], classes=3)


def test_images_of_one_name_in_two_folders_are_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"x/a.png": "", "y/a.png": ""})
    with pytest.raises(DataError, match="have the same name, so predictions cannot tell"):
        load_yolo_truth(data)


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": ""})
    (tmp_path / "images" / "val" / "a.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"a\.png: cannot be read \(not an image\)"):
        load_yolo_truth(data)


def test_a_wrong_label_is_named_with_its_line(tmp_path: Path) -> None:
    data = dataset(tmp_path, {"a.png": "0 0.5 0.5 0.1 0.1\n9 0.5 0.5 0.1 0.1\n"})
    with pytest.raises(DataError, match=r"a\.txt, line 2: class id 9"):
        load_yolo_truth(data)


@pytest.mark.skipif(not COCO256.exists(), reason="../shared/data/coco256 is not there")
def test_real_labels_are_scored(tmp_path: Path) -> None:
    truth = load_yolo_truth(COCO256)
    found = write(tmp_path / "found.json", detector(truth, found=1.0, jitter=0.0, noise=3))

    evidence = read(COCO256, found)

    assert len(evidence.units) == 128
    assert evidence.scores().metrics["AR100"] == pytest.approx(1, abs=0.05)
