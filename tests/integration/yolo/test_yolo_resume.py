"""An interrupted run goes on as if nothing had happened."""

import os
import shutil
from pathlib import Path

import pytest

from backend.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from backend.core.events import CheckpointRemoved, CheckpointSaved, Event, Noted, RunStarted
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.shapes import write_dataset
from tests.support.yolo_runs import StopAfter, Training, fit

LAST = "ultralytics/weights/last.pt"


@pytest.fixture(scope="module")
def config(scratch: YoloConfig) -> YoloConfig:
    """Four epochs with everything that is random: mosaic, its buffer, and its end."""
    return scratch.replace(
        {"epochs": 4, "augment.mosaic": 0.5, "augment.close_mosaic": 1, "save_period": 1}
    )


@pytest.fixture(scope="module")
def whole(config: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return fit(config, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_run_equals_the_uninterrupted_to_the_bit(
    config: YoloConfig, whole: Training, tmp_path: Path, after: int
) -> None:
    first = fit(config, tmp_path, StopAfter(after))
    second = fit(config, tmp_path)
    started = second.events[0]
    assert isinstance(started, RunStarted)
    assert started.resumed_from == after
    assert [e.epoch for e in first.epochs()] + [e.epoch for e in second.epochs()] == [1, 2, 3, 4]
    assert [*first.epochs(), *second.epochs()] == whole.epochs()
    digests = [e.checkpoint.sha256 for e in (*first.saved(), *second.saved())]
    assert digests == [e.checkpoint.sha256 for e in whole.saved()]
    assert second.evaluated().report.metrics == whole.evaluated().report.metrics


def test_it_goes_on_with_fewer_images_than_the_mosaics_buffer_knew(
    config: YoloConfig, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "data", {"train": 8, "val": 4})
    config = config.replace({"data": str(data), "epochs": 2, "batch": 2})
    fit(config, tmp_path / "work", StopAfter(1))
    for image in sorted((data.parent / "images" / "train").iterdir())[4:]:
        image.unlink()
    run = fit(config, tmp_path / "work")
    assert run.outcome.status == "finished"
    notes = [event.message for event in run.events if isinstance(event, Noted)]
    assert "the training data changed since the run was interrupted" in notes


def test_frozen_is_proved_across_the_interruption(tuning: YoloConfig, tmp_path: Path) -> None:
    config = tuning.replace({"freeze.strategy": "backbone"})
    fit(config, tmp_path, StopAfter(1))
    report = fit(config, tmp_path).freezing("verified")
    assert report.violations == ()
    assert (report.changed_tensors or 0) > 0


def test_layer_decay_survives(tuning: YoloConfig, tmp_path: Path) -> None:
    config = tuning.replace({"optimizer.layer_decay": 0.5, "epochs": 3})
    fit(config, tmp_path, StopAfter(1))
    last = fit(config, tmp_path).epochs()[-1].metrics
    assert last["lr/backbone"] / last["lr/head"] == pytest.approx(0.5**7)


def test_a_finished_run_is_refused(config: YoloConfig, whole: Training, tmp_path: Path) -> None:
    shutil.copytree(whole.work, tmp_path / "copy")
    with pytest.raises(TrainingError, match="this run is finished after 4 epochs"):
        fit(config, tmp_path / "copy")


def test_another_config_is_refused_and_the_key_named(config: YoloConfig, tmp_path: Path) -> None:
    fit(config, tmp_path, StopAfter(1))
    with pytest.raises(ConfigError, match=r"had optimizer\.lr0 = 0\.01, now it is 0\.02"):
        fit(config.replace({"optimizer.lr0": 0.02}), tmp_path)
    assert fit(config.replace({"name": "renamed"}), tmp_path).outcome.status == "finished"


def test_changed_data_is_told(config: YoloConfig, shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes.parent, data)
    moved = config.replace({"data": str(data / "data.yaml")})
    fit(config, tmp_path / "work", StopAfter(1))
    (data / "labels/train/000.txt").unlink()
    notes = [e.message for e in fit(moved, tmp_path / "work").events if isinstance(e, Noted)]
    assert "the training data changed since the run was interrupted" in notes


def test_a_damaged_state_is_refused(config: YoloConfig, tmp_path: Path) -> None:
    fit(config, tmp_path, StopAfter(1))
    (tmp_path / LAST).write_bytes((tmp_path / LAST).read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        fit(config, tmp_path)


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at(kind: type[Event], number: int) -> tuple[list[Event], object]:
    """An emit that ends the run when it hears the n-th event of a kind, before keeping it."""
    events: list[Event] = []

    def emit(event: Event) -> None:
        if isinstance(event, kind) and sum(isinstance(e, kind) for e in events) == number - 1:
            raise Killed
        events.append(event)

    return events, emit


def test_a_checkpoint_lost_between_two_writes_is_written_again(
    config: YoloConfig, whole: Training, tmp_path: Path
) -> None:
    """Killed after last.pt of epoch 2 and before its checkpoint."""
    fit(config, tmp_path, StopAfter(2))
    for path in (tmp_path / "checkpoints").glob("epoch-002.*"):
        path.unlink()
    resumed = fit(config, tmp_path)
    assert [e.checkpoint.sha256 for e in resumed.saved()] == [
        e.checkpoint.sha256 for e in whole.saved()[1:]
    ]


def test_a_checkpoint_later_than_the_state_is_taken_back(
    config: YoloConfig, whole: Training, tmp_path: Path
) -> None:
    fit(config, tmp_path, StopAfter(1))
    early = (tmp_path / LAST).read_bytes()
    fit(config, tmp_path, StopAfter(1))
    (tmp_path / LAST).write_bytes(early)
    resumed = fit(config, tmp_path)
    kinds = [type(e) for e in resumed.events]
    assert kinds.index(CheckpointRemoved) < kinds.index(CheckpointSaved)
    assert [e.checkpoint.sha256 for e in resumed.saved()] == [
        e.checkpoint.sha256 for e in whole.saved()[1:]
    ]


def test_killed_while_telling_of_a_checkpoint_the_run_still_resumes(
    config: YoloConfig, whole: Training, tmp_path: Path
) -> None:
    _, emit = kill_at(CheckpointSaved, 3)
    with pytest.raises(Killed):
        YoloTrainer(config, tmp_path).fit(emit, StopAfter())  # type: ignore[arg-type]
    resumed = fit(config, tmp_path)
    assert [event.epoch for event in resumed.epochs()] == [4]
    assert resumed.epochs() == whole.epochs()[3:]


def test_errors_before_training_leave_an_interrupted_run_alone(
    config: YoloConfig, tmp_path: Path
) -> None:
    fit(config, tmp_path, StopAfter(1))
    before = (tmp_path / LAST).stat()
    with pytest.raises(DataError):
        fit(config.replace({"data": str(tmp_path / "none.yaml")}), tmp_path)
    after = (tmp_path / LAST).stat()
    assert os.path.samestat(before, after)
    assert before.st_mtime_ns == after.st_mtime_ns
