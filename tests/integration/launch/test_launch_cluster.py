"""What a cluster does to a job: signals before the end, requeueing, exported variables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.core.digest import sha256
from backend.core.events import RunFinished
from backend.core.sinks import read_events
from backend.core.workdir import WorkDir
from backend.runner.progress import read_progress
from tests.support.clustered import SIGNALLED, prepared
from tests.support.conformance import Never
from tests.support.runner_toy import RunnerToyConfig, RunnerToyTrainer
from tests.support.toy import write_toy_data

ROOT = Path(__file__).parents[3]
EXPORTED = {
    "WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500", "SLURM_JOB_ID": "17", "SLURM_NTASKS": "4", "SLURM_PROCID": "0",
}  # fmt: skip
"""As job scripts have it that were written for torchrun; 4 processes would wait for each other."""


def job(work: WorkDir) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.clustered", str(work.path)],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, **EXPORTED}, check=False,
    )  # fmt: skip


def last(work: Path) -> Path:
    return sorted((work / "checkpoints").glob("*.safetensors"))[-1]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_job_that_is_told_of_its_end_is_continued_to_the_bit(name: str, tmp_path: Path) -> None:
    """It stops in the middle of an epoch, and continued ends as if nothing had happened."""
    config = RunnerToyConfig(data=write_toy_data(tmp_path)).replace(
        {"epochs": 4, "runner.log_interval": 1, "runner.checkpoints.resume_interval": 0.25}
    )
    straight = tmp_path / "straight"
    straight.mkdir()
    RunnerToyTrainer(config, straight).fit(lambda event: None, Never())
    work = prepared(tmp_path / "mlruns", config, name)
    told = job(work)
    assert told.returncode == 75, told.stdout + told.stderr + work.output_tail()
    assert f"stopped: stopped by {name}" in told.stdout
    assert f"assay train --resume {work.path.name}" in told.stdout
    state = read_progress(work.path)
    assert state is not None
    assert SIGNALLED <= state["step"] <= SIGNALLED + 1
    RunnerToyTrainer(config, work.path).fit(lambda event: None, Never())
    assert sha256(last(work.path)) == sha256(last(straight))
    end = read_events(work.events)[-1].event
    assert isinstance(end, RunFinished)
    assert (end.status, end.interrupted) == ("stopped", False)
    environment = json.loads((work.path / "environment.json").read_text())
    assert environment == {}, "torchrun's variables that torchrun did not set"
