"""Two processes that share a batch train as one process on the whole of it."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from backend.core.errors import ConfigError
from backend.core.events import CheckpointSaved, Event, MetricsLogged, RunStarted
from backend.core.trainer import TrainOutcome
from tests.support.conformance import After, Never
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


def fit(config: RunnerToyConfig, folder: Path, stop: object = None) -> tuple[list[Event], object]:
    events: list[Event] = []
    outcome = RunnerToyTrainer(config, folder).fit(events.append, stop or Never())  # type: ignore[arg-type]
    return events, outcome


def saved(events: list[Event], folder: Path) -> dict[str, np.ndarray]:
    paths = [event.checkpoint.path for event in events if isinstance(event, CheckpointSaved)]
    return load_file(folder / paths[-1])


def losses(events: list[Event]) -> list[float]:
    metrics = [event.metrics for event in events if isinstance(event, MetricsLogged)]
    return [values["train/cell_loss"] for values in metrics]


@pytest.fixture(scope="module")
def alone(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Event], Path]:
    folder = tmp_path_factory.mktemp("alone")
    return fit(config(squares, 1), folder)[0], folder


def test_two_gloo_processes_equal_one_and_can_stop_and_go_on(
    squares: Path, alone: tuple[list[Event], Path], tmp_path: Path
) -> None:
    both = config(squares, 2)
    first, stopped = fit(both, tmp_path, After(1))
    assert stopped == TrainOutcome(
        status="stopped", best="checkpoints/step-0000002.safetensors", reason="enough"
    )
    second, finished = fit(both, tmp_path)
    assert isinstance(finished, TrainOutcome)
    assert finished.status == "finished"
    events = first + second
    assert [e.resumed_from for e in events if isinstance(e, RunStarted)] == [None, 1]
    assert losses(events) == pytest.approx(losses(alone[0]), rel=1e-5)
    ours, theirs = saved(events, tmp_path), saved(*alone)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_what_a_process_refuses_is_said_by_the_parent(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no rate for the group 'head'"):
        fit(config(squares, 2, **{"runner.optimizer.lr": {"backbone": 0.1}}), tmp_path)
