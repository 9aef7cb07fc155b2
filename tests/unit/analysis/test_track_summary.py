"""Lengths of tracks, and which class is taken for which."""

from pathlib import Path

import pytest

from backend.analysis.track_summary import ALL, Lengths, Summary, summarise
from backend.analysis.tracks import Recording
from backend.scoring.tracking.task import TrackingOptions
from tests.support.tracked import Folders, truth_rows, write_folders, write_rows


def summary(folders: Folders) -> Summary:
    sides = (folders.old, folders.new)
    return summarise(Recording.read(folders.truth, sides, TrackingOptions()))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path)


def test_lengths_by_hand(folders: Folders) -> None:
    found = summary(folders)
    assert found.truth[ALL] == Lengths(4, 8.0)
    # rally-a: 1 in 4 frames, 9 in 4, 2 in 6, a ghost in 1; rally-b: 8 and 8
    assert found.old[ALL] == Lengths(6, 5.0)
    # Attack: 1 (4), 9 (4), the ghost (1), 2 in frame 8 (1); in rally-b 8
    assert found.old["Attack"] == Lengths(5, 4.0)
    assert found.old["Block"] == Lengths(2, 6.5)
    assert found.new["Attack"] == Lengths(2, 7.5)


def test_classes_are_confused_over_matched_boxes_only(folders: Folders) -> None:
    found = summary(folders).confusion
    assert found is not None
    old, new = found
    assert old.classes == ("Attack", "Block")
    assert old.counts.tolist() == [[16, 0], [1, 13]], "a ghost and what was missed do not count"
    assert old.right == pytest.approx(29 / 30)
    assert new.counts.tolist() == [[15, 0], [0, 16]]


def test_nothing_tracked_has_no_length_and_no_confusion(folders: Folders) -> None:
    for name in ("rally-a", "rally-b"):
        write_rows(folders.new / f"{name}.txt", [])
    found = summary(folders)
    assert found.new[ALL] == Lengths(0, None)
    assert found.confusion is not None
    assert found.confusion[1].right is None


def test_one_class_cannot_be_confused(folders: Folders) -> None:
    (folders.truth / "classes.json").unlink()
    rows = [(n, i, box, 1) for n, i, box, _ in truth_rows()]
    for name in ("rally-a", "rally-b"):
        write_rows(folders.truth / name / "gt/gt.txt", rows)
        for side in (folders.old, folders.new):
            write_rows(side / f"{name}.txt", rows)
    assert summary(folders).confusion is None
