"""TensorBoard event files, written by the tensorboard package itself."""

from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from backend.core.errors import DataError
from backend.importers.source import Asked, described
from backend.importers.tensorboard import read
from tests.support.event_files import scalar, write_events


def test_scalars_with_their_wall_times(tmp_path: Path) -> None:
    write_events(
        tmp_path / "run" / "events.out.tfevents.1",
        [
            scalar("Loss/train", 10, 0.5, 100.25),
            scalar("Loss/train", 20, float("nan"), 101.5),
            scalar("Accuracy/val", 20, 0.75, 102.125),
            Event(wall_time=103, step=20, summary=scalar_pb("val/f1", 0.25)),
            Event(wall_time=103, step=20, summary=Summary(value=[Summary.Value(
                tag="picture", image=Summary.Image(height=1, width=1))])),
        ],
    )  # fmt: skip
    found = described(read(tmp_path / "run", Asked()), Asked())
    assert [(p.step, p.time, repr(p.metrics)) for p in found.points] == [
        (10, 100.25, "{'train/loss': 0.5}"),
        (20, 101.5, "{'train/loss': nan}"),
        (20, 102.125, "{'val/Accuracy': 0.75}"),
        (20, 103.0, "{'val/f1': 0.25}"),
    ]
    assert (found.name, found.headline, found.started) == ("run", "val/f1", 100.25)


def test_several_files_and_subfolders(tmp_path: Path) -> None:
    """A second process goes on; Keras writes a folder per split."""
    write_events(tmp_path / "train" / "events.out.tfevents.1", [
        scalar("epoch_loss", 1, 3.0, 10), scalar("epoch_loss", 2, 2.0, 20)])  # fmt: skip
    write_events(tmp_path / "train" / "events.out.tfevents.2", [
        scalar("epoch_loss", 2, 1.0, 30)])  # fmt: skip
    write_events(tmp_path / "validation" / "events.out.tfevents.1", [
        scalar("epoch_loss", 2, 4.0, 21)])  # fmt: skip
    points = read(tmp_path, Asked()).points
    assert [(p.step, p.metrics) for p in points] == [
        (1, {"train/epoch_loss": 3.0}),
        (2, {"val/epoch_loss": 4.0}),
        (2, {"train/epoch_loss": 1.0}),
    ]


def test_epochs_where_they_are_logged(tmp_path: Path) -> None:
    """As Lightning does; without them steps stand for epochs."""
    events = [scalar("epoch", 9, 0, 1), scalar("val_acc", 9, 0.5, 1), scalar("epoch", 19, 1, 2),
              scalar("train_loss", 25, 0.5, 3)]  # fmt: skip
    points = read(write_events(tmp_path / "events.out.tfevents.1", events), Asked()).points
    assert [(p.step, p.epoch) for p in points] == [(9, 0), (19, 1), (25, 1)]


def test_hyperparameters(tmp_path: Path) -> None:
    summary = hparams_pb({"lr": 0.5, "optimizer": "adam", "amp": True})
    events = [Event(wall_time=1, summary=summary), scalar("loss", 1, 1, 1)]
    found = read(write_events(tmp_path / "events.out.tfevents.1", events), Asked())
    assert found.params == {"lr": 0.5, "optimizer": "adam", "amp": True}


def test_the_end_of_a_running_file_may_be_torn(tmp_path: Path) -> None:
    file = write_events(tmp_path / "events.out.tfevents.1",
                        [scalar("loss", step, 1, 1) for step in (1, 2)])  # fmt: skip
    data = file.read_bytes()
    for cut in (1, 5, 20):
        file.write_bytes(data[:-cut])
        assert [p.step for p in read(file, Asked()).points] == [1]


def test_one_sentence_for_each_bad_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no event file"):
        read(tmp_path, Asked())
    file = write_events(tmp_path / "events.out.tfevents.1",
                        [scalar("loss", step, 1, 1) for step in (1, 2)])  # fmt: skip
    data = bytearray(file.read_bytes())
    data[60] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="damaged event file"):
        read(file, Asked())
    file.write_text("text " * 100)
    with pytest.raises(DataError, match="damaged event file"):
        read(file, Asked())
    write_events(file, [scalar("loss", 1, 1, 1), scalar("train/loss", 1, 2, 1)])
    with pytest.raises(DataError, match="both mean train/loss"):
        read(file, Asked())
