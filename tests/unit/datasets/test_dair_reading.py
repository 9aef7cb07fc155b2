"""DAIR-V2X-I folders: the golden one, and each way in which one can be wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backend.core.errors import DataError
from backend.datasets import EVERY_CLASS, DetectionSplit, Limits, read_split, to_coco
from backend.datasets.dair import normal_type
from backend.datasets.dair_index import read_index
from tests.support.detection_folders import CLASSES, SOUND, dair, image, label, write

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "moe" / "dair"
ANYTHING = Limits(1.0, 1.0)


def read(root: Path, split: str = "train", class_map: Path | None = None) -> DetectionSplit:
    return read_split(root, split, CLASSES, class_map, ANYTHING)


def refusal(root: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        read_split(root, split, CLASSES)
    return str(caught.value)


def plain(items: list[dict[str, Any]], *without: str) -> list[str]:
    kept = ({k: v for k, v in item.items() if k not in without} for item in items)
    return sorted(json.dumps(item, sort_keys=True) for item in kept)


@pytest.fixture(scope="module")
def expected() -> Any:
    if not GOLDEN.is_dir():
        pytest.skip("../shared/golden is not here")
    return json.loads((GOLDEN / "expect.json").read_text())


@pytest.fixture(scope="module")
def golden(expected: Any) -> list[DetectionSplit]:
    return [read(GOLDEN / "root", split) for split in ("train", "val")]


def test_the_golden_content(golden: list[DetectionSplit], expected: Any) -> None:
    coco = [to_coco(split) for split in golden]
    images = [item for part in coco for item in part["images"]]
    annotations = [item for part in coco for item in part["annotations"]]
    assert images == expected["images"]
    numbers = [dict(item, bbox=[float(v) for v in item["bbox"]]) for item in annotations]
    wanted = [dict(a, bbox=[float(v) for v in a["bbox"]]) for a in expected["annotations"]]
    assert plain(numbers, "id") == plain(wanted, "id")
    for part in coco:
        ids = [item["id"] for item in part["annotations"]]
        assert len(set(ids)) == len(ids)
        assert [item["name"] for item in part["categories"]] == expected["classes"]
        assert [item["id"] for item in part["categories"]] == [1, 2, 3, 4, 5, 6]


def test_the_golden_counts(golden: list[DetectionSplit], expected: Any) -> None:
    def summed(counts: list[Mapping[str, int]]) -> dict[str, int]:
        return {key: sum(c.get(key, 0) for c in counts) for c in counts for key in c}

    findings = [split.findings for split in golden]
    counts = expected["counts"]
    assert summed([f.dropped for f in findings]) == counts["ignored_types"]
    assert summed([f.unknown for f in findings]) == counts["unknown_types"]
    assert sum(len(v) for f in findings for v in f.bad_boxes.values()) == counts["bad_boxes"]
    assert sum(len(f.clipped) for f in findings) == counts["clipped_boxes"]
    assert {**findings[0].left_out, **findings[1].left_out} == expected["left_out"]
    for split in golden:
        assert [frame.id for frame in split.frames] == expected["split"][split.split]


def test_the_golden_index(expected: Any) -> None:
    index = read_index(GOLDEN / "root")
    missing = [key for split in index.splits for key in index.without_frame(split)]
    assert missing == expected["split_ids_without_frame"]


def test_the_golden_folder_is_too_broken_to_train_on(expected: Any) -> None:
    said = refusal(GOLDEN / "root")
    assert "2 of 8 frames cannot be used, more than 5%" in said
    assert "image missing 1 (000006); label missing 1 (000007)" in said
    assert "009999" in refusal(GOLDEN / "root", "test")


@pytest.mark.parametrize(
    ("kind", "label"),
    [("Car", 0), ("van", 0), ("Truck", 1), ("TRUNK", 1), ("Truck(Trunk)", None), ("Bus", 2),
     ("pedestrian", 3), ("Cyclist", 4), ("Motorcyclist", 5), ("Tricyclist", 5), ("Barrow", None),
     ("TrafficCone", None), ("Traffic_cone", None), ("barrowlist", None)],
)  # fmt: skip
def test_each_type(tmp_path: Path, kind: str, label: int | None) -> None:
    split = read(dair(tmp_path, {"000001": [*SOUND, (kind, (50, 10, 60, 30))]}, {"train": [1]}))
    assert split.frames[0].labels.tolist() == ([0] if label is None else [0, label])


@pytest.mark.parametrize(
    ("kind", "label"),
    [("CarIgnore", 0), ("carignore", 0), ("PedestrianIgnore", 3), ("OtherIgnore", EVERY_CLASS),
     ("CyclistIgnore", EVERY_CLASS), ("Unknown_movable", EVERY_CLASS),
     ("unknowns_unmovable", EVERY_CLASS), ("Unknown", EVERY_CLASS)],
)  # fmt: skip
def test_what_is_not_judged(tmp_path: Path, kind: str, label: int) -> None:
    split = read(dair(tmp_path, {"000001": [*SOUND, (kind, (50, 10, 60, 30))]}, {"train": [1]}))
    assert split.frames[0].labels.tolist() == [0]
    assert split.frames[0].ignored_labels.tolist() == [label]
    assert split.frames[0].ignored.tolist() == [[50, 10, 60, 30]]


def test_unknown_is_one_word() -> None:
    assert {normal_type(n) for n in ("Unknown_movable", "unknowns movable")} == {"unknown"}


def test_a_class_map_goes_before_our_judgement(tmp_path: Path) -> None:
    objects = [(kind, (10, 10, 40, 30)) for kind in ("Van", "Tricyclist", "Barrowlist", "Car")]
    root = dair(tmp_path / "set", {"000001": objects}, {"train": ["000001"]})
    mapping = tmp_path / "map.yaml"
    mapping.write_text("van: bus\nTricyclist: null\nBarrowlist: 'ignore:person'\n")
    split = read(root, class_map=mapping)
    assert split.frames[0].labels.tolist() == [2, 0]
    assert split.frames[0].ignored_labels.tolist() == [3]
    assert split.findings.dropped == {"Tricyclist": 1}


def test_our_judgement_is_told(tmp_path: Path) -> None:
    objects = [(kind, (10, 10, 40, 30)) for kind in ("Van", "VAN", "Tricyclist", "Car")]
    root = dair(tmp_path / "set", {"000001": objects}, {"train": ["000001"]})
    said = "by our judgement, which a class map overrides, in train: "
    assert f"{said}Van 1 as car, VAN 1 as car, Tricyclist 1 as motorcycle" in read(root).remarks
    mapping = tmp_path / "map.yaml"
    mapping.write_text("van: truck\nTricyclist: bicycle\n")
    assert not [one for one in read(root, class_map=mapping).remarks if said in one]


def test_a_model_of_fewer_classes_counts_the_others(tmp_path: Path) -> None:
    objects = [(kind, (10, 10, 40, 30)) for kind in ("Car", "Bus", "Bus", "CarIgnore")]
    root = dair(tmp_path, {"000001": objects}, {"train": ["000001"]})
    split = read_split(root, "train", ("bus",))
    assert split.objects == {"bus": 2}
    assert split.findings.dropped == {"Car": 1, "CarIgnore": 1}


def test_data_info_may_lie_in_metadata_and_labels_be_named_otherwise(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": SOUND, "000002": SOUND}, {"train": ["000001", 2]})
    renamed = {"image_path": "image/000002.jpg", "label_camera_path": "elsewhere/b.json"}
    rows = [{"image_path": "image/000001.jpg"}, renamed]
    (root / "data_info.json").unlink()
    write(root / "metadata/data_info.json", rows)
    (root / "elsewhere").mkdir()
    (root / "label/camera/000002.json").rename(root / "elsewhere/b.json")
    assert [frame.id for frame in read(root).frames] == [1, 2]


def test_paths_that_only_look_as_if_they_left_the_root(tmp_path: Path) -> None:
    root = dair(tmp_path / "set", {"000001": SOUND, "000002": SOUND}, {"train": [1, 2]})
    rows = [{"image_path": str(root / "image/000001.jpg")},
            {"image_path": "label/../image/000002.jpg"}]  # fmt: skip
    write(root / "data_info.json", rows)
    (tmp_path / "other").mkdir()
    frames = read(tmp_path / "other" / ".." / "set").frames
    assert [frame.name for frame in frames] == ["image/000001.jpg", "image/000002.jpg"]


def test_each_unusable_frame_says_why(tmp_path: Path) -> None:
    keys = [f"{n:06d}" for n in range(1, 9)]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND), {"train": keys})
    (root / "image/000001.jpg").unlink()
    (root / "image/000002.jpg").write_bytes((root / "image/000003.jpg").read_bytes()[:500])
    (root / "label/camera/000003.json").write_text('{"type": "Car"}')
    (root / "label/camera/000004.json").write_text("[")
    (root / "label/camera/000005.json").unlink()
    rows = json.loads((root / "data_info.json").read_text())
    rows[5]["label_camera_std_path"] = "../000006.json"
    write(root / "data_info.json", [*rows, rows[6], {"image_path": "image/x.jpg"}])
    assert read(root).findings.left_out == {
        "000001": "image missing",
        "000002": "image unreadable",
        "000003": "label is not a list of objects",
        "000004": "label unreadable",
        "000005": "label missing",
        "000006": "path outside root",
        "000007 (row 8)": "duplicate id",
        "row 9": "no id",
    }


def test_five_percent_may_be_unusable(tmp_path: Path) -> None:
    keys = [f"{n:06d}" for n in range(20)]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND), {"train": keys})
    (root / "image/000004.jpg").unlink()
    split = read_split(root, "train", CLASSES)
    assert "frames of train left out: 1 of 20: image missing 1 (000004)" in split.notes
    (root / "image/000005.jpg").unlink()
    assert "2 of 20 frames cannot be used" in refusal(root)


def test_only_the_first_ten_are_named(tmp_path: Path) -> None:
    keys = [f"{n:06d}" for n in range(12)]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND), {"train": keys})
    for key in keys[:11]:
        (root / f"image/{key}.jpg").unlink()
    said = refusal(root)
    assert "image missing 11 (000000, " in said
    assert "000009, …" in said
    assert "000010" not in said


def test_boxes_of_a_resized_image(tmp_path: Path) -> None:
    sound = [("Car", (10 + n, 10, 40 + n, 30)) for n in range(8)]
    over = [("Car", (90, 10, 120, 30)), ("Car", (190, 10, 220, 30))]
    root = dair(tmp_path, {"000001": [*sound, *over]}, {"train": ["000001"]})
    assert read_split(root, "train", CLASSES).objects["car"] == 9, "20 % are put up with"
    label(root, "000001", [*sound, *over, over[0]])
    said = refusal(root)
    assert "3 of 11 boxes reach over the border" in said
    assert "were the images resized" in said


def test_boxes_in_shares_are_recognised(tmp_path: Path) -> None:
    objects = [("Car", (0.1, 0.1, 0.5, 0.4)), ("Car", (0.3, 0.1, 0.9, 1.0)), SOUND[0]]
    root = dair(tmp_path, {"000001": objects}, {"train": ["000001"]})
    assert "these look like shares of the image" in refusal(root)


def test_released_test_labels_do_not_exist(tmp_path: Path) -> None:
    frames = {"000001": SOUND, "000002": SOUND}
    root = dair(tmp_path, frames, {"train": ["000001"], "test": ["000002"]})
    assert [frame.id for frame in read(root, "holdout").frames] == [2]
    assert read(root, "holdout").split == "holdout"
    (root / "label/camera/000002.json").unlink()
    for name in ("test", "holdout"):
        assert "the test split has no labels here" in refusal(root, name)


def test_the_cooperative_split_file(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": SOUND, "000002": SOUND})
    write(root / "cooperative-split-data.json", {
        "cooperative_split": {"train": ["000002"]},
        "infrastructure_split": {"train": ["000001"], "val": ["000002"]},
        "vehicle_split": {"train": ["000002"]},
    })  # fmt: skip
    assert [frame.id for frame in read(root).frames] == [1]


def test_a_frame_in_two_splits(tmp_path: Path) -> None:
    keys = ["000001", "000002"]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND), {"train": keys, "val": ["000002"]})
    assert "1 ids are in both train and val: 000002" in refusal(root)


def test_frames_without_split_and_the_other_way_round(tmp_path: Path) -> None:
    root = dair(tmp_path, dict.fromkeys(["000001", "000002"], SOUND), {"train": ["000001", "9"]})
    notes = read(root).notes
    assert "1 ids of train have no frame: 000009" in notes
    assert "1 frames are in no split: 000002" in notes


def test_without_a_split_file_a_hash_decides(tmp_path: Path) -> None:
    keys = [f"{n:06d}" for n in range(60)]
    root = dair(tmp_path, dict.fromkeys(keys, SOUND))
    train, val = read(root), read(root, "val")
    ids = [frame.id for split in (train, val) for frame in split.frames]
    assert sorted(ids) == list(range(60))
    assert 4 <= len(val.frames) <= 20
    assert "near-duplicates" in train.notes[0]
    write(root / "data_info.json", json.loads((root / "data_info.json").read_text())[:30])
    assert {f.id for f in read(root, "val").frames} == {f.id for f in val.frames if f.id < 30}
    assert "no split 'test'; it has train, val; no split file" in refusal(root, "test")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("data_info.json", {"a": 1}, "expected a list with one object per frame"),
        ("split.json", ["000001"], "expected train, val and test"),
        ("split.json", {"train": ["car"]}, "'car' is not the id of a frame"),
        ("split.json", {"train": []}, "it is empty"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, name: str, content: object, said: str) -> None:
    root = dair(tmp_path, {"000001": SOUND})
    write(root / name, content)
    assert said in refusal(root)


def test_two_split_files(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": SOUND})
    for name in ("split.json", "metadata/my-split.json"):
        write(root / name, {"train": ["000001"]})
    assert "are both split files" in refusal(root)


def test_sizes_come_from_the_images(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": SOUND}, {"train": ["000001"]})
    image(root / "image/000001.jpg", size=(200, 100))
    frame = read(root).frames[0]
    assert (frame.width, frame.height) == (200, 100)
    assert frame.name == "image/000001.jpg"


def test_a_split_without_any_object_of_the_classes(tmp_path: Path) -> None:
    root = dair(tmp_path, {"000001": [], "000002": [("Trafficcone", (1, 1, 9, 9))]}, {
        "train": ["000001", "000002"]})  # fmt: skip
    assert "no object of car, truck" in refusal(root)
