"""Two processes that share a batch train as one process on the whole of it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from backend.core.errors import TrainingError
from backend.core.events import CheckpointSaved, Event, MetricsLogged, Recovered, RunStarted
from tests.support.conformance import Never
from tests.support.runner_toy import RunnerToyConfig, RunnerToyTrainer


def config(squares: Path, processes: int, **more: object) -> RunnerToyConfig:
    return RunnerToyConfig(data=squares, plain=True, epochs=2).replace(
        {
            "runner.batch": 8 // processes,
            "runner.processes": processes,
            "runner.accumulate": 2,
            "runner.clip": 1.0,
            "runner.ema.enabled": True,
            "runner.optimizer.name": "SGD",
            **more,
        }
    )


def fit(config: RunnerToyConfig, folder: Path) -> list[Event]:
    events: list[Event] = []
    RunnerToyTrainer(config, folder).fit(events.append, Never())
    return events


def saved(events: list[Event], folder: Path) -> dict[str, np.ndarray]:
    paths = [event.checkpoint.path for event in events if isinstance(event, CheckpointSaved)]
    return load_file(folder / paths[-1])


def losses(events: list[Event]) -> list[float]:
    metrics = [event.metrics for event in events if isinstance(event, MetricsLogged)]
    return [values["train/cell_loss"] for values in metrics]


@pytest.fixture(scope="module")
def alone(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    folder = tmp_path_factory.mktemp("alone")
    return fit(config(squares, 1), folder), folder


class Counting(Never):
    """Is asked, and lets go on."""

    def __init__(self) -> None:
        self.questions = 0

    def reason(self) -> str | None:
        self.questions += 1
        return super().reason()


@contextmanager
def ctrl_c_ignored() -> Iterator[None]:
    """As in a worker, which its supervisor asks to stop."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_two_gloo_processes_equal_one_with_less_memory_and_when_one_is_killed(
    squares: Path, alone: tuple[list[Event], Path], tmp_path: Path
) -> None:
    """Memory runs out when the first two are built, one of the next two is killed by somebody,
    and the last two go on from there."""
    both = config(squares, 2, kill_step=3, faults=("setup:numpy",))
    events: list[Event] = []
    handler = signal.getsignal(signal.SIGTERM)
    trainer = RunnerToyTrainer(both, tmp_path)
    with pytest.raises(TrainingError, match=r"training process . of 2 died \(exit code -9\)"):
        trainer.fit(events.append, Never())
    actions = [event.action for event in events if isinstance(event, Recovered)]
    assert actions == ["runner.batch 4 -> 2, runner.accumulate 2 -> 4"]
    stop = Counting()

    def interrupting(event: Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        events.append(event)

    with ctrl_c_ignored():
        outcome = trainer.fit(interrupting, stop)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert outcome.status == "finished"
    assert stop.questions == 1, "at the end of the epoch that was left"
    assert [e.resumed_from for e in events if isinstance(e, RunStarted)] == [None, 1]
    assert losses(events) == pytest.approx(losses(alone[0]), rel=1e-5)
    ours, theirs = saved(events, tmp_path), saved(*alone)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)
