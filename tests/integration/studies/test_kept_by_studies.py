"""What a study tries is not undone by the machine's tier."""

from dataclasses import replace
from pathlib import Path

import yaml

from backend import launch
from backend.core.workdir import WorkDir
from backend.hardware.recovery import read_memo
from backend.tracking.home import Home
from studies._run import StudyRun, run_study
from studies.sweep import of_grid
from tests.support.runner_toy import KNOBS, SPEC, RunnerToyConfig
from tests.support.toy import write_toy_data


def test_a_trials_own_batch_beats_the_tier(
    home: Home, workers: launch.Workers, tmp_path: Path
) -> None:
    base = RunnerToyConfig(data=write_toy_data(tmp_path), epochs=1).replace(
        {"hardware.auto_scale": True}
    )
    catalog = {SPEC.kind: replace(SPEC, knobs=KNOBS)}
    spec = of_grid({"runner.batch": (2,)})
    run = StudyRun(home=home, spec=spec, base=base, name="batches", trials=1, catalog=catalog)
    (trial,) = run_study(run, workers).trials
    assert trial.state == "complete", trial.note
    work = WorkDir(home.work_dir(trial.run))
    config = yaml.safe_load(work.config.read_text())
    assert config["hardware"]["keep"] == ["runner.batch"]
    planned = read_memo(work.path).planned
    assert planned is not None
    assert "runner.workers" in planned
    assert "runner.batch" not in planned
