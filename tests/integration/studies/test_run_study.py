"""A study on the toy trainer: real Optuna, real MLflow, real processes."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from backend import launch
from backend.core.errors import StoreError, StudyError
from backend.core.records import StudyRecord
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from studies import _storage
from studies._run import StudyRun, run_study
from studies._spec import find
from tests.support.toy import CATALOG, ToyConfig, write_toy_data

ROOT = Path(__file__).parents[3]
SPEC = replace(find("freezing"), startup_trials=3, warmup=0.3)


@pytest.fixture
def run(home: Home, tmp_path: Path) -> StudyRun:
    base = ToyConfig(data=write_toy_data(tmp_path), epochs=3)
    return StudyRun(home=home, spec=SPEC, base=base, name="toy", trials=4, catalog=CATALOG)


def params(record: StudyRecord) -> list[dict[str, object]]:
    return [dict(trial.params) for trial in record.trials]


def test_a_study_reaches_its_number_and_a_second_launch_continues(
    run: StudyRun, workers: launch.Workers
) -> None:
    first = run_study(run, workers)
    assert [t.state for t in first.trials if t.state in ("complete", "pruned")] != []
    assert len(first.trials) == 4
    assert first.trials[0].params["freeze.strategy"] == "full"
    assert run_study(run, workers).trials == first.trials, "there was nothing left to do"
    more = run_study(replace(run, trials=6), workers)
    assert more.trials[:4] == first.trials
    assert len(more.trials) == 6
    sampled = params(more)[2:]
    assert all(sampled.count(drawn) == 1 for drawn in sampled), "a continued study repeats nothing"


def test_every_trial_owns_a_run_below_its_study(run: StudyRun, workers: launch.Workers) -> None:
    record = run_study(run, workers)
    runs = {item.key: item for item in MlflowStore(run.home).runs()}
    assert set(runs) == {trial.run for trial in record.trials}
    for trial in record.trials:
        assert runs[trial.run].study == "toy"
        assert runs[trial.run].trial == trial.number
        assert runs[trial.run].params["freeze.strategy"] == trial.params["freeze.strategy"]
        if trial.state == "complete":
            assert runs[trial.run].status == "finished"
            best = runs[trial.run].best["val/mAP50-95"]
            assert best == pytest.approx(trial.value)
    (stored,) = MlflowStore(run.home).studies()
    assert stored == record
    assert stored.metric == "val/mAP50-95"


def test_the_same_seed_draws_the_same_trials(
    run: StudyRun, workers: launch.Workers, other_home: Home
) -> None:
    one = run_study(run, workers)
    two = run_study(replace(run, home=other_home), workers)
    assert params(one) == params(two)
    assert [t.value for t in one.trials] == [t.value for t in two.trials]


def test_a_poor_trial_is_pruned_and_its_run_says_so(
    run: StudyRun, workers: launch.Workers
) -> None:
    good = {"freeze.strategy": "full", "optimizer.lr0": 0.1, "optimizer.layer_decay": None}
    poor = {"freeze.strategy": "full", "optimizer.lr0": 0.0125, "optimizer.layer_decay": None}
    spec = replace(SPEC, first=lambda base: (good, good, good, poor))
    base = run.base.replace({"epochs": 30, "hold": 0.05})
    record = run_study(replace(run, spec=spec, base=base), workers)
    assert [trial.state for trial in record.trials] == ["complete"] * 3 + ["pruned"]
    pruned = MlflowStore(run.home).run(record.trials[3].run)
    assert pruned.status == "pruned"
    assert "worse than the median" in pruned.reason


def test_a_killed_training_is_tried_again(run: StudyRun, workers: launch.Workers) -> None:
    record = run_study(replace(run, base=run.base.replace({"crash": "kill"})), workers)
    failed = [t for t in record.trials if t.state == "failed"]
    assert [t.number for t in failed] == [0]
    assert "SIGKILL" in failed[0].note
    again = [t for t in record.trials[1:] if t.params == failed[0].params]
    assert len(again) == 1
    assert again[0].state == "complete"
    assert again[0].run != failed[0].run


def test_a_killed_study_is_continued_and_loses_no_trial(
    run: StudyRun, workers: launch.Workers, tmp_path: Path
) -> None:
    run = replace(run, base=run.base.replace({"hold": 1.0}))
    script = tmp_path / "study.py"
    script.write_text(
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from backend.tracking.home import Home\n"
        "from studies._run import StudyRun, run_study\n"
        "from studies._spec import find\n"
        "from tests.support.toy import CATALOG, ToyConfig\n"
        "if __name__ == '__main__':\n"
        "    spec = replace(find('freezing'), startup_trials=3, warmup=0.3)\n"
        f"    base = ToyConfig(data={str(run.base.data)!r}, hold=1.0)\n"
        f"    run_study(StudyRun(home=Home(Path({str(run.home.root)!r})), spec=spec, base=base,\n"
        "        name='toy', trials=4, catalog=CATALOG))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    end, events = time.monotonic() + 120, run.home.work
    while not any(b"CheckpointSaved" in p.read_bytes() for p in events.glob("*/events.jsonl")):
        assert time.monotonic() < end
        assert parent.poll() is None
        time.sleep(0.1)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    (run.base.data.parent / "go").touch()
    record = run_study(run, workers)
    lost, *later = record.trials
    assert lost.state == "failed"
    again = [t for t in later if t.params == lost.params]
    assert [t.state for t in again] == ["complete"]
    assert sum(t.state in ("complete", "pruned") for t in record.trials) == 4
    assert {r.status for r in MlflowStore(run.home).runs()} <= {"finished", "pruned", "failed"}


def test_trials_that_fail_by_their_own_fault_end_the_study(
    run: StudyRun, workers: launch.Workers
) -> None:
    broken = replace(run, base=run.base.replace({"crash": "always"}))
    with pytest.raises(StudyError, match=r"3 trials in a row failed; the last: .*the toy broke"):
        run_study(broken, workers)
    assert {r.status for r in MlflowStore(run.home).runs()} == {"failed"}


def test_refused_input_ends_the_study_before_anything_is_trained(
    run: StudyRun, workers: launch.Workers, tmp_path: Path
) -> None:
    wrong = replace(run, base=run.base.replace({"data": str(tmp_path / "absent.json")}))
    with pytest.raises(StudyError, match=r"absent.json: no such dataset file$"):
        run_study(wrong, workers)
    assert list(run.home.work.iterdir()) == []
    store = MlflowStore(run.home)
    assert store.runs() == []
    assert store.studies() == []
    record = run_study(replace(run, trials=2), workers)
    complete = [t for t in record.trials if t.state == "complete"]
    assert complete[-1].params["freeze.strategy"] == "full", "the plain trial is not lost"
    assert len(complete) == 2


def test_two_trials_at_a_time(run: StudyRun, workers: launch.Workers) -> None:
    record = run_study(replace(run, concurrent=2), workers)
    assert sum(t.state in ("complete", "pruned") for t in record.trials) == 4
    assert len({t.run for t in record.trials}) == len(record.trials)


def test_a_changed_direction_is_refused(run: StudyRun, workers: launch.Workers) -> None:
    _storage.open_study(run.home, "toy", ["minimize"], 0, 3, 1)
    with pytest.raises(StudyError, match="stored with direction 'minimize', but its file says"):
        run_study(run, workers)


def test_a_changed_metric_is_refused(run: StudyRun, workers: launch.Workers) -> None:
    run_study(replace(run, trials=1), workers)
    with pytest.raises(StudyError, match="stored with metric 'val/mAP50-95', not 'val/loss'"):
        run_study(replace(run, spec=replace(SPEC, metric="val/loss")), workers)


def test_a_foreign_study_database_is_named(run: StudyRun, workers: launch.Workers) -> None:
    run.home.root.joinpath("optuna.db").write_text("this is no database" * 100)
    with pytest.raises(StoreError, match=r"optuna.db.*cannot be used as a study database"):
        run_study(run, workers)
    assert list(run.home.work.iterdir()) == [], "nothing was started"


def test_a_changed_base_config_is_refused(run: StudyRun, workers: launch.Workers) -> None:
    run_study(replace(run, trials=1), workers)
    other = replace(run, base=run.base.replace({"epochs": 9, "seed": 5}))
    with pytest.raises(StudyError, match="stored with another config: epochs 3 -> 9, seed 0 -> 5"):
        run_study(other, workers)


def test_a_database_of_another_optuna_is_named(run: StudyRun) -> None:
    optuna.create_study(storage=run.home.optuna_url, study_name="there")
    with closing(sqlite3.connect(run.home.root / "optuna.db")) as database:
        database.execute("UPDATE version_info SET schema_version = 99")
        database.execute("UPDATE alembic_version SET version_num = 'vzzz'")
        database.commit()
    with pytest.raises(StoreError, match="made by another version of Optuna"):
        _storage.stored_names(run.home)


def test_somebody_elses_database_is_left_alone(run: StudyRun) -> None:
    path = run.home.root / "optuna.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (a)")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="a SQLite database, but not Optuna's"):
        _storage.stored_names(run.home)
    assert path.read_bytes() == before


def test_asking_for_studies_makes_nothing(tmp_path: Path) -> None:
    assert _storage.stored_names(Home(tmp_path / "nowhere")) == []
    assert list(tmp_path.iterdir()) == []


def test_an_absent_study_is_answered_with_the_stored_ones(run: StudyRun) -> None:
    optuna.create_study(storage=run.home.optuna_url, study_name="there")
    with pytest.raises(StudyError, match=r"no study 'gone' in .*; there is: there"):
        _storage.load_study(run.home, "gone")


def test_a_trial_lost_before_it_drew_anything_keeps_its_queued_parameters(run: StudyRun) -> None:
    study = _storage.open_study(run.home, "toy", ["maximize"], 0, 3, 1)
    study.enqueue_trial({"optimizer.lr0": 0.1})
    asked = study.ask()
    assert _storage.reclaim(run.home, study) == [], "it may be about to start elsewhere"
    _storage.retry(study, study.trials[asked.number])
    assert study.trials[-1].system_attrs["fixed_params"] == {"optimizer.lr0": 0.1}
    assert study.trials[-1].user_attrs == {"retry_of": 0, "retries": 1}
