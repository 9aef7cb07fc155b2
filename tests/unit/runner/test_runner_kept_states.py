"""The folders of kept states: whole or not there, and shared without copies where that goes."""

import os
from pathlib import Path

import pytest

from backend.core.errors import CheckpointError, StoreError
from backend.hardware.recovery import Memo, read_memo, write_memo
from backend.runner.config import CheckpointConfig
from backend.runner.states import FOLDER, START, STATE, begin_with, keep, kept_epochs, share


def kept_at(work: Path, epoch: int, content: str) -> Path:
    weights = work / f"step-{epoch:07d}.safetensors"
    weights.write_text(content)
    return keep(work, epoch, [weights], lambda place: place.write_text(content))


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A run that kept the states of epochs 2 and 10, the machine's part from epoch 10 on."""
    work = tmp_path / "earlier"
    work.mkdir()
    kept_at(work, 2, "two")
    write_memo(work, Memo(tier="high"))
    kept_at(work, 10, "ten")
    return work


def test_a_new_run_begins_with_what_was_kept(earlier: Path, tmp_path: Path) -> None:
    write_memo(earlier, Memo(tier="low"))
    new = tmp_path / "new"
    begin_with(earlier, 10, new)
    assert (new / START / STATE).read_text() == "ten"
    assert (new / START / "step-0000010.safetensors").read_text() == "ten"
    assert read_memo(new).tier == "high", "as it was when the state was kept"
    begin_with(earlier, 2, tmp_path / "first")
    assert read_memo(tmp_path / "first") == Memo()


def test_a_state_that_is_kept_again_replaces_the_first(earlier: Path) -> None:
    assert kept_epochs(earlier) == (2, 10)
    assert kept_at(earlier, 2, "again").read_text() == "again"
    assert kept_epochs(earlier) == (2, 10)


def test_what_was_interrupted_is_not_there(earlier: Path) -> None:
    def interrupted(place: Path) -> None:
        place.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        keep(earlier, 4, [], interrupted)
    assert kept_epochs(earlier) == (2, 10)
    kept_at(earlier, 4, "whole")
    assert not list((earlier / FOLDER).glob(".*"))


def test_what_was_not_kept_is_said(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="earlier has no state of the end of epoch 3"):
        begin_with(earlier, 3, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_leaves_nothing(earlier: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    (new / "runner").mkdir(parents=True)
    (new / START).write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        begin_with(earlier, 2, new)
    assert not new.exists()


def test_files_are_shared_and_replaced(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("new")
    other.write_text("old")
    share(one, other)
    assert other.read_text() == "new"
    assert one.samefile(other)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_file_system_without_links_gets_a_copy(tmp_path: Path) -> None:
    """As between two of them."""
    elsewhere = Path("/dev/shm")
    if not os.access(elsewhere, os.W_OK) or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    source = elsewhere / f"assay-{os.getpid()}"
    source.write_text("new")
    try:
        share(source, tmp_path / "copy")
    finally:
        source.unlink()
    assert (tmp_path / "copy").read_text() == "new"


def test_states_need_the_checkpoints_that_they_belong_to() -> None:
    with pytest.raises(ValueError, match="'keep_states' is for 'interval' above 0"):
        CheckpointConfig(keep_states=True)
