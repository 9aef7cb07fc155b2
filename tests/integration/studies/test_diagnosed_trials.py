"""Studies of trials that rules end, and of sweeps: real Optuna, MLflow and processes."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend import launch
from backend.analysis.findings import stopped_trials
from backend.core.errors import StudyError
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from studies import sweep
from studies._run import StudyRun, run_study
from tests.support.toy import CATALOG, ToyConfig, write_toy_data


@pytest.fixture
def base(tmp_path: Path) -> ToyConfig:
    return ToyConfig(data=write_toy_data(tmp_path), epochs=2)


def swept(home: Home, base: ToyConfig, *over: str, name: str = "toy") -> StudyRun:
    spec = sweep.over(over, base)
    return StudyRun(
        home=home, spec=spec, base=base, name=name, trials=spec.count(base), catalog=CATALOG
    )


def test_a_sweep_tries_each_combination_once(
    home: Home, base: ToyConfig, workers: launch.Workers
) -> None:
    run = swept(home, base, "optimizer.lr0=0.05,0.1", "seed=0,1")
    record = run_study(run, workers)
    tried = [(t.params["optimizer.lr0"], t.params["seed"]) for t in record.trials]
    assert tried == [(0.1, 0), (0.1, 1), (0.05, 0), (0.05, 1)], "the config's own comes first"
    assert {t.state for t in record.trials} == {"complete"}
    assert record.description == "Sweep over optimizer.lr0 in 0.1, 0.05; seed in 0, 1"
    assert run_study(replace(run, trials=9), workers).trials == record.trials, "all is tried"
    stored = sweep.stored(home, "toy")
    assert stored is not None
    assert [*stored.first(base)] == [*run.spec.first(base)], "it is known without --over"
    assert sweep.stored(home, "nothing") is None
    with pytest.raises(StudyError, match="stored with other values to try; run it under another"):
        run_study(swept(home, base, "optimizer.lr0=0.3"), workers)


def test_a_trial_that_a_rule_ends_is_pruned_and_counted(
    home: Home, base: ToyConfig, workers: launch.Workers
) -> None:
    record = run_study(swept(home, base, "nan_epoch=0,1"), workers)
    assert [(t.state, t.finding.partition(" ")[0]) for t in record.trials] == [
        ("complete", ""), ("pruned", "B06"),
    ]  # fmt: skip
    assert record.trials[1].note.startswith("B06: ")
    assert MlflowStore(home).run(record.trials[1].run).status == "stopped"
    (said,) = stopped_trials(record)
    assert said.startswith("1 of 2 trials was stopped: ")
    assert said.endswith("(B06)")
    assert MlflowStore(home).studies() == [record]


def test_dead_data_end_the_study_and_its_first_run_tells_why(
    home: Home, base: ToyConfig, workers: launch.Workers
) -> None:
    dead = base.replace({"files": 0})
    with pytest.raises(StudyError) as caught:
        run_study(swept(home, dead, "optimizer.lr0=0.05,0.1"), workers)
    said = str(caught.value)
    assert said.startswith("no trial can help: D01: 24 of 24 squares of 'train' are missing")
    assert "nothing that study 'toy' searches changes the data" in said
    (run,) = MlflowStore(home).runs()
    assert run.tags["finding.D01"] == "stop"
    (study,) = MlflowStore(home).studies()
    assert study.trials[0].finding.startswith("D01 ")
    record = run_study(swept(home, base, "optimizer.lr0=0.05,0.1"), workers)
    complete = [t.params["optimizer.lr0"] for t in record.trials if t.state == "complete"]
    assert sorted(complete) == [0.05, 0.1], "with the data there, no trial is lost"


def test_a_sweep_over_the_data_goes_on_after_dead_data(
    home: Home, base: ToyConfig, workers: launch.Workers, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    dead = base.replace({"files": 0})
    record = run_study(swept(home, dead, f"data={dead.data},{write_toy_data(other)}"), workers)
    assert [t.state for t in record.trials] == ["pruned", "pruned"]
    assert stopped_trials(record)[0].startswith("2 of 2 trials were stopped: ")


def test_trials_that_all_end_blind_end_the_study(
    home: Home, base: ToyConfig, workers: launch.Workers
) -> None:
    blind = swept(
        home, base.replace({"blind": True, "epochs": 3}), "optimizer.lr0=0.01,0.03,0.05,0.1"
    )
    with pytest.raises(StudyError, match=r"no trial can help: all 3 so far end .*\(B04\)"):
        run_study(blind, workers)
    (study,) = MlflowStore(home).studies()
    assert [t.state for t in study.trials] == [*["complete"] * 3, "waiting"]
