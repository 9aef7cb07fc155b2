"""A frame of each sequence that changed most, drawn for reports and pages."""

from pathlib import Path

import numpy as np
import pytest

from backend.analysis.gallery import named, pairs
from backend.analysis.track_frames import GAP, HEAD, TRUTH, colour
from backend.analysis.track_gallery import telling
from backend.analysis.track_matching import judge
from backend.analysis.tracks import Recording
from backend.core.comparisons import Comparison
from tests.support.tracked import Folders, tracking_comparison, write_folders


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return write_folders(tmp_path)


@pytest.fixture
def comparison(tmp_path: Path, folders: Folders) -> Comparison:
    return tracking_comparison(tmp_path, folders)


def test_the_frame_is_where_they_differ_most_in_the_right_direction(
    comparison: Comparison,
) -> None:
    recording = Recording.of(comparison.target)
    gained = judge(recording.sequence("rally-a"))
    assert telling(gained, 0.3) == 2, "the first of the longest run of such frames"
    assert telling(judge(recording.sequence("rally-b")), -0.1) == 1


def test_gains_and_losses_are_drawn_old_left_and_new_right(comparison: Comparison) -> None:
    gain, loss = pairs(comparison.target)
    assert [gain.unit.unit, loss.unit.unit] == ["rally-a", "rally-b"]
    sheet = np.asarray(gain.image)[HEAD:]
    half = (sheet.shape[1] - GAP) // 2
    seen = [(side == colour(2)).all(axis=2).sum() for side in (sheet[:, :half], sheet[:, -half:])]
    assert seen[0] == 0, "the old one misses the second object"
    assert seen[1] > 0
    white = tuple(bytes.fromhex(TRUTH[1:]))
    assert (sheet[:, :half] == white).all(axis=2).any(), "the truth is drawn below"


def test_sequences_keep_their_names(comparison: Comparison) -> None:
    assert named(comparison.target) == comparison.target


def test_without_images_or_files_nothing_is_drawn(
    comparison: Comparison, folders: Folders
) -> None:
    for path in (folders.truth / "rally-a/img1").iterdir():
        path.unlink()
    assert [pair.unit.unit for pair in pairs(comparison.target)] == ["rally-b"]
    (folders.new / "rally-b.txt").unlink()
    assert list(pairs(comparison.target)) == []
