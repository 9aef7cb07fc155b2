"""What two trackers found, read back from the files of their evaluations."""

import json
from pathlib import Path

import pytest

from backend.analysis.tracks import FRAMES_FILE, Recording, changed_most
from backend.core.comparisons import Comparison
from backend.core.errors import DataError
from backend.scoring.tracking.task import TrackingOptions
from tests.support.tracked import (
    FRAMES,
    LEFT,
    SIZE,
    Folders,
    tracking_comparison,
    write_folders,
)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path)


@pytest.fixture
def comparison(tmp_path: Path, folders: Folders) -> Comparison:
    return tracking_comparison(tmp_path, folders)


def read(folders: Folders) -> Recording:
    return Recording.read(folders.truth, (folders.old, folders.new), TrackingOptions())


def list_frames(folders: Folders, **changes: object) -> None:
    """The list of frames that an evaluation leaves beside its ground truth."""
    frames = {str(n): f"rally-a/img1/{n:06}.png" for n in range(1, FRAMES + 1)}
    one = {"fps": 30.0, "width": SIZE[0], "height": SIZE[1], "frames": frames}
    listed = {"root": str(folders.truth), "split": "val", "classes": ["Attack", "Block"],
              "sequences": {"rally-a": one | changes}}  # fmt: skip
    (folders.truth / FRAMES_FILE).write_text(json.dumps(listed))


def test_boxes_have_the_names_of_their_classes_and_count_from_the_frames(folders: Folders) -> None:
    tracked = read(folders).sequence("rally-a")
    assert tracked.numbers == tuple(range(1, FRAMES + 1))
    assert tracked.video.fps == 10
    assert tracked.note == ""
    first = tracked.old.at(1, place=0)
    assert [(one.frame, one.id, one.box, one.label) for one in first] == [
        (0, 1, LEFT, "Attack"),
        (0, 2, (40, 12, 12, 24), "Block"),
    ]
    assert [one.id for one in tracked.old.at(2)] == [1]
    assert tracked.old.at(99) == []
    assert {one.frame for one in tracked.new.all(tracked.numbers)} == set(range(FRAMES))


def test_images_come_from_the_mot_folder(folders: Folders) -> None:
    tracked = read(folders).sequence("rally-b")
    assert [path.name for path in tracked.files()][:2] == ["000001.png", "000002.png"]
    assert tracked.photo(3).getpixel((0, 0)) == (90, 90, 93)


def test_images_come_from_the_list_that_an_evaluation_leaves(
    folders: Folders, tmp_path: Path
) -> None:
    list_frames(folders)
    (folders.truth / "rally-a/img1").rename(tmp_path / "elsewhere")
    (folders.truth / "rally-a/img1").symlink_to(tmp_path / "elsewhere")
    tracked = read(folders).sequence("rally-a")
    assert tracked.video.fps == 30
    assert tracked.video.size == SIZE
    assert tracked.photo(8).getpixel((0, 0)) == (90, 90, 98), "links of the data's owner count"


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "rally-a/../../secret.png"])
def test_no_image_outside_the_data_folder_is_shown(folders: Folders, path: str) -> None:
    (folders.truth.parent / "secret.png").write_bytes(
        (folders.truth / "rally-a/img1/000001.png").read_bytes()
    )
    list_frames(folders, frames={"1": path})
    tracked = read(folders).sequence("rally-a")
    assert f"'{path}': an image outside the data folder" in tracked.note
    with pytest.raises(DataError, match="no image of frame 1"):
        tracked.photo(1)
    assert tracked.blank().size == (52, 36), "boxes can still be looked at"


def test_an_image_folder_outside_the_data_is_not_shown(folders: Folders) -> None:
    info = folders.truth / "rally-a/seqinfo.ini"
    info.write_text(info.read_text() + "imDir=../../pictures\n")
    pictures = folders.truth.parent / "pictures"
    (folders.truth / "rally-a/img1").rename(pictures)
    assert "outside the data folder" in read(folders).sequence("rally-a").note


def test_images_that_are_gone_are_said_in_one_sentence(folders: Folders) -> None:
    for path in (folders.truth / "rally-a/img1").iterdir():
        path.unlink()
    tracked = read(folders).sequence("rally-a")
    with pytest.raises(DataError, match=r"^rally-a: the images of this sequence are gone$"):
        tracked.files()


def test_one_image_that_is_gone_is_named(folders: Folders) -> None:
    (folders.truth / "rally-a/img1/000004.png").unlink()
    with pytest.raises(DataError, match="the image of frame 4 is gone; restore it"):
        read(folders).sequence("rally-a").files()


def test_a_damaged_image_is_one_sentence(folders: Folders) -> None:
    (folders.truth / "rally-a/img1/000004.png").write_text("no image")
    with pytest.raises(DataError, match=r"000004\.png: cannot be read as an image"):
        read(folders).sequence("rally-a").photo(4)


@pytest.mark.parametrize("content", ["no json", "[]", '{"root": 3}'])
def test_a_damaged_list_of_frames_is_one_sentence(folders: Folders, content: str) -> None:
    (folders.truth / FRAMES_FILE).write_text(content)
    assert "not a list of frames; evaluate again" in read(folders).sequence("rally-a").note


def test_a_sequence_that_is_not_listed_is_said(folders: Folders) -> None:
    list_frames(folders)
    assert "does not list the sequence 'rally-b'" in read(folders).sequence("rally-b").note


def test_an_unknown_sequence_is_refused(folders: Folders) -> None:
    with pytest.raises(DataError, match="no sequence 'x'; there is: rally-a, rally-b"):
        read(folders).sequence("x")


def test_a_comparison_is_read_by_its_own_files(comparison: Comparison, folders: Folders) -> None:
    recording = Recording.of(comparison.target)
    assert recording.names == ("rally-a", "rally-b")
    assert changed_most(comparison.target, recording.names) == ["rally-a", "rally-b"]
    (folders.old / "rally-a.txt").unlink()
    with pytest.raises(DataError, match="no predictions for rally-a"):
        Recording.of(comparison.target)


def test_an_evaluation_without_files_is_said(comparison: Comparison) -> None:
    bare = comparison.target.baseline_report.model_copy(update={"predictions": ""})
    data = comparison.target.model_copy(update={"baseline_report": bare})
    with pytest.raises(DataError, match="kept no predictions"):
        Recording.of(data)
