"""A study with two objectives on a toy that forgets: real Optuna, MLflow and processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backend import launch
from backend.core.errors import StudyError
from backend.core.records import StudyObjective, StudyRecord, TrialRecord
from backend.sides import find_side
from backend.tracking.client import connect, find_runs
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from studies import _storage
from studies._run import StudyRun, record, run_study
from studies._spec import StudySpec, find
from tests.support import toy
from tests.support.forgetful_toy import CATALOG
from tests.support.mlflow_home import copy_home
from tests.support.toy import ToyConfig, write_toy_data

ROOT = Path(__file__).parents[3]
FORGETTING = "source/forgetting"
ALSO = (StudyObjective(metric=FORGETTING, direction="minimize"),)


def spec() -> StudySpec:
    return replace(find("freezing"), startup_trials=3, also=ALSO)


def base(data: Path, **more: object) -> ToyConfig:
    return ToyConfig.model_validate({"data": data, "source": data, "epochs": 3, **more})


@pytest.fixture
def run(home: Home, tmp_path: Path) -> StudyRun:
    config = base(write_toy_data(tmp_path))
    return StudyRun(home=home, spec=spec(), base=config, name="both", trials=6, catalog=CATALOG)


def dominated(trial: TrialRecord, others: list[TrialRecord]) -> bool:
    high, low = trial.values
    return any(
        o.values[0] >= high and o.values[1] <= low and o.values != trial.values for o in others
    )


def counted(found: StudyRecord) -> list[TrialRecord]:
    return [trial for trial in found.trials if trial.state in ("complete", "pruned")]


@dataclass(frozen=True)
class Continued:
    """A study of three trials, and the same one after three more."""

    run: StudyRun
    begun: StudyRecord
    found: StudyRecord


@pytest.fixture(scope="module")
def continued(
    tmp_path_factory: pytest.TempPathFactory, template_home: Path, workers: launch.Workers
) -> Continued:
    """It takes seconds, so several tests look at one."""
    folder = tmp_path_factory.mktemp("continued")
    home = copy_home(template_home, folder / "mlruns")
    config = base(write_toy_data(folder))
    run = StudyRun(home=home, spec=spec(), base=config, name="both", trials=6, catalog=CATALOG)
    begun = run_study(replace(run, trials=3), workers)
    return Continued(run, begun, run_study(run, workers))


def test_the_front_is_what_no_trial_dominates_and_is_kept(continued: Continued) -> None:
    run, found = continued.run, continued.found
    done = [trial for trial in found.trials if trial.state == "complete"]
    assert len(done) == 6, "nobody is pruned"
    assert [(o.metric, o.direction) for o in found.aims] == [
        ("val/mAP50-95", "maximize"), (FORGETTING, "minimize"),
    ]  # fmt: skip
    assert sorted(found.front) == [t.number for t in done if not dominated(t, done)]
    assert found.best is None
    assert found.picked == found.front
    headlines = [found.trials[number].values[0] for number in found.front]
    assert headlines == sorted(headlines, reverse=True), "the best headline comes first"
    assert all(trial.value == trial.values[0] for trial in done)
    importances = [o.importances for o in found.aims]
    assert all(importances)
    assert importances[0] == found.importances != importances[1]
    stored_as_it_is(run, found)
    of_one_checkpoint(run, found)


def stored_as_it_is(run: StudyRun, found: StudyRecord) -> None:
    """In Optuna's database and in MLflow, where a run of the front tells how it was picked."""
    store = MlflowStore(run.home)
    (stored,) = store.studies()
    assert stored == found == record(_storage.load_study(run.home, "both"))
    client = connect(run.home)
    (parent_id,) = find_runs(client, "study")
    parent = client.get_run(parent_id)
    assert parent.data.tags["front.trials"] == ", ".join(map(str, found.front))
    assert parent.data.tags["metric"] == f"val/mAP50-95, {FORGETTING}"
    assert parent.data.tags["best.trial"] == ""
    least = min(t.values[1] for t in found.trials if t.number in found.front)
    assert parent.data.metrics[f"study/best/{FORGETTING}"] == pytest.approx(least)
    assert parent.data.metrics["study/front"] == len(found.front)
    on_front = next(t for t in found.trials if t.number == found.front[-1])
    picked = find_side(run.home, store, on_front.run, CATALOG).contender.selection
    assert picked is not None
    assert picked.metric == f"val/mAP50-95 and {FORGETTING}"


def of_one_checkpoint(run: StudyRun, found: StudyRecord) -> None:
    """Both values are those of the best checkpoint, and not the best of each by itself."""
    store = MlflowStore(run.home)
    for trial in found.trials:
        best = store.run(trial.run).best
        assert trial.values == pytest.approx((best["val/mAP50-95"], best[FORGETTING]))
    plain = found.trials[0]
    measured = store.series([plain.run], [FORGETTING])[plain.run, FORGETTING].values
    assert plain.values[1] > min(measured)


def test_a_continued_study_draws_on_and_the_same_seed_draws_the_same(
    continued: Continued, workers: launch.Workers, other_home: Home
) -> None:
    first = continued.begun
    assert continued.found.trials[:3] == first.trials
    drawn = [trial.params for trial in continued.found.trials]
    assert all(drawn.count(params) == 1 for params in drawn)
    again = run_study(replace(continued.run, home=other_home, trials=3), workers)
    assert [t.params for t in again.trials] == [t.params for t in first.trials]
    assert [t.values for t in again.trials] == [t.values for t in first.trials]


def test_without_a_source_nothing_is_begun(run: StudyRun, workers: launch.Workers) -> None:
    blind = replace(run, base=run.base.replace({"source": None}))
    before = sorted(run.home.root.rglob("*"))
    with pytest.raises(StudyError, match=r"source/forgetting, .* has no 'source'; .*--set source"):
        run_study(blind, workers)
    assert sorted(run.home.root.rglob("*")) == before


def test_an_objective_that_a_trainer_never_reports_is_named(
    run: StudyRun, workers: launch.Workers
) -> None:
    with pytest.raises(StudyError, match=rf"trial \d never reported {FORGETTING}"):
        run_study(replace(run, catalog=toy.CATALOG), workers)
    (stored,) = MlflowStore(run.home).studies()
    assert stored.front == ()
    assert {trial.values for trial in stored.trials} == {()}


def test_a_study_with_one_objective_is_no_study_with_two(
    run: StudyRun, workers: launch.Workers
) -> None:
    run_study(replace(run, spec=replace(run.spec, also=()), trials=1), workers)
    with pytest.raises(StudyError, match=r"direction 'maximize', but its .* 'maximize, minimize'"):
        run_study(run, workers)


def test_a_killed_trial_is_tried_again_and_what_it_reached_is_no_result(
    run: StudyRun, workers: launch.Workers
) -> None:
    found = run_study(replace(run, base=run.base.replace({"crash": "kill"}), trials=2), workers)
    failed = found.trials[0]
    assert failed.state == "failed"
    assert len(failed.values) == 2, "what it had reached is shown"
    assert failed.number not in found.front
    again = [trial for trial in found.trials[1:] if trial.params == failed.params]
    assert [trial.state for trial in again] == ["complete"]


SCRIPT = """
from pathlib import Path
from backend.core.errors import StudyError
from backend.tracking.home import Home
from studies._run import StudyRun, run_study
from tests.integration.studies.test_two_objectives import base, spec
from tests.support.forgetful_toy import CATALOG
if __name__ == "__main__":
    config = base(Path({data!r}), hold=1.0)
    try:
        run_study(StudyRun(home=Home(Path({home!r})), spec=spec(), base=config, name="both",
                           trials=2, catalog=CATALOG))
    except StudyError as error:
        print(error)
"""


def test_ctrl_c_ends_it_cleanly_and_it_is_continued(
    run: StudyRun, workers: launch.Workers, tmp_path: Path
) -> None:
    script = tmp_path / "study.py"
    script.write_text(SCRIPT.format(data=str(run.base.data), home=str(run.home.root)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        end = time.monotonic() + 120
        events = run.home.work
        while not any(
            p.read_bytes().count(b"CheckpointSaved") > 1 for p in events.glob("*/events.jsonl")
        ):
            assert time.monotonic() < end
            assert parent.poll() is None
            time.sleep(0.1)
        parent.send_signal(signal.SIGINT)
        said, _ = parent.communicate(timeout=120)
    assert "study 'both' was stopped; the same command continues it" in said
    (run.base.data.parent / "go").touch()
    config = run.base.replace({"hold": 1.0})
    found = run_study(replace(run, base=config, trials=2), workers)
    assert len(counted(found)) == 2
    stopped, *later = found.trials
    assert stopped.state == "failed"
    assert [t.state for t in later if t.params == stopped.params] == ["complete"]
    assert found.front
