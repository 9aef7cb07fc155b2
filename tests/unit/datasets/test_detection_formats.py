"""YOLO and COCO: the same split from either, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.core.errors import DataError
from backend.datasets import DetectionSplit, Limits, open_dataset, read_split, summary
from tests.support.detection_folders import CLASSES, coco, image, write

COCO256 = Path(__file__).parents[3].parent / "shared" / "data" / "coco256"
CAR = {"image_id": 7, "category_id": 3, "bbox": [10, 10, 20, 30]}


def refusal(data: Path, classes: tuple[str, ...] = ("car",), split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        read_split(data, split, classes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def yolo(root: Path, labels: dict[str, str]) -> Path:
    """A data.yaml with dog, car and lorry; each label file beside an image of 100 x 50."""
    for number, (name, text) in enumerate(labels.items()):
        image(root / f"images/train/{name}.png", size=(100, 50), seed=number)
        path = root / f"labels/train/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = root / "data.yaml"
    data.write_text("train: images/train\nnames: [dog, car, lorry]\n")
    return data


def boxes(split: DetectionSplit) -> list[list[list[float]]]:
    return [frame.boxes.round(6).tolist() for frame in split.frames]


def test_real_photographs() -> None:
    if not COCO256.is_dir():
        pytest.skip("../shared/data/coco256 is not here")
    train = read_split(COCO256 / "data.yaml", "train", CLASSES)
    assert train.objects == {
        "car": 46, "truck": 12, "bus": 7, "person": 254, "bicycle": 6, "motorcycle": 5,
    }  # fmt: skip
    assert len(train.frames) == 128
    assert summary(train).without_objects == 57
    assert sum(train.findings.dropped.values()) == 599
    assert {frame.id for frame in train.frames} == {int(f.path.stem) for f in train.frames}
    assert max(max(frame.width, frame.height) for frame in train.frames) == 320
    other = read_split(COCO256, "valid", ("person", "dog"))
    assert other.split == "valid"
    assert other.objects["person"] == 350


def test_classes_go_by_name_in_our_order(tmp_path: Path) -> None:
    data = yolo(tmp_path, {"1": "1 .5 .5 .2 .4\n0 .5 .5 .1 .1\n", "2": "2 .2 .5 .2 .4\n", "3": ""})
    mapping = tmp_path / "map.yaml"
    mapping.write_text("Lorry: truck\n")
    split = read_split(data, "train", ("truck", "car"), mapping)
    assert [frame.labels.tolist() for frame in split.frames] == [[1], [0], []]
    assert boxes(split) == [[[40, 15, 60, 35]], [[10, 15, 30, 35]], []]
    assert split.findings.dropped == {"dog": 1}
    assert "objects of train not among the classes: 1 (dog 1)" in split.remarks
    assert "images of train without an object, which stay: 1" in split.remarks


def test_a_class_without_an_object_is_named(tmp_path: Path) -> None:
    split = read_split(yolo(tmp_path, {"1": "1 .5 .5 .2 .4\n"}), "train", ("car", "lorry"))
    assert "classes without an object in train: lorry" in split.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 50 20 30 10\n", "line 1: coordinates are shares of the image"),
        ("1 nan .5 .2 .2\n", "line 1: coordinates"),
        ("3 .5 .5 .2 .2\n", "line 1: class id 3, but the dataset has 3 classes"),
        ("1 .5 .5 -.2 .2\n", "line 1: coordinates"),
    ],
)
def test_a_wrong_label_names_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert f"labels/train/1.txt, {said}" in refusal(yolo(tmp_path, {"1": text}))


def test_small_and_flat_boxes_are_counted(tmp_path: Path) -> None:
    text = "1 .5 .5 .2 .4\n1 .5 .5 .005 .4\n1 .5 .5 0 .4\n1 .99 .5 .04 .2\n"
    split = read_split(yolo(tmp_path, {"1": text}), "train", ("car",), limits=Limits(clipped=0.5))
    assert split.objects == {"car": 2}
    assert {key: len(names) for key, names in split.findings.bad_boxes.items()} == {
        "smaller than a pixel": 2,
    }
    assert split.findings.clipped == ("images/train/1.png",)
    assert split.frames[0].boxes[1].tolist() == [97, 20, 100, 30]


def test_a_lying_photograph(tmp_path: Path) -> None:
    """EXIF turns it: width and height are those that are seen, and shares are of them."""
    data = yolo(tmp_path, {"1": "1 .5 .5 .2 .4\n"})
    exif = Image.Exif()
    exif[0x0112] = 6
    image(tmp_path / "images/train/1.png", size=(100, 50), exif=exif)
    split = read_split(data, "train", ("car",))
    assert (split.frames[0].width, split.frames[0].height) == (50, 100)
    assert boxes(split) == [[[20, 30, 30, 70]]]


def test_no_class_in_common(tmp_path: Path) -> None:
    said = refusal(yolo(tmp_path, {"1": "1 .5 .5 .2 .4\n"}), ("tram",))
    assert "none of the classes tram is in the dataset, which has dog, car, lorry" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lory: car\n", "'lory' is no class of"),
        ("lorry: trukc\n", "'lorry' leads to 'trukc', which is none of the classes car"),
        ("lorry: [car]\n", "'lorry' must lead to one class, null or ignore"),
        ("- lorry\n", "expected names of the dataset"),
        ("a: [\n", "cannot be read as a class map"),
    ],
)
def test_a_wrong_class_map(tmp_path: Path, text: str, said: str) -> None:
    mapping = tmp_path / "map.yaml"
    mapping.write_text(text)
    with pytest.raises(DataError, match=r"map\.yaml") as caught:
        read_split(yolo(tmp_path, {"1": "1 .5 .5 .2 .4\n"}), "train", ("car",), mapping)
    assert said in str(caught.value)


def test_coco_keeps_ids_and_regions(tmp_path: Path) -> None:
    crowd = {"image_id": 30, "category_id": 3, "bbox": [0, 0, 50, 40], "iscrowd": 1}
    coco(tmp_path, "val", [CAR, crowd, {**CAR, "category_id": 9}])
    split = read_split(tmp_path, "val", ("car",))
    assert [frame.id for frame in split.frames] == [7, 30]
    assert boxes(split) == [[[10, 10, 30, 40]], []]
    assert split.frames[1].ignored.tolist() == [[0, 0, 50, 40]]
    assert split.frames[1].ignored_labels.tolist() == [0]
    assert split.findings.dropped == {"dog": 1}
    assert open_dataset(tmp_path).class_names() == ("car", "dog")


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/instances_val.json", "images"),
        ("annotations/val.json", "val"),
        ("annotations/val.json", "."),
        ("valid/_annotations.coco.json", "valid"),
    ],
)
def test_where_coco_files_lie(tmp_path: Path, annotations: str, images: str) -> None:
    coco(tmp_path / "from", "val", [CAR])
    root = tmp_path / "set"
    (root / annotations).parent.mkdir(parents=True)
    (tmp_path / "from/annotations/val.json").rename(root / annotations)
    if images == ".":
        for file in (tmp_path / "from/images/val").iterdir():
            file.rename(root / file.name)
    else:
        (root / images).parent.mkdir(parents=True, exist_ok=True)
        for file in (tmp_path / "from/images/val").iterdir():
            (root / images).mkdir(exist_ok=True)
            file.rename(root / images / file.name)
    assert len(read_split(root, "val", ("car",)).frames) == 2


def test_a_yaml_that_names_coco_files(tmp_path: Path) -> None:
    coco(tmp_path, "val", [CAR])
    data = tmp_path / "my.yaml"
    data.write_text("test: {images: images/val, annotations: annotations/val.json}\n")
    assert open_dataset(data).splits == ("test",)
    assert len(read_split(data, "holdout", ("car",)).frames) == 2
    data.write_text("val: {annotations: annotations/val.json}\n")
    assert "'val' needs images" in refusal(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 8}, "annotation 1 is of image 8, which is not listed"),
        ({"category_id": 4}, "annotation 1 is of category 4, which is not listed"),
        ({"image_id": None}, "annotation 1: image_id None is not a whole number"),
    ],
)
def test_coco_that_contradicts_itself(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    coco(tmp_path, "train", [{**CAR, **change}])
    assert said in refusal(tmp_path)


def test_odd_coco_boxes_are_counted(tmp_path: Path) -> None:
    odd = [{**CAR, "bbox": box} for box in ([1, 1, -5, 9], None, [1, 1, float("inf"), 5], [1, 2])]
    coco(tmp_path, "train", [CAR, *odd])
    split = read_split(tmp_path, "train", ("car",))
    assert split.objects == {"car": 1}
    counts = sorted(len(names) for names in split.findings.bad_boxes.values())
    assert counts == [1, 3]


def test_coco_ids_occur_once(tmp_path: Path) -> None:
    file = coco(tmp_path, "train", [CAR])
    content = json.loads(file.read_text())
    write(file, {**content, "images": [*content["images"], content["images"][0]]})
    assert "the image id 7 occurs twice" in refusal(tmp_path)


def test_images_of_another_size_than_annotated(tmp_path: Path) -> None:
    coco(tmp_path, "train", [CAR])
    image(tmp_path / "images/train/0030.jpg", size=(48, 32))
    assert "size differs from the annotations' 1 (0030.jpg)" in refusal(tmp_path)


def test_coco_images_that_are_not_there(tmp_path: Path) -> None:
    coco(tmp_path, "train", [CAR])
    for file in (tmp_path / "images/train").iterdir():
        file.unlink()
    assert "its image 0007.jpg is in none of" in refusal(tmp_path)


def test_two_files_of_one_split(tmp_path: Path) -> None:
    for name in ("train", "train2"):
        coco(tmp_path, name, [CAR])
    assert "are both for 'train'" in refusal(tmp_path)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    assert "no such file or folder" in refusal(tmp_path / "none")
    assert "no dataset found in this folder" in refusal(tmp_path)
    (tmp_path / "a.txt").write_text("")
    assert "expected a DAIR-V2X-I folder" in refusal(tmp_path / "a.txt")
    (tmp_path / "a.yaml").write_text("- 1\n")
    assert "expected a YOLO data.yaml" in refusal(tmp_path / "a.yaml")
    coco(tmp_path, "train", [CAR])
    assert "no split 'dev'; it has train" in refusal(tmp_path, split="dev")


def test_the_digest_follows_content_not_place(tmp_path: Path) -> None:
    splits = []
    for name in ("a", "b/c"):
        coco(tmp_path / name, "train", [CAR])
        splits.append(read_split(tmp_path / name, "train", ("car",)))
    assert splits[0].digest == splits[1].digest
    coco(tmp_path / "a", "train", [{**CAR, "bbox": [10, 10, 20, 31]}])
    moved = read_split(tmp_path / "a", "train", ("car",)).digest
    image(tmp_path / "b/c/images/train/0030.jpg", seed=1)
    repainted = read_split(tmp_path / "b/c", "train", ("car",)).digest
    renamed = read_split(tmp_path / "a", "train", ("car", "dog")).digest
    assert len({splits[0].digest, moved, repainted, renamed}) == 4


def test_frames_come_in_order_of_name(tmp_path: Path) -> None:
    data = yolo(tmp_path, {name: "1 .5 .5 .2 .4\n" for name in ("b", "a", "c")})
    split = read_split(data, "train", ("car",))
    assert [frame.path.stem for frame in split.frames] == ["a", "b", "c"]
    assert [frame.id for frame in split.frames] == [1, 2, 3]
    assert split.as_input().images == split.as_input().instances == 3
    assert all(frame.boxes.dtype == np.float64 for frame in split.frames)
