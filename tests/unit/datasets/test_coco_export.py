"""A split as COCO ground truth: scored, written and read again."""

import json
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets import (
    DetectionSplit,
    Limits,
    read_split,
    shared_images,
    summary,
    to_coco,
    write_coco,
)
from backend.scoring.detection.task import evaluate
from tests.support.detection_folders import CLASSES, SOUND, Object, dair, image

OBJECTS: dict[str, list[Object]] = {
    "000001": [*SOUND, ("Bus", (50.25, 5.5, 90.125, 60)), ("Unknown_movable", (1, 40, 9, 60))],
    "000002": [],
    "000003": [("Pedestrian", (5, 5, 25, 60)), ("CarIgnore", (30, 1, 60, 30))],
}


@pytest.fixture
def split(tmp_path: Path) -> DetectionSplit:
    return read_split(dair(tmp_path / "set", OBJECTS, {"train": list(OBJECTS)}), "train", CLASSES)


def results(split: DetectionSplit) -> list[dict[str, object]]:
    return [
        {"image_id": frame.id, "category_id": int(label) + 1, "score": 0.9,
         "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]]}
        for frame in split.frames for label, box in zip(frame.labels, frame.boxes, strict=True)
    ]  # fmt: skip


def test_perfect_boxes_score_one(split: DetectionSplit) -> None:
    metrics = evaluate(to_coco(split), results(split)).scores().metrics
    assert metrics["mAP50-95"] == pytest.approx(1.0)


def test_what_lies_in_an_ignored_region_counts_for_nothing(split: DetectionSplit) -> None:
    def precision(label: int, bbox: list[float], image_id: int) -> float | None:
        extra = {"image_id": image_id, "category_id": label, "score": 0.95, "bbox": bbox}
        return evaluate(to_coco(split), [*results(split), extra]).scores().metrics["precision"]

    assert precision(2, [1, 40, 8, 20], 1) == 1.0, "every class is ignored there"
    assert precision(1, [30, 1, 30, 29], 3) == 1.0, "cars are ignored there"
    beside = precision(2, [30, 1, 30, 29], 3)
    assert beside is not None
    assert beside < 1, "trucks are judged there"


def test_numbers_of_a_split(split: DetectionSplit) -> None:
    told = summary(split)
    assert (told.images, told.without_objects, told.ignored) == (3, 1, 2)
    assert told.objects == split.objects
    assert told.sizes["bus"] == {"small": 0, "medium": 1, "large": 0}
    assert told.sizes["car"] == {"small": 1, "medium": 0, "large": 0}


def test_an_object_of_exactly_32_pixels_is_medium(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": [("Car", (0, 0, 32, 32))]}, {"train": [1]})
    assert summary(read_split(root, "train", CLASSES)).sizes["car"]["medium"] == 1


@pytest.mark.parametrize("copy", [False, True], ids=["in place", "copied"])
def test_written_and_read_again(tmp_path: Path, split: DetectionSplit, copy: bool) -> None:
    written = write_coco([split], tmp_path / "out", copy=copy)
    again = read_split(written, "train", CLASSES)
    assert read_split(written.parent, "train", CLASSES).digest == again.digest
    assert [f.id for f in again.frames] == [f.id for f in split.frames]
    for old, new in zip(split.frames, again.frames, strict=True):
        np.testing.assert_allclose(new.boxes, old.boxes)
        assert new.labels.tolist() == old.labels.tolist()
    images = sorted((tmp_path / "out").rglob("*.jpg"))
    assert len(images) == (3 if copy else 0)
    if copy:
        assert {f.path for f in again.frames} == set(images)
        (tmp_path / "out").rename(tmp_path / "elsewhere")
        assert len(read_split(tmp_path / "elsewhere", "train", CLASSES).frames) == 3


def test_the_digest_survives_the_conversion(tmp_path: Path) -> None:
    boxes = np.random.default_rng(0).uniform(1, 30, (50, 2))
    objects = [("Car", (x, y, x + 20.123456, y + 30.654321)) for x, y in boxes.tolist()]
    split = read_split(dair(tmp_path / "a", {"000001": objects}, {"val": [1]}), "val", CLASSES)
    again = read_split(write_coco([split], tmp_path / "b"), "val", CLASSES)
    assert again.digest == split.digest


def test_images_of_several_folders(tmp_path: Path) -> None:
    """Names that lead out of the dataset's folder: absolute in a YOLO split."""
    for number, folder in enumerate(("one/images", "two/images")):
        image(tmp_path / folder / "a.jpg", seed=number)
        label = tmp_path / folder.replace("images", "labels") / "a.txt"
        label.parent.mkdir(parents=True)
        label.write_text("0 .5 .5 .5 .5\n")
    data = tmp_path / "one/data.yaml"
    data.write_text(f"train: [images, {tmp_path}/two/images]\nnames: [car]\n")
    split = read_split(data, "train", ("car",))
    for copy in (False, True):
        written = write_coco([split], tmp_path / f"out{copy}", copy=copy)
        again = read_split(written, "train", ("car",))
        assert {frame.digest for frame in again.frames} == {f.digest for f in split.frames}


def test_nothing_is_written_over(tmp_path: Path, split: DetectionSplit) -> None:
    (tmp_path / "out").mkdir()
    write_coco([split], tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="already has something in it"):
        write_coco([split], tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failure_leaves_nothing(tmp_path: Path, split: DetectionSplit) -> None:
    split.frames[2].path.unlink()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="cannot be written"):
        write_coco([split], tmp_path / "out", copy=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_images_in_two_splits(tmp_path: Path) -> None:
    keys = ["000001", "000002", "000003"]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND), {"train": keys[:2], "val": keys[2:]})
    splits = [read_split(root, name, CLASSES) for name in ("train", "val")]
    assert shared_images(splits) == ()
    (root / "image/000003.jpg").write_bytes((root / "image/000002.jpg").read_bytes())
    splits = [read_split(root, name, CLASSES) for name in ("train", "val")]
    assert shared_images(splits) == ("images of val that are in train too: 1 (image/000002.jpg)",)


def test_category_ids_are_not_off_by_one(split: DetectionSplit) -> None:
    coco = json.loads(json.dumps(to_coco(split)))
    names = {item["id"]: item["name"] for item in coco["categories"]}
    assert names[1] == "car"
    assert [names[a["category_id"]] for a in coco["annotations"] if not a["iscrowd"]] == [
        "car", "bus", "person",
    ]  # fmt: skip
    crowds = [a for a in coco["annotations"] if a["iscrowd"]]
    assert [names[a["category_id"]] for a in crowds] == [*CLASSES, "car"]
    assert Limits() == (0.05, 0.2)
