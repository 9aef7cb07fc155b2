"""COCO to MOT folders: what is converted, what is refused, and nothing half-written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.datasets.reading import coco_splits
from backend.datasets.tracking import Conversion, coco_to_mot, read_mot, read_tracking
from backend.datasets.tracking.linking import link
from tests.support import tracking_folders as made

Content = dict[str, Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.clean(tmp_path_factory.mktemp("tracking") / "set")


@pytest.fixture
def coco(sound: Path, tmp_path: Path) -> Path:
    return made.coco_videos(sound, tmp_path / "coco")


def edit(coco: Path, change: Callable[[Content], object]) -> None:
    """Change the annotation files of both splits."""
    for path in sorted((coco / "annotations").iterdir()):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


def each(part: str, change: Callable[[int, Content], object]) -> Callable[[Content], object]:
    """Change every object of a list."""
    return lambda content: [change(n, item) for n, item in enumerate(content[part])]


def converted(coco: Path, **how: Any) -> tuple[Path, tuple[str, ...]]:
    out = coco.parent / "mot"
    return coco_to_mot(coco_splits(coco), out, Conversion(**how))


def refusal(coco: Path, **how: Any) -> str:
    with pytest.raises(DataError) as caught:
        converted(coco, **how)
    assert "\n" not in str(caught.value)
    assert not (coco.parent / "mot").exists()
    assert not list(coco.parent.glob(".mot*")), "nothing half-written is left"
    return str(caught.value)


def test_what_comes_out_is_what_went_in(sound: Path, coco: Path) -> None:
    out, notes = converted(coco)
    assert notes == ("Left out, as they only name a group and own no box: people.",)
    for split in ("train", "val"):
        for before, after in zip(
            read_mot(sound, split).sequences, read_mot(out, split).sequences, strict=True
        ):
            assert before.name == after.name
            for name, values in vars(before.truth).items():
                assert np.array_equal(values, vars(after.truth)[name]), name
            assert (after.width, after.height, after.length) == (96, 64, 12)
            paths = zip(before.images, after.images, strict=True)
            assert all(a and b and a.read_bytes() == b.read_bytes() for a, b in paths)
    assert read_tracking(out, ["train", "val"]).findings == ()
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["ids"] == "file"
    assert manifest["ids_from"] == ["track_id"]
    assert manifest["categories"] == {"3": 1, "5": 2, "9": 3}
    assert manifest["dropped_categories"] == {"0": "people"}


def test_images_are_linked_or_copied(coco: Path) -> None:
    out, _ = converted(coco)
    image = out / "val/c/img1/00000001.png"
    assert image.is_symlink()
    again = coco_to_mot(coco_splits(coco), coco.parent / "copy", Conversion(copy=True)).folder
    assert not (again / "val/c/img1/00000001.png").is_symlink()
    assert (again / "val/c/img1/00000001.png").read_bytes() == image.read_bytes()


def test_without_track_ids_it_stops_and_names_the_ways_on(coco: Path) -> None:
    edit(coco, each("annotations", lambda n, item: item.pop("track_id")))
    said = refusal(coco)
    assert "N7: annotations have no track ids" in said
    for way in ("--ids link", "--ids per-box", "--ids from:<field>"):
        assert way in said


def test_ids_that_number_boxes_are_no_identities(coco: Path) -> None:
    edit(coco, each("annotations", lambda n, item: item.update(track_id=n)))
    assert "occurs once, so they number boxes" in refusal(coco)
    edit(coco, each("annotations", lambda n, item: item.update(attributes={"id": n})))
    edit(coco, each("annotations", lambda n, item: item.pop("track_id")))
    assert "'attributes.id' occurs once" in refusal(coco)


def test_some_annotations_without_an_id(coco: Path) -> None:
    edit(coco, lambda content: content["annotations"][3].pop("track_id"))
    assert "1 of 96 annotations have no 'track_id'" in refusal(coco)


def test_linked_ids_are_marked_as_such(sound: Path, coco: Path) -> None:
    edit(coco, each("annotations", lambda n, item: item.pop("track_id")))
    out, notes = converted(coco, ids="link")
    assert "pseudo identities" in notes[-1]
    split = read_mot(out, "train")
    assert split.identities == "pseudo"
    for before, after in zip(read_mot(sound, "train").sequences, split.sequences, strict=True):
        assert np.array_equal(before.truth.ids, after.truth.ids), "these boxes are easy to link"


def test_an_id_per_box_is_for_pseudo_clips_only(coco: Path) -> None:
    edit(coco, each("annotations", lambda n, item: item.pop("track_id")))
    edit(coco, each("images", lambda n, item: item.update(width=96 if n else 90)))
    out, _ = converted(coco, ids="per-box")
    read = read_tracking(out, ["train"])
    assert [s.name for s in read.splits[0].sequences] == ["images_90x64", "images_96x64"]
    assert [one.code for one in read.errors] == ["N7"]
    assert "converted with one id per box" in read.errors[0].sentence


def test_ids_of_a_field_that_is_named(coco: Path) -> None:
    def move(number: int, item: Content) -> None:
        item["player"] = {"shirt": f"no. {item.pop('track_id')}"}

    edit(coco, each("annotations", move))
    out, _ = converted(coco, ids="from:player.shirt")
    (sequence,) = read_mot(out, "val").sequences
    assert sequence.frame(7).ids.tolist() == [1, 2, 3, 4]
    (coco.parent / "again").mkdir()
    with pytest.raises(DataError, match=r"have no 'player\.name'"):
        coco_to_mot(coco_splits(coco), coco.parent / "again", Conversion("from:player.name"))
    with pytest.raises(DataError, match="--ids guess: expected link, per-box or from:<field>"):
        coco_to_mot(coco_splits(coco), coco.parent / "again", Conversion("guess"))


@pytest.mark.parametrize("field", ["instance_id", "attributes.track_id"])
def test_other_places_of_an_identity(coco: Path, field: str) -> None:
    def move(number: int, item: Content) -> None:
        track = item.pop("track_id")
        item.update({"attributes": {"track_id": track}} if "." in field else {field: track})

    edit(coco, each("annotations", move))
    out, _ = converted(coco)
    assert json.loads((out / "manifest.json").read_text())["ids_from"] == [field]


def test_video_and_frame_of_an_images_own_fields(coco: Path) -> None:
    def rename(number: int, item: Content) -> None:
        name, _, rest = item["file_name"].partition("_")
        item.update(video_id=ord(name), frame_id=int(rest[:4]) - 1)

    edit(coco, each("images", rename))
    edit(coco, lambda content: content.update(
        videos=[{"id": ord(n), "name": f"court {n}", "fps": 12.5} for n in "abc"]
    ))  # fmt: skip
    out, _ = converted(coco)
    split = read_mot(out, "train")
    assert [sequence.name for sequence in split.sequences] == ["court_a", "court_b"]
    assert split.sequences[0].fps == 12.5
    assert split.sequences[0].numbers.tolist() == list(range(1, 13)), "they counted from 0"
    assert json.loads((out / "manifest.json").read_text())["frame_offset"] == 1


def test_videos_that_have_a_number_only(coco: Path) -> None:
    """Each file may count its own from 0: the same number in two splits says nothing."""
    edit(coco, each("images", lambda n, item: item.update(video_id=n // 12, frame_id=n % 12 + 1)))
    out, _ = converted(coco)
    assert [s.name for s in read_mot(out, "train").sequences] == ["video_0", "video_1"]
    assert [s.name for s in read_mot(out, "val").sequences] == ["video_0"]


def test_a_category_that_names_a_group(coco: Path) -> None:
    out, _ = converted(coco, keep_groups=True)
    split = read_mot(out, "val")
    assert split.classes == ("people", *made.CLASSES)
    assert set(split.sequences[0].truth.labels.tolist()) == {1, 2, 3}


def test_a_group_that_owns_boxes_stays(coco: Path) -> None:
    edit(coco, lambda content: content["annotations"][0].update(category_id=0))
    assert read_mot(converted(coco)[0], "val").classes == ("people", *made.CLASSES)


def test_crowds_are_to_be_ignored_and_broken_boxes_are_counted(coco: Path) -> None:
    def spoil(content: Content) -> None:
        content["annotations"][0].update(iscrowd=1, segmentation={"counts": "x", "size": [64, 96]})
        content["annotations"][0].pop("track_id")
        content["annotations"][1]["bbox"] = [5, 5, 0, 9]

    edit(coco, spoil)
    out, notes = converted(coco)
    (sequence,) = read_mot(out, "val").sequences
    assert sequence.frame(0).marks.tolist() == [False, True, True]
    assert sequence.frame(0).ids.tolist() == [5, 3, 4]
    assert "val: 1 annotations have no usable box." in notes


def test_one_sequence_in_two_splits(coco: Path) -> None:
    content = json.loads((coco / "annotations/val.json").read_text())
    for image in content["images"]:
        path = coco / "images/val" / image["file_name"]
        image["file_name"] = image["file_name"].replace("c_", "a_")
        path.rename(path.with_name(image["file_name"]))
    (coco / "annotations/val.json").write_text(json.dumps(content))
    assert "the sequence a is in train and in val" in refusal(coco)


def renamed(coco: Path, name: Callable[[str], str]) -> None:
    """Give every image another name, on disk and in the annotations."""
    for path in sorted((coco / "images").rglob("*.png")):
        path.rename(path.with_name(name(path.name)))
    edit(coco, each("images", lambda n, item: item.update(file_name=name(item["file_name"]))))


def test_images_that_are_no_frames(coco: Path) -> None:
    renamed(coco, lambda name: f"{name.removesuffix('.png')}_x.png")
    assert "nothing tells video and frame of 24 of 24 images" in refusal(coco)
    out, _ = converted(coco, ids="per-box")
    assert read_mot(out, "train").frames == 24


def test_names_with_a_hash_may_be_no_frames(coco: Path) -> None:
    renamed(coco, lambda name: name.replace(".png", "_png.rf.0abc9.png"))
    out, notes = converted(coco)
    assert "val: 12 file names are those of an export that shuffles" in notes[-1]
    (sequence,) = read_mot(out, "val").sequences
    assert sequence.numbers.tolist() == list(range(1, 13))


def test_two_images_of_one_frame(coco: Path) -> None:
    edit(coco, lambda content: content["images"][1].update(
        file_name=content["images"][0]["file_name"]
    ))  # fmt: skip
    assert "are both frame 1 of a; augmented copies are no video" in refusal(coco)


def test_other_refusals_leave_nothing_behind(coco: Path) -> None:
    (coco / "images/val/c_0005.png").rename(coco / "gone.png")
    assert "c_0005.png does not exist" in refusal(coco)
    (coco / "gone.png").rename(coco / "images/val/c_0005.png")
    edit(coco, lambda content: content["images"][2].update(width=95))
    assert "images of a have different sizes" in refusal(coco)
    edit(coco, lambda content: content["images"][2].update(width=96))
    edit(coco, lambda content: content["annotations"][0].update(category_id=77))
    assert "not listed" in refusal(coco)
    with pytest.raises(DataError, match="expected a COCO folder"):
        coco_splits(coco / "images")


def test_a_folder_with_content_is_not_touched(coco: Path) -> None:
    (coco.parent / "mot").mkdir()
    (coco.parent / "mot/mine.txt").write_text("mine")
    with pytest.raises(DataError, match="already has something in it"):
        converted(coco)
    assert [path.name for path in (coco.parent / "mot").iterdir()] == ["mine.txt"]


def test_linking_joins_the_pair_that_overlaps_most() -> None:
    first = np.array([[0, 0, 10, 10], [4, 0, 10, 10]], dtype=float)
    second = np.array([[3, 0, 10, 10], [50, 0, 10, 10]], dtype=float)
    assert link([1, 2], [first, second]) == [[1, 2], [2, 3]]
    assert link([1, 2], [first[:1], np.add(first[:1], [6, 0, 0, 0])]) == [[1], [2]]


def test_linking_bridges_gaps_of_a_length() -> None:
    box, none = np.array([[0, 0, 10, 10]], dtype=float), np.empty((0, 4))
    assert link([1, 2, 3], [box, none, box], gap=0) == [[1], [], [2]]
    assert link([1, 2, 3], [box, none, box], gap=1) == [[1], [], [1]]
    assert link([1, 4], [box, box], gap=1) == [[1], [2]]
