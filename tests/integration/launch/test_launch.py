"""A training in its own process: events, stops, deaths, and what is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from backend import launch
from backend.cli.training import conclude
from backend.core.errors import CheckpointError, DataError, StoreError, TrainingError
from backend.core.events import (
    CheckpointSaved,
    Envelope,
    HardwareSampled,
    MetricsLogged,
    RunFinished,
    RunStarted,
)
from backend.core.sinks import Deferred, MemorySink, read_events
from backend.core.trainer import EvalRequest
from backend.core.workdir import WorkDir
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.toy import CATALOG, SPEC, ToyConfig, write_toy_data

ROOT = Path(__file__).parents[3]


@pytest.fixture
def config(tmp_path: Path) -> ToyConfig:
    return ToyConfig(data=write_toy_data(tmp_path), epochs=3)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "mlruns")


def supervise(
    home: Home, config: ToyConfig, workers: launch.Workers, *extra: MemorySink
) -> tuple[WorkDir, RunFinished, MemorySink]:
    sink = MemorySink()
    work = launch.prepare(home, config, SPEC)
    finished = launch.supervise(work, lambda: [sink, *extra], workers)
    return work, finished, sink


def told(sink: MemorySink) -> list[Envelope]:
    """What the worker said; what its parent saw meanwhile is numbered by itself."""
    return [e for e in sink.envelopes if not isinstance(e.event, HardwareSampled)]


def test_events_arrive_whole_and_in_order(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, finished, sink = supervise(home, config, workers)
    assert finished.status == "finished"
    assert sink.closed
    assert [e.seq for e in told(sink)] == list(range(len(told(sink))))
    assert isinstance(sink.envelopes[0].event, RunStarted)
    assert isinstance(sink.envelopes[-1].event, RunFinished)
    assert told(sink) == read_events(work.events)
    assert finished.best is not None
    assert (work.path / finished.best).exists()


class StopAfter(MemorySink):
    """A reader that raises the stop flag at the first validation it sees."""

    def __init__(self, status: str) -> None:
        super().__init__()
        self.work: WorkDir | None = None
        self._status = status

    def receive(self, envelope: Envelope) -> None:
        super().receive(envelope)
        event = envelope.event
        if self.work and isinstance(event, MetricsLogged) and "val/loss" in event.metrics:
            self.work.request_stop(self._status, "told to")


@pytest.mark.parametrize("status", ["pruned", "stopped"])
def test_a_reader_ends_the_training(
    home: Home, config: ToyConfig, workers: launch.Workers, status: str
) -> None:
    reader = StopAfter(status)
    work = launch.prepare(home, config.replace({"epochs": 5000, "work": 60}), SPEC)
    reader.work = work
    finished = launch.supervise(work, lambda: [reader], workers)
    assert finished.status == status
    assert finished.reason == "told to"
    assert any(isinstance(e.event, CheckpointSaved) for e in reader.envelopes)


class PressCtrlC(StopAfter):
    """Somebody presses Ctrl-C while it is told of the first validation."""

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if self.work and isinstance(event, MetricsLogged) and "val/loss" in event.metrics:
            self.work = None
            os.kill(os.getpid(), signal.SIGINT)
        super().receive(envelope)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_training_and_no_reader_misses_anything(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    reader = PressCtrlC("")
    work = launch.prepare(home, config.replace({"epochs": 5000, "work": 60}), SPEC)
    reader.work = work
    finished = launch.supervise(work, lambda: [reader], workers)
    assert (finished.status, finished.reason) == ("stopped", "stopped by the user (Ctrl-C)")
    assert told(reader) == read_events(work.events)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_twice_ends_it_at_once_and_it_can_go_on(
    home: Home,
    config: ToyConfig,
    workers: launch.Workers,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Twice(MemorySink):
        def receive(self, envelope: Envelope) -> None:
            super().receive(envelope)
            if isinstance(envelope.event, RunStarted):
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)

    work = launch.prepare(home, config.replace({"epochs": 5000, "work": 60}), SPEC)
    finished = launch.supervise(work, lambda: [Twice()], workers)
    assert (finished.status, finished.interrupted) == ("stopped", True)
    assert finished.reason.startswith("ended at once by the user (second Ctrl-C); ")
    assert read_events(work.events)[-1].event == finished
    with pytest.raises(typer.Exit) as ended:
        conclude(work, finished)
    assert ended.value.exit_code == 130
    assert f"continue it: assay train --resume {work.path.name}" in capsys.readouterr().out


def test_a_reader_that_breaks_at_the_last_word_leaves_one_last_word(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    class Broken(MemorySink):
        def receive(self, envelope: Envelope) -> None:
            if isinstance(envelope.event, RunFinished):
                raise StoreError("cannot take the last")

    work = launch.prepare(home, config, SPEC)
    with pytest.raises(StoreError, match="cannot take the last"):
        launch.supervise(work, lambda: [Broken()], workers)
    ends = [e.event for e in read_events(work.events) if isinstance(e.event, RunFinished)]
    assert [end.status for end in ends] == ["finished"]


def test_a_killed_training_gets_its_last_event(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, finished, sink = supervise(home, config.replace({"crash": "kill"}), workers)
    assert finished.status == "failed"
    assert finished.interrupted
    assert "SIGKILL" in finished.reason
    assert read_events(work.events) == told(sink)
    epochs = {e.event.epoch for e in sink.envelopes if isinstance(e.event, MetricsLogged)}
    assert epochs == {1, 2}, "nothing that was logged is lost"


def test_an_error_is_told_in_a_sentence_and_kept_in_full(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, finished, _ = supervise(home, config.replace({"crash": "error"}), workers)
    assert finished.reason == "RuntimeError: the toy broke"
    assert not finished.interrupted
    assert "Traceback" in work.output_tail()


def test_refused_input_leaves_nothing(home: Home, tmp_path: Path, workers: launch.Workers) -> None:
    work = launch.prepare(home, ToyConfig(data=tmp_path / "absent.json"), SPEC)
    made: list[MemorySink] = []

    def make() -> MemorySink:
        made.append(MemorySink())
        return made[-1]

    finished = launch.supervise(work, lambda: [Deferred(make)], workers)
    assert finished.refused
    assert finished.reason == f"{tmp_path / 'absent.json'}: no such dataset file"
    assert not work.path.exists()
    assert made == [], "nothing reached a store"


def test_a_run_that_is_refused_to_go_on_stays_as_it_ended(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    reader = StopAfter("stopped")
    work = launch.prepare(home, config.replace({"epochs": 3, "hold": 1.0}), SPEC)
    reader.work = work
    stopped = launch.run(home, work, workers, [reader])
    before = work.events.read_bytes(), work.summary.read_text()
    kept = MlflowStore(home).run(work.path.name)
    assert (kept.status, kept.reason) == ("stopped", stopped.reason)
    asked = work.config.read_text()
    work.config.write_text(f"{asked}epoch: 5\n")
    refused = launch.run(home, work, workers)
    assert refused.refused
    with pytest.raises(TrainingError, match=r"config.yaml: unknown key 'epoch' \(did you mean"):
        conclude(work, refused)
    work.config.write_text(asked)
    assert (work.events.read_bytes(), work.summary.read_text()) == before
    assert MlflowStore(home).run(work.path.name) == kept
    (config.data.parent / "go").touch()
    assert launch.run(home, work, workers).status == "finished"


def test_a_finished_run_is_not_trained_again(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, *_ = supervise(home, config, workers)
    before = work.events.read_bytes()
    with pytest.raises(TrainingError, match="is finished; to train further, start a new run"):
        launch.supervise(work, lambda: [], workers)
    assert work.events.read_bytes() == before


def test_an_interrupted_run_continues(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, first, _ = supervise(home, config.replace({"crash": "kill"}), workers)
    assert first.status == "failed"
    sink = MemorySink()
    second = launch.supervise(work, lambda: [sink], workers)
    assert second.status == "finished"
    validated = [
        e.event.epoch
        for e in sink.envelopes
        if isinstance(e.event, MetricsLogged) and "val/loss" in e.event.metrics
    ]
    assert validated == [1, 2, 3], "readers see the whole run, each epoch once"
    assert [e.seq for e in told(sink)] == list(range(len(told(sink))))


def test_a_broken_reader_ends_the_training(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    class Broken(MemorySink):
        def receive(self, envelope: Envelope) -> None:
            raise StoreError("cannot take more")

    work = launch.prepare(home, config.replace({"epochs": 5000, "work": 60}), SPEC)
    with pytest.raises(StoreError, match="cannot take more"):
        launch.supervise(work, lambda: [Broken()], workers)
    assert not work.held()
    assert isinstance(read_events(work.events)[-1].event, RunFinished), "its end is written"


def test_a_death_is_told_in_one_line(home: Home, config: ToyConfig) -> None:
    work = launch.prepare(home, config, SPEC)
    assert work.last_complaint() == ""
    work.output.write_text("\x1b[34mepoch 1\x1b[0m\nRuntimeError: no room\n 3% ━━━ caching\n")
    assert work.last_complaint() == "RuntimeError: no room"


def test_a_store_that_cannot_be_opened_does_not_end_the_training(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config, SPEC)
    database = home.root / "mlflow.db"
    for file in home.root.glob("mlflow.db*"):
        file.unlink()
    database.write_text("no database")
    with pytest.raises(StoreError, match=r"training itself is safe.*assay replay"):
        launch.run(home, work, workers)
    last = read_events(work.events)[-1].event
    assert isinstance(last, RunFinished)
    assert last.status == "finished"


def test_two_supervisors_of_one_run_are_refused(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config, SPEC)
    assert not work.held()
    with work.hold():
        assert work.held()
        with pytest.raises(StoreError, match="another process is running this"):
            launch.supervise(work, lambda: [], workers)
    assert not work.held()


def test_asking_who_holds_a_run_disturbs_nobody(home: Home, config: ToyConfig) -> None:
    work = launch.prepare(home, config, SPEC)
    with work.hold():
        pass
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            work.held()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(300):
            with work.hold():
                pass
    finally:
        done.set()
        asking.join()


def test_an_interrupted_run_is_reaped_once(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, *_ = supervise(home, config, workers)
    lines = work.events.read_text().splitlines(keepends=True)
    work.events.write_text("".join(lines[:-1]))
    with work.hold():
        assert launch.reap(home) == [], "somebody has it"
    assert launch.reap(home) == [work.path.name]
    assert launch.reap(home) == []
    last = read_events(work.events)[-1].event
    assert isinstance(last, RunFinished)
    assert last.interrupted


def test_a_dead_supervisor_leaves_no_training_behind(home: Home, config: ToyConfig) -> None:
    """Kill the parent: its child ends, its run is found, and is given an end."""
    endless = config.replace({"epochs": 100_000, "work": 60})
    work = launch.prepare(home, endless, SPEC)
    code = (
        "from pathlib import Path; from backend import launch; "
        "from backend.core.workdir import WorkDir\n"
        "if __name__ == '__main__':\n"
        f"    launch.supervise(WorkDir(Path({str(work.path)!r})), lambda: [], launch.Workers())\n"
    )
    script = home.root / "supervisor.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    wait_for(lambda: work.events.exists() and work.events.read_bytes().count(b"\n") > 20)
    assert launch.interrupted(home) == [], "it is being supervised"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    size = -1

    def settled() -> bool:
        nonlocal size
        before, size = size, work.events.stat().st_size
        return before == size

    wait_for(settled, pause=0.3)
    found = launch.interrupted(home)
    assert [w.path for w in found] == [work.path]


def test_a_log_of_another_version_stands_in_nobodys_way(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, _, _ = supervise(home, config, workers)
    with work.events.open("a") as events:
        events.write('{"seq": 999, "time": 0, "event": {"type": "FromTheFuture"}}\n')
    before = work.events.read_bytes()
    assert launch.reap(home) == []
    assert work.events.read_bytes() == before


def wait_for(condition, pause: float = 0.02, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
    """Poll for something another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(pause)


def test_evaluation_reports_come_back(
    home: Home, config: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    work, finished, _ = supervise(home, config, workers)
    request = EvalRequest(
        checkpoint=str(work.path / str(finished.best)), data=str(config.data), split="holdout",
        out=str(tmp_path / "out"),
    )  # fmt: skip
    (report,) = launch.evaluate(config, [request], tmp_path / "eval", workers, CATALOG)
    assert report.split == "holdout"
    assert report.metrics["mAP50-95"] is not None
    assert Path(report.predictions).exists()


def test_evaluation_errors_come_back_as_what_they_are(
    config: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    request = EvalRequest(
        checkpoint=str(tmp_path / "no.safetensors"), data=str(config.data), split="val",
        out=str(tmp_path / "out"),
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="no such weight file"):
        launch.evaluate(config, [request], tmp_path / "one", workers, CATALOG)
    assert not (tmp_path / "one").exists()
    other = request.model_copy(update={"split": "moon"})
    with pytest.raises(DataError, match="no split 'moon'"):
        launch.evaluate(config, [other], tmp_path / "two", workers, CATALOG)


def test_a_trainer_that_cannot_be_imported_is_named(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work = launch.prepare(home, config, SPEC)
    text = work.run.read_text().replace("tests.support.toy:ToyTrainer", "no_such_package.x:Y")
    work.run.write_text(text)
    from backend.worker import load_trainer

    with pytest.raises(TrainingError, match="cannot be imported"):
        load_trainer(work)
    finished = launch.supervise(work, lambda: [], workers)
    assert finished.refused
    assert "no_such_package.x:Y cannot be imported" in finished.reason
