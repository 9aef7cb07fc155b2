"""A run that is killed at any step and continued ends with the bits of one that was not."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, ConfigError, TrainingError
from backend.core.events import Event, MetricsLogged, Noted, RunStarted
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.launch import Workers, prepare
from backend.nn.finetune.weights import load_state, load_weights, save_state
from backend.runner.progress import read_progress, state_path
from backend.tracking.home import Home
from tests.support.conformance import After, Never
from tests.support.runner_toy import SPEC, RunnerToyConfig, RunnerToyTrainer

HARD: Mapping[str, object] = {
    "epochs": 8,
    "runner.batch": 4,
    "runner.accumulate": 3,
    "runner.workers": 0,
    "runner.amp": "bfloat16",
    "runner.clip": 0.5,
    "runner.ema.enabled": True,
    "runner.ema.compare_live": True,
    "runner.schedule.warmup_steps": 2,
    "runner.optimizer.weight_decay": 0.1,
    "runner.checkpointing": ["backbone"],
    "runner.log_interval": 1,
}
"""24 images: two steps of three batches in an epoch, and a state at its end."""


@pytest.fixture(scope="module")
def config(squares: Path) -> RunnerToyConfig:
    return RunnerToyConfig(data=squares).replace(dict(HARD))


@pytest.fixture(scope="module")
def straight(config: RunnerToyConfig, tmp_path_factory: pytest.TempPathFactory) -> WorkDir:
    """The run that nobody disturbed, in this process."""
    return in_process(config, tmp_path_factory.mktemp("straight"))


def in_process(config: RunnerToyConfig, folder: Path) -> WorkDir:
    work = prepare(Home(folder), config, SPEC)
    events: list[Event] = []
    RunnerToyTrainer(config, work.path).fit(events.append, Never())
    return work


def run(workers: Workers, work: WorkDir) -> int | None:
    process = workers.start("fit", work.path)
    process.join()
    return process.exitcode


def last(work: WorkDir) -> Path:
    return sorted((work.path / "checkpoints").glob("*.safetensors"))[-1]


def logged(work: WorkDir) -> dict[int, dict[str, float]]:
    """The metrics of each step, as said last."""
    events = [envelope.event for envelope in read_events(work.events)]
    return {e.step: e.metrics for e in events if isinstance(e, MetricsLogged)}


@pytest.mark.parametrize("step", [1, 4, 11], ids=["first", "mid-epoch", "epoch-start"])
def test_killed_in_the_middle_of_an_accumulation(
    step: int, config: RunnerToyConfig, straight: WorkDir, workers: Workers, tmp_path: Path
) -> None:
    work = prepare(Home(tmp_path), config.replace({"kill_step": step}), SPEC)
    assert run(workers, work) == -9
    assert run(workers, work) == 0, work.output_tail()
    starts = [e.event for e in read_events(work.events) if isinstance(e.event, RunStarted)]
    assert [s.resumed_from is not None for s in starts] == [False, step > 1]
    assert last(work).name == last(straight).name
    assert sha256(last(work)) == sha256(last(straight))
    assert max(logged(work)) == 16


@pytest.mark.parametrize("files", [5, 6], ids=["checkpoint", "state"])
def test_killed_in_the_middle_of_a_save(
    files: int, config: RunnerToyConfig, straight: WorkDir, workers: Workers, tmp_path: Path
) -> None:
    """Each epoch writes the facts, the weights and the state; what was there is still whole."""
    work = prepare(Home(tmp_path), config.replace({"kill_save": files}), SPEC)
    assert run(workers, work) == -9
    assert load_weights(work.path / "checkpoints/step-0000002.safetensors")
    state = read_progress(work.path)
    assert state is not None
    assert state["step"] == 2
    assert run(workers, work) == 0, work.output_tail()
    assert sha256(last(work)) == sha256(last(straight))


def test_losses_rates_and_metrics_are_repeated_too(
    config: RunnerToyConfig, workers: Workers, tmp_path: Path
) -> None:
    """From the middle of an epoch, and with another number of loader processes."""
    config = config.replace({"runner.checkpoints.resume_interval": 0.5})
    quiet = prepare(Home(tmp_path / "a"), config, SPEC)
    assert run(workers, quiet) == 0, quiet.output_tail()
    killed = prepare(Home(tmp_path / "b"), config.replace({"kill_step": 6}), SPEC)
    assert run(workers, killed) == -9
    (killed.path / "config.yaml").write_text(
        (killed.path / "config.yaml").read_text().replace("workers: 0", "workers: 2")
    )
    assert run(workers, killed) == 0, killed.output_tail()
    assert logged(killed) == logged(quiet)


def test_a_stopped_run_goes_on(config: RunnerToyConfig, straight: WorkDir, tmp_path: Path) -> None:
    trainer = RunnerToyTrainer(config, tmp_path)
    events: list[Event] = []
    assert trainer.fit(events.append, After(1)).status == "stopped"
    assert trainer.fit(events.append, Never()).status == "finished"
    (ours,) = [p for p in tmp_path.glob("checkpoints/*16.safetensors")]
    assert {k: v.tolist() for k, v in load_file(ours).items()} == {
        k: v.tolist() for k, v in load_file(last(straight)).items()
    }
    with pytest.raises(TrainingError, match="this run is finished after 16 steps"):
        trainer.fit(events.append, Never())


@pytest.fixture
def stopped(config: RunnerToyConfig, tmp_path: Path) -> Path:
    RunnerToyTrainer(config, tmp_path).fit(lambda event: None, After(1))
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runner.batch": 2}, "had runner.batch = 4, now it is 2; continue it with the same"),
        ({"seed": 7}, "had seed = 0, now it is 7"),
        ({"epochs": 9}, "had epochs = 8, now it is 9"),
        ({"runner.optimizer.lr.head": 0.5}, "had runner.optimizer.lr.head = 0.02, now it is 0.5"),
    ],
)
def test_another_config_is_refused(
    change: dict[str, object], message: str, config: RunnerToyConfig, stopped: Path
) -> None:
    trainer = RunnerToyTrainer(config.replace(change), stopped)
    with pytest.raises(ConfigError, match=message):
        trainer.fit(lambda event: None, Never())


def test_a_damaged_state_is_one_sentence(config: RunnerToyConfig, stopped: Path) -> None:
    path = state_path(stopped)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged or not written by Assay"):
        RunnerToyTrainer(config, stopped).fit(lambda event: None, Never())


def test_a_state_of_another_network_is_one_sentence(
    config: RunnerToyConfig, stopped: Path
) -> None:
    state = load_state(state_path(stopped))
    weights = state["model"]
    assert isinstance(weights, dict)
    weights["new.weight"] = weights.pop("head.weight")
    save_state(state_path(stopped), state)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        RunnerToyTrainer(config, stopped).fit(lambda event: None, Never())


def test_changed_data_is_said(config: RunnerToyConfig, stopped: Path, tmp_path: Path) -> None:
    data = tmp_path / "changed.json"
    data.write_text(config.data.read_text() + " ")
    events: list[Event] = []
    RunnerToyTrainer(config.replace({"data": str(data)}), stopped).fit(events.append, After(1))
    notes = [
        event.message for event in events if isinstance(event, Noted) and event.level == "warning"
    ]
    assert notes == ["the data changed since the run was interrupted"]
