"""Rules in the training process: a run ended by a finding, and what is left of it."""

from pathlib import Path

import pytest

from backend import launch
from backend.analysis.diagnostics.actions import Source
from backend.core.errors import TrainingError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Diagnosed,
    Event,
    MetricsLogged,
    RunFinished,
)
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.diagnose import check, diagnose_run
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from tests.support.toy import CATALOG, SPEC, ToyConfig, write_toy_data


@pytest.fixture
def config(tmp_path: Path) -> ToyConfig:
    return ToyConfig(data=write_toy_data(tmp_path), epochs=3)


def trained(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> tuple[WorkDir, list[Event], RunFinished]:
    work = launch.prepare(home, config, SPEC)
    finished = launch.run(home, work, workers)
    return work, [envelope.event for envelope in read_events(work.events)], finished


def test_dead_data_end_a_run_before_its_first_step_and_it_is_kept(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, events, finished = trained(home, config.replace({"files": 0}), workers)
    assert (finished.status, finished.finding) == ("stopped", "D01")
    assert finished.reason.startswith("D01: 24 of 24 squares of 'train' are missing")
    assert not any(isinstance(event, MetricsLogged) for event in events)
    run = MlflowStore(home).run(work.path.name)
    assert (run.status, run.tags["finding.D01"]) == ("stopped", "stop")
    assert "missing" in run.tags["diagnosis"]
    kept = MlflowStore(home).diagnosis(run.key)
    assert kept is not None
    assert kept.findings[0].rule == "D01"
    assert any(isinstance(e, DataSurveyed) for e in MlflowStore(home).evidence(run.key))
    assert diagnose_run(events, work, MlflowStore(home), run) == kept, "a pure function of them"


def test_what_is_fatal_may_be_switched_off(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    calm = config.replace({"files": 0, "diagnostics.stop": "never"})
    _, events, finished = trained(home, calm, workers)
    assert (finished.status, finished.finding) == ("finished", "")
    newest = [event.diagnosis for event in events if isinstance(event, Diagnosed)][-1]
    assert newest.findings[0].rule == "D01"
    assert isinstance(events[-2], Diagnosed), "once more before the end"


def test_a_fatal_finding_ends_a_training_after_its_checkpoint(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    work, events, finished = trained(home, config.replace({"nan_epoch": 2}), workers)
    assert (finished.status, finished.finding) == ("stopped", "B06")
    assert finished.reason.startswith("B06: ")
    assert finished.best
    assert (work.path / finished.best).exists()
    saved = [event.checkpoint.epoch for event in events if isinstance(event, CheckpointSaved)]
    assert saved == [1, 2]


def test_a_run_with_data_and_no_fault_says_so(
    home: Home, config: ToyConfig, workers: launch.Workers
) -> None:
    _, events, finished = trained(home, config.replace({"files": 24}), workers)
    assert finished.status == "finished"
    newest = [event.diagnosis for event in events if isinstance(event, Diagnosed)][-1]
    assert [f.rule for f in newest.findings if f.severity != "info"] == []
    assert "D01" in newest.clear
    assert {n.rule for n in newest.not_evaluated} >= {"D02", "B04", "B12", "B14"}, "no evidence"


@pytest.mark.parametrize(("files", "rules"), [(24, []), (23, ["D01"]), (0, ["D01"])])
def test_a_check_judges_the_data_and_trains_nothing(
    home: Home, config: ToyConfig, workers: launch.Workers, files: int, rules: list[str]
) -> None:
    diagnosis = check(config.replace({"files": files}), Source("a.yaml"), workers, CATALOG)
    assert [finding.rule for finding in diagnosis.findings] == rules
    assert {n.rule[0] for n in diagnosis.not_evaluated} == {"D"}
    assert list(home.work.iterdir()) == []


def test_a_check_of_a_trainer_that_tells_nothing_evaluates_nothing(
    config: ToyConfig, workers: launch.Workers
) -> None:
    diagnosis = check(config, Source("a.yaml"), workers, CATALOG)
    assert (diagnosis.findings, diagnosis.clear) == ((), ())
    assert len(diagnosis.not_evaluated) == 6


def test_a_check_of_absent_data_is_a_sentence(
    config: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    absent = config.replace({"data": str(tmp_path / "absent.json")})
    with pytest.raises(TrainingError, match=r"absent.json: no such dataset file$"):
        check(absent, Source("a.yaml"), workers, CATALOG)
