"""TensorBoard's files, read as TensorBoard reads them."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from backend.core.events import Event, MetricsLogged, RunFinished
from backend.core.workdir import WorkDir
from backend.importers.source import Asked
from backend.importers.tensorboard import read
from backend.recording.tensorboard import TensorBoard, tag
from backend.tracking.home import Home
from tests.support import scripted_run

Scalars = dict[str, list[tuple[int, float]]]


@pytest.fixture
def work(tmp_path: Path) -> WorkDir:
    return scripted_run.make_work(Home(tmp_path), "a-run")


def write(work: WorkDir, *events: Event) -> None:
    sink = TensorBoard(work.tensorboard, work.events)
    for envelope in scripted_run.write_events(work, events):
        sink.receive(envelope)
    sink.close()


def shown(work: WorkDir) -> Scalars:
    """What TensorBoard's scalars page has."""
    board = _board(work)
    return {
        name: [(e.step, float(make_ndarray(e.tensor_proto))) for e in board.Tensors(name)]
        for name in board.PluginTagToContent("scalars")
    }


def _board(work: WorkDir) -> EventAccumulator:
    (file,) = work.tensorboard.iterdir()
    board = EventAccumulator(str(file), size_guidance={"tensors": 0})
    board.Reload()
    return board


def point(step: int, epoch: int, **metrics: float) -> MetricsLogged:
    named = {key.replace("_", "/", 1): value for key, value in metrics.items()}
    return MetricsLogged(step=step, epoch=epoch, metrics=named)


def test_names_are_those_of_the_field() -> None:
    scores = frozenset({"mAP50-95", "precision"})
    assert tag("train/box_loss", scores) == "Loss/box_loss"
    assert tag("val/mAP50-95", scores) == "Metrics/mAP50-95"
    assert tag("lr/backbone", scores) == "LR/backbone"
    assert tag("val/box_loss", scores) == "val/box_loss"
    assert tag("gradient/global", scores) == "gradient/global"
    assert tag("train/steps_left_out", scores) == "train/steps_left_out"


def test_every_point_is_there_at_its_step_and_time(work: WorkDir) -> None:
    write(work, *scripted_run.all_events(work))
    found = shown(work)
    assert [step for step, _ in found["Loss/loss"]] == list(range(1, 16))
    assert found["Metrics/mAP50-95"] == [
        (5, 0.5),
        (10, pytest.approx(0.7)),
        (15, pytest.approx(0.6)),
    ]
    assert found["epoch"] == [(1, 1.0), (6, 2.0), (11, 3.0)]
    assert _board(work).Tensors("Loss/loss")[0].wall_time == scripted_run.START + 3 * 0.125


def test_a_resumed_run_has_no_point_twice_and_none_that_was_undone(work: WorkDir) -> None:
    write(
        work,
        *(scripted_run.started(), point(5, 1, train_loss=3.0), point(7, 2, train_loss=9.0)),
        *(point(10, 2, train_loss=8.0), RunFinished(status="failed", interrupted=True)),
        *(scripted_run.started(resumed_from=1), point(8, 2, train_loss=2.5)),
        *(point(10, 2, train_loss=2.0), RunFinished(status="finished")),
    )
    assert shown(work)["Loss/loss"] == [(5, 3.0), (8, 2.5), (10, 2.0)]
    assert shown(work)["epoch"] == [(5, 1.0), (8, 2.0)]


def test_writing_again_takes_the_place_of_what_was_there(work: WorkDir) -> None:
    events: list[Event] = [scripted_run.started(), point(5, 1, train_loss=3.0)]
    write(work, *events)
    sink = TensorBoard(work.tensorboard, work.events)
    for envelope in scripted_run.write_events(work, [*events, point(6, 1, train_loss=1.0)], 2):
        sink.receive(envelope)
    sink.close()
    assert shown(work)["Loss/loss"] == [(5, 3.0), (6, 1.0)]


def test_huge_and_undefined_values_are_written(work: WorkDir) -> None:
    write(work, scripted_run.started(), point(1, 1, train_loss=1e300, val_loss=float("nan")))
    assert shown(work)["Loss/loss"] == [(1, float("inf"))]
    assert shown(work)["val/loss"][0][1] != shown(work)["val/loss"][0][1]


def test_our_own_importer_reads_it_back(work: WorkDir) -> None:
    write(work, *scripted_run.all_events(work))
    found = read(work.tensorboard, Asked()).points
    last = [p for p in found if "val/Metrics/mAP50-95" in p.metrics][-1]
    assert (last.step, last.epoch) == (15, 3)
    assert last.metrics["val/Metrics/mAP50-95"] == pytest.approx(0.6)
