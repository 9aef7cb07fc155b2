"""When memory runs out a run goes on with less, and with nothing else it does not."""

import weakref
from pathlib import Path

import pytest
from torch import nn

from backend import launch
from backend.core.errors import ConfigError, TrainingError
from backend.core.events import (
    Evaluated,
    Event,
    MetricsLogged,
    Noted,
    Recovered,
    RunFinished,
    RunStarted,
)
from backend.core.sinks import MemorySink
from backend.core.trainer import TrainOutcome
from backend.core.workdir import WorkDir
from backend.hardware.recovery import read_memo
from backend.runner.processes import train
from backend.runner.training import Training
from backend.tracking.home import Home
from tests.support.conformance import After, Never
from tests.support.runner_toy import KNOBS, SPEC, RunnerToyConfig, RunnerToyTrainer, build

STEPS = 12
"""24 images in batches of 4, two epochs, with a state after each."""


def config(squares: Path, *faults: str, **more: object) -> RunnerToyConfig:
    base = RunnerToyConfig(data=squares, epochs=2, plain=True, noise=0.0, faults=faults)
    return base.replace({"runner.log_interval": 1, **more})


def fit(config: RunnerToyConfig, folder: Path) -> tuple[TrainOutcome, list[Event]]:
    events: list[Event] = []
    return RunnerToyTrainer(config, folder).fit(events.append, Never()), events


def recovered(events: list[Event]) -> list[Recovered]:
    return [event for event in events if isinstance(event, Recovered)]


def losses(events: list[Event]) -> dict[int, float]:
    """The losses of each step, as said last."""
    logged = [event for event in events if isinstance(event, MetricsLogged)]
    return {event.step: event.metrics["train/loss"] for event in logged}


REQUESTED = {
    "runner.batch": 4, "runner.accumulate": 1, "side": 64, "runner.workers": 0,
    "runner.prefetch": 2,
}  # fmt: skip


def test_memory_that_runs_out_in_any_phase_costs_half_the_batch_each_time(
    squares: Path, tmp_path: Path
) -> None:
    """The same steps with the same samples: the losses are those of an undisturbed run."""
    quiet = fit(config(squares), tmp_path)[1]
    folder = tmp_path / "disturbed"
    folder.mkdir()
    faults = ("setup:cuda", "train:torch", "val:numpy")
    outcome, events = fit(config(squares, *faults), folder)
    assert outcome.status == "finished"
    told = recovered(events)
    assert [(e.attempt, e.phase, e.step, e.kind) for e in told] == [
        (1, "setup", None, "device"),
        (2, "train", 3, "host"),
        (3, "val", 6, "host"),
    ]
    assert [e.action for e in told] == [
        "runner.batch 4 -> 2, runner.accumulate 1 -> 2",
        "runner.batch 2 -> 1, runner.accumulate 2 -> 4",
        "side 64 -> 48",
    ]
    assert [e.skipped for e in told] == [(), (), ("batch",)]
    assert all(e.requested == REQUESTED for e in told)
    assert told[-1].effective == REQUESTED | {
        "runner.batch": 1, "runner.accumulate": 4, "side": 48,
    }  # fmt: skip
    assert "can't allocate memory" in told[1].cause
    assert "MemoryError" in told[2].cause
    assert losses(events) == pytest.approx(losses(quiet), rel=1e-4)
    assert max(losses(events)) == STEPS
    assert isinstance(events[-1], Evaluated)


def test_an_evaluation_gives_its_batch_only_and_trains_nothing_again(
    squares: Path, tmp_path: Path
) -> None:
    outcome, events = fit(config(squares, *["evaluation:onednn"] * 2), tmp_path)
    assert outcome.status == "finished"
    told = recovered(events)
    assert [(e.phase, e.step, e.action) for e in told] == [
        ("evaluation", STEPS, "runner.batch 4 -> 2, runner.accumulate 1 -> 2"),
        ("evaluation", STEPS, "runner.batch 2 -> 1, runner.accumulate 2 -> 4"),
    ]
    starts = [e.resumed_from for e in events if isinstance(e, RunStarted)]
    assert starts == [None, 2, 2], "goes on after the last state"
    after = events[events.index(told[0]) :]
    assert not any(isinstance(event, MetricsLogged) for event in after)
    (tmp_path / "small").mkdir()
    with pytest.raises(TrainingError, match=r"small as it may be; tried: runner\.batch 2 -> 1"):
        fit(config(squares, *["evaluation:onednn"] * 2, **{"runner.batch": 2}), tmp_path / "small")


def test_an_event_follows_the_start_of_its_attempt(squares: Path, tmp_path: Path) -> None:
    _, events = fit(config(squares, "train:cuda"), tmp_path)
    at = events.index(recovered(events)[0])
    assert isinstance(events[at - 1], RunStarted)


def test_nothing_of_a_failed_attempt_is_kept(squares: Path, tmp_path: Path) -> None:
    """Neither its model nor, through its frames, its activations."""
    made: list[weakref.ref[nn.Module]] = []
    alive: list[int] = []

    def counted(asked: RunnerToyConfig, work_dir: Path) -> Training:
        alive.append(sum(model() is not None for model in made))
        training = build(asked, work_dir)
        made.append(weakref.ref(training.model))
        return training

    asked = config(squares, "train:torch", "val:cuda")
    train(counted, asked, lambda event: None, Never(), tmp_path, KNOBS)
    assert alive == [0, 0, 0]


def test_other_errors_are_never_tried_again(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="says a bug"):
        fit(config(squares, "train:bug", "train:bug"), tmp_path)
    assert (tmp_path / "faults").read_text() == "1"


def test_the_ladder_ends_with_what_was_tried(squares: Path, tmp_path: Path) -> None:
    small = config(squares, *["setup:numpy"] * 9, **{"runner.batch": 2, "side": 32})
    with pytest.raises(TrainingError) as caught:
        fit(small, tmp_path)
    assert (tmp_path / "faults").read_text() == "2"
    said = str(caught.value)
    assert "the run is as small as it may be; tried: runner.batch 2 -> 1" in said
    assert "\n" not in said


def test_recovery_may_be_turned_off(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"hardware\.recover is false, so it ends here"):
        fit(config(squares, "train:cuda", **{"hardware.recover": False}), tmp_path)
    assert (tmp_path / "faults").read_text() == "1"


def test_a_run_stays_lowered_when_it_is_continued_and_is_still_the_same_run(
    squares: Path, tmp_path: Path
) -> None:
    asked = config(squares, "setup:cuda")
    outcome = RunnerToyTrainer(asked, tmp_path).fit(lambda event: None, After(2))
    assert outcome.status == "stopped"
    with pytest.raises(ConfigError, match=r"had runner.batch = 4, now it is 2"):
        fit(asked.replace({"runner.batch": 2}), tmp_path)
    outcome, events = fit(asked, tmp_path)
    assert outcome.status == "finished"
    assert recovered(events) == [], "told once"
    assert read_memo(tmp_path).overrides["runner.batch"] == 2


def supervise(
    config: RunnerToyConfig, folder: Path, workers: launch.Workers
) -> tuple[WorkDir, RunFinished, list[Event]]:
    sink = MemorySink()
    work = launch.prepare(Home(folder), config, SPEC)
    finished = launch.supervise(work, lambda: [sink], workers, work.path / "system")
    return work, finished, [envelope.event for envelope in sink.envelopes]


def test_a_process_that_memory_ended_is_started_again_and_resumes(
    squares: Path, tmp_path: Path, workers: launch.Workers
) -> None:
    asked = config(squares, "val:abort", "train:killed", **{"runner.batch": 8})
    work, finished, events = supervise(asked, tmp_path, workers)
    assert finished.status == "finished", work.output_tail()
    told = recovered(events)
    assert [e.phase for e in told] == ["unknown", "unknown"]
    assert "Memory allocation still failed" in told[0].cause
    assert "killed by the kernel" in told[1].cause
    assert told[-1].effective["runner.batch"] == 2
    assert sum(isinstance(e, RunStarted) for e in events) == 3
    assert max(losses(events)) == 6
    assert sum(isinstance(e, RunFinished) for e in events) == 1


@pytest.mark.parametrize(("fault", "recover"), [("train:murdered", True), ("train:killed", False)])
def test_a_process_that_a_person_killed_or_that_may_not_recover_is_not_started_again(
    fault: str, recover: bool, squares: Path, tmp_path: Path, workers: launch.Workers
) -> None:
    asked = config(squares, fault, **{"hardware.recover": recover})
    _, finished, events = supervise(asked, tmp_path, workers)
    assert finished.status == "failed"
    assert finished.interrupted
    assert sum(isinstance(e, RunStarted) for e in events) == 1


def test_a_real_limit_of_memory(squares: Path, tmp_path: Path, workers: launch.Workers) -> None:
    """8 samples of 400 MiB, and then 4, do not fit into 1500 MiB of address space; 2 do."""
    asked = config(squares, **{"runner.batch": 8, "appetite": 400, "budget": 1500})
    work, finished, events = supervise(asked, tmp_path, workers)
    assert finished.status == "finished", work.output_tail()
    told = recovered(events)
    assert [e.effective["runner.batch"] for e in told] == [4, 2]
    assert all(e.phase == "train" and e.kind == "host" for e in told)
    assert told[-1].requested["runner.batch"] == 8


def test_a_run_is_scaled_to_its_tier(squares: Path, tmp_path: Path) -> None:
    asked = config(squares, **{"hardware.auto_scale": True, "hardware.tier": "low"})
    outcome, events = fit(asked, tmp_path)
    assert outcome.status == "finished"
    started, note = events[:2]
    assert isinstance(started, RunStarted)
    assert started.environment["tier"] == "low"
    assert isinstance(note, Noted)
    assert "scaled to tier low (asked for): runner.batch 4 -> 8" in note.message
    assert "side 64 -> 480" in note.message
    assert max(losses(events)) == 6, "24 images in batches of 8"
