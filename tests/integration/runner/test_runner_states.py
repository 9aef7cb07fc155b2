"""A new run that begins with a state that another one kept ends with the bits of that one."""

from pathlib import Path

import pytest

from backend.core.digest import sha256
from backend.core.errors import CheckpointError, ConfigError
from backend.core.events import CheckpointSaved, Event, MetricsLogged, RunStarted
from backend.core.trainer import TrainOutcome
from backend.core.workdir import WorkDir
from backend.launch import Workers, prepare, prepare_from
from backend.nn.finetune.weights import load_state
from backend.runner.progress import read_progress, state_path
from backend.runner.states import FOLDER, kept_epochs
from backend.tracking.home import Home
from tests.support.conformance import After, Never
from tests.support.runner_toy import SPEC, RunnerToyConfig, RunnerToyTrainer

CATALOG = {SPEC.kind: SPEC}
STEPS = 2
"""Of an epoch."""


@pytest.fixture(scope="module")
def config(squares: Path) -> RunnerToyConfig:
    """Everything that a continuation could get wrong; it scores best long before its end."""
    return RunnerToyConfig(data=squares).replace(
        {
            "epochs": 8,
            "runner.accumulate": 3,
            "runner.clip": 0.5,
            "runner.ema.enabled": True,
            "runner.schedule.warmup_steps": 2,
            "runner.validation.patience": 20,
            "runner.log_interval": 1,
            "runner.checkpoints.interval": 2,
            "runner.checkpoints.keep_states": True,
        }
    )


class Told:
    """A run in this process, and what it told."""

    def __init__(self, work: WorkDir, config: RunnerToyConfig) -> None:
        self.work = work
        self.events: list[Event] = []
        self._trainer = RunnerToyTrainer(config, work.path)

    def fit(self, stop: After | Never) -> TrainOutcome:
        return self._trainer.fit(self.events.append, stop)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def metrics(self, after: int) -> dict[int, dict[str, float]]:
        logged = [event for event in self.events if isinstance(event, MetricsLogged)]
        return {event.step: event.metrics for event in logged if event.step > after}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def whole(home: Home, config: RunnerToyConfig) -> tuple[Told, TrainOutcome]:
    """The run that nobody interrupted."""
    told = Told(prepare(home, config, SPEC), config)
    return told, told.fit(Never())


def files(work: WorkDir) -> dict[str, str]:
    found = sorted(path for path in work.path.rglob("*") if path.is_file())
    return {str(path.relative_to(work.path)): sha256(path) for path in found}


def branch(home: Home, whole: Told, config: RunnerToyConfig, epoch: int) -> Told:
    work = prepare_from(home, whole.work.path.name, epoch, catalog=CATALOG)
    return Told(work, config)


@pytest.mark.parametrize("epoch", [2, 4, 6, 8])
def test_from_any_kept_epoch_on_it_is_the_unbroken_run(
    epoch: int, home: Home, whole: tuple[Told, TrainOutcome], config: RunnerToyConfig
) -> None:
    unbroken, expected = whole
    before = files(unbroken.work)
    branched = branch(home, unbroken, config, epoch)
    assert branched.fit(Never()) == expected
    assert branched.metrics(0) == unbroken.metrics(epoch * STEPS)
    ours, theirs = files(branched.work), files(unbroken.work)
    assert theirs == before, "the earlier run is as it was"
    assert expected.best is not None
    for name in (expected.best, "checkpoints/step-0000016.safetensors"):
        assert ours[name] == theirs[name]
    assert kept_epochs(branched.work.path) == tuple(range(epoch + 2, 9, 2))
    (start,) = branched.of(RunStarted)
    assert isinstance(start, RunStarted)
    assert start.resumed_from == epoch
    assert branched.work.read_run().tags == {"resumed_from": f"{unbroken.work.path.name}@{epoch}"}


def test_what_it_takes_over_is_told_once(
    home: Home, whole: tuple[Told, TrainOutcome], config: RunnerToyConfig
) -> None:
    """Also if it is stopped before it has a state of its own, and after."""
    unbroken, expected = whole
    branched = branch(home, unbroken, config, 4)
    assert branched.fit(After(1)).status == "stopped"
    assert branched.fit(Never()) == expected
    saved = [e.checkpoint.path for e in branched.events if isinstance(e, CheckpointSaved)]
    assert "checkpoints/step-0000008.safetensors" in saved
    assert len(saved) == len(set(saved))
    assert branched.metrics(0) == unbroken.metrics(8)
    starts = [e.resumed_from for e in branched.events if isinstance(e, RunStarted)]
    assert starts == [4, 5]


def test_a_run_that_was_killed_as_it_kept_a_state_keeps_it(
    home: Home,
    whole: tuple[Told, TrainOutcome],
    config: RunnerToyConfig,
    workers: Workers,
) -> None:
    """The twelfth file is the state of epoch 4: each one writes weights, facts and a state."""
    killed = prepare(home, config.replace({"kill_save": 12}), SPEC)
    assert workers.run("fit", killed.path).exitcode == -9
    assert kept_epochs(killed.path) == (2,)
    assert workers.run("fit", killed.path).exitcode == 0, killed.output_tail()
    assert kept_epochs(killed.path) == (2, 4, 6, 8)
    assert not [path for path in (killed.path / FOLDER).iterdir() if path.name.startswith(".")]
    kept, known = (work.path / FOLDER for work in (killed, whole[0].work))
    for name in ("epoch-0004", "epoch-0008"):
        one, other = (load_state(folder / name / "state.pt") for folder in (kept, known))
        assert str(one["model"]) == str(other["model"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 9}, "had epochs = 8, now it is 9; continue it with the same config"),
        ({"runner.optimizer.lr.head": 0.5}, "had runner.optimizer.lr.head = 0.02, now it is 0.5"),
    ],
)
def test_what_would_change_the_schedule_is_refused(
    change: dict[str, object],
    message: str,
    home: Home,
    whole: tuple[Told, TrainOutcome],
    config: RunnerToyConfig,
) -> None:
    work = prepare_from(home, whole[0].work.path.name, 4, change, CATALOG)
    with pytest.raises(ConfigError, match=message):
        Told(work, config.replace(change)).fit(Never())


def test_what_changes_no_bit_may_differ(
    home: Home, whole: tuple[Told, TrainOutcome], config: RunnerToyConfig
) -> None:
    change: dict[str, object] = {"name": "again", "runner.workers": 1}
    work = prepare_from(home, whole[0].work.path.name, 6, change, CATALOG)
    branched = Told(work, config.replace(change))
    branched.fit(Never())
    assert branched.metrics(0) == whole[0].metrics(12)
    assert work.read_run().name == "again"


def test_an_epoch_without_a_state_is_said(
    home: Home, whole: tuple[Told, TrainOutcome], config: RunnerToyConfig
) -> None:
    key, runs = whole[0].work.path.name, sorted(home.work.iterdir())
    with pytest.raises(
        CheckpointError, match=r"end of epoch 3; it has those of epochs 2, 4, 6, 8"
    ):
        prepare_from(home, key, 3, catalog=CATALOG)
    assert sorted(home.work.iterdir()) == runs, "nothing was begun"


def test_by_default_none_is_kept(home: Home, config: RunnerToyConfig) -> None:
    plain = config.replace({"runner.checkpoints.keep_states": False, "epochs": 2})
    told = Told(prepare(home, plain, SPEC), plain)
    told.fit(After(1))
    assert state_path(told.work.path).is_file()
    assert read_progress(told.work.path) is not None
    with pytest.raises(CheckpointError, match=r"kept none \(runner.checkpoints.keep_states"):
        prepare_from(home, told.work.path.name, 1, catalog=CATALOG)
