"""The files that a run leaves, however it ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from backend import launch
from backend.compare import evaluate_each
from backend.core.errors import CheckpointError, StoreError
from backend.core.events import Envelope, FileSaved, MetricsLogged, RunFinished
from backend.core.sinks import JsonlSink, MemorySink
from backend.core.workdir import WorkDir
from backend.importers.source import Asked
from backend.importers.tensorboard import read
from backend.keeping import restore
from backend.sides import kept_sides
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.mlflow_home import copy_home
from tests.support.scripted_run import log_events, make_work, started
from tests.support.toy import CATALOG, SPEC, ToyConfig, write_toy_data

HEADER = "epoch,train/loss,val/mAP50-95,val/loss"


@pytest.fixture(scope="module")
def home(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copy_home(template_home, tmp_path_factory.mktemp("files") / "mlruns")


@pytest.fixture
def config(tmp_path: Path) -> ToyConfig:
    return ToyConfig(data=write_toy_data(tmp_path), epochs=3, tensorboard=True)


@pytest.fixture(scope="module")
def whole(
    home: Home, workers: launch.Workers, tmp_path_factory: pytest.TempPathFactory
) -> WorkDir:
    """A run that nothing disturbed; tests leave it as it is."""
    data = write_toy_data(tmp_path_factory.mktemp("squares"))
    return run(home, ToyConfig(data=data, epochs=3, tensorboard=True), workers)[0]


def run(
    home: Home, config: ToyConfig, workers: launch.Workers, *readers: MemorySink
) -> tuple[WorkDir, RunFinished]:
    work = launch.prepare(home, config, SPEC)
    return work, launch.run(home, work, workers, readers)


def epochs(work: WorkDir) -> list[str]:
    header, *rows = work.results.read_text().splitlines()
    assert header == HEADER
    return [row.split(",")[0] for row in rows]


def summary(work: WorkDir) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(work.summary.read_text())
    return found


def curve(work: WorkDir, key: str) -> list[int]:
    return [p.step for p in read(work.tensorboard, Asked()).points if key in p.metrics]


def test_a_finished_run_leaves_its_files_here_and_in_mlflow(
    home: Home, whole: WorkDir, tmp_path: Path
) -> None:
    assert epochs(whole) == ["1", "2", "3"]
    found = summary(whole)
    assert (found["status"], found["epochs_completed"]) == ("finished", 3)
    assert (whole.path / found["best_model_path"]).is_file()
    assert curve(whole, "train/Loss/loss") == list(range(1, 13))
    client = MlflowClient(home.tracking_uri)
    run_id = MlflowStore(home).run(whole.path.name).mlflow_run_id
    for file in (whole.results, whole.summary):
        kept = client.download_artifacts(run_id, file.name, str(tmp_path))
        assert Path(kept).read_bytes() == file.read_bytes()


def test_a_killed_run_is_readable_and_goes_on_as_if_nothing_had_happened(
    home: Home, config: ToyConfig, workers: launch.Workers, whole: WorkDir
) -> None:
    """Its table is the same to the byte, since a seed repeats."""
    killed = config.replace({"crash": "kill", "crash_epoch": 2})
    work, finished = run(home, killed, workers)
    assert finished.interrupted
    assert epochs(work) == ["1", "2"]
    assert (summary(work)["status"], summary(work)["epochs_completed"]) == ("failed", 2)
    launch.run(home, work, workers)
    assert work.results.read_bytes() == whole.results.read_bytes()
    assert summary(work)["metrics"] == summary(whole)["metrics"]
    assert curve(work, "train/Loss/loss") == list(range(1, 13))


class Stop(MemorySink):
    """Asks the run to end at its first validation."""

    work: WorkDir | None = None

    def __init__(self, status: str) -> None:
        super().__init__()
        self._status = status

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if self.work and isinstance(event, MetricsLogged) and "val/loss" in event.metrics:
            self.work.request_stop(self._status, "told to")


@pytest.mark.parametrize("status", ["stopped", "pruned"])
def test_a_run_that_is_ended_says_so(
    home: Home, config: ToyConfig, workers: launch.Workers, status: str
) -> None:
    held = config.replace({"hold": 1.0, "epochs": 3})
    stop = Stop(status)
    stop.work = work = launch.prepare(home, held, SPEC)
    launch.run(home, work, workers, [stop])
    found = summary(work)
    assert (found["status"], found["reason"]) == (status, "told to")
    assert found["epochs_completed"] == len(epochs(work)) < 3
    assert "was not evaluated" in found["metrics_from"]


def test_an_error_is_told(home: Home, config: ToyConfig, workers: launch.Workers) -> None:
    work, _ = run(home, config.replace({"crash": "error"}), workers)
    assert summary(work)["status"] == "failed"
    assert "the toy broke" in summary(work)["reason"]
    assert epochs(work) == ["1", "2"]


def test_what_nobody_wrote_is_written_when_the_run_is_found(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    """The parent died: its run has no last word, and the files are those of the moment."""
    work, _ = run(home, config, workers)
    lines = work.events.read_text().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if '"ends":true' in line and '"epoch":3' in line)
    work.events.write_text("".join(lines[:end]))
    for file in (work.results, work.summary):
        file.unlink()
    assert launch.reap(home) == [work.path.name]
    assert epochs(work) == ["1", "2"]
    assert summary(work)["status"] == "failed"
    assert curve(work, "val/Metrics/mAP50-95") == [4, 8]


def test_replay_writes_the_files_again(home: Home, whole: WorkDir) -> None:
    before = whole.results.read_bytes(), whole.summary.read_bytes()
    for file in (whole.results, whole.summary, *whole.tensorboard.iterdir()):
        file.unlink()
    with whole.hold():
        restore(home, whole)
        assert not whole.results.exists(), "a run that goes on writes its own"
    restore(home, whole)
    assert (whole.results.read_bytes(), whole.summary.read_bytes()) == before
    assert curve(whole, "train/Loss/loss") == list(range(1, 13))


def test_a_table_that_cannot_be_written_ends_no_training(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config, SPEC)
    work.results.mkdir()
    with pytest.raises(StoreError, match=r"results\.csv.*safe.*assay replay"):
        launch.run(home, work, workers)
    assert summary(work)["status"] == "finished"
    assert MlflowStore(home).run(work.path.name).status == "finished"


def test_replay_rebuilds_a_run_whose_files_cannot_be_written(home: Home) -> None:
    work = make_work(home, "read-only")
    work.results.mkdir()
    sink = JsonlSink(work.events)
    for seq, event in enumerate((started(), RunFinished(status="finished"))):
        sink.receive(Envelope(seq=seq, time=float(seq), event=event))
    sink.close()
    with pytest.raises(StoreError, match=r"results\.csv"):
        restore(home, work)
    assert MlflowStore(home).run("read-only").status == "finished"


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1", "not YAML"), ("- 1", "no keys and values"), (None, "no config.yaml")],
)
def test_a_damaged_config_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    home = Home(tmp_path)
    work = make_work(home, "damaged")
    if text is None:
        work.config.unlink()
    else:
        work.config.write_text(text)
    with pytest.raises(StoreError, match=said):
        restore(home, work)


def test_files_that_a_run_names_go_to_mlflow(home: Home, tmp_path: Path) -> None:
    work = make_work(home, "exporting")
    (work.path / "export").mkdir()
    (work.path / "export" / "best.onnx").write_bytes(b"a graph")
    saved = FileSaved(path="export/best.onnx", kind="onnx", sha256="ab")
    log_events(home, work, [started(), saved, RunFinished(status="finished")])
    run_id = MlflowStore(home).run("exporting").mlflow_run_id
    client = MlflowClient(home.tracking_uri)
    kept = client.download_artifacts(run_id, "export/best.onnx", str(tmp_path))
    assert Path(kept).read_bytes() == b"a graph"


def test_every_kept_checkpoint_is_scored_once(
    home: Home, workers: launch.Workers, whole: WorkDir
) -> None:
    sides = kept_sides(home, MlflowStore(home), whole.path.name, CATALOG)
    assert [side.contender.checkpoint.epoch for side in sides] == [1, 2, 3]
    config = sides[0].config
    assert config is not None
    first = evaluate_each(home, sides, config, "val", workers, CATALOG)
    again = evaluate_each(home, sides, config, "val", workers, CATALOG)
    assert [r.metrics for r in first] == [r.metrics for r in again]
    assert [r.evidence for r in first] == [r.evidence for r in again], "known ones are used again"
    assert first[2].metrics == pytest.approx(summary(whole)["metrics"])


def test_a_checkpoint_that_another_file_replaced_is_refused(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, _ = run(home, config, workers)
    folder = work.path / "checkpoints"
    (folder / "epoch-003.safetensors").replace(folder / "epoch-002.safetensors")
    with pytest.raises(
        CheckpointError, match=r"epoch-002.*not the file that run .* after epoch 2"
    ):
        kept_sides(home, MlflowStore(home), work.path.name, CATALOG)
    for file in folder.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointError, match="keeps no checkpoint"):
        kept_sides(home, MlflowStore(home), work.path.name, CATALOG)
