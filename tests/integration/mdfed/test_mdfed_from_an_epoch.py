"""assay train --resume RUN@EPOCH: a new run, tracked and reported, with the bits of the first."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from backend.cli import reporting, training
from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.launch import prepare
from backend.tracking.home import Home
from backend.tracking.store import MlflowStore
from backend.trainers.mdfed.spec import SPEC, MdFedConfig
from backend.trainers.mdfed.trainer import MdFedTrainer
from tests.support.conformance import Never


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def unbroken(smallest: MdFedConfig, home: Home) -> Path:
    """A finished run with the state of each of its two epochs."""
    keeps = {"runner.checkpoints.interval": 1, "runner.checkpoints.keep_states": True}
    config = smallest.replace({**keeps, "name": "rallies"})
    work = prepare(home, config, SPEC, tags={"fast": "true", "trial": "7"})
    MdFedTrainer(config, work.path).fit(lambda event: None, Never())
    return work.path


def assay(home: Home, *arguments: str) -> str:
    app = typer.Typer()
    training.register(app)
    reporting.register(app)
    done = CliRunner().invoke(app, list(arguments), obj=home)
    if done.exception is not None:
        raise done.exception
    return done.output


def test_a_run_begins_at_an_epoch_of_another(home: Home, unbroken: Path) -> None:
    said = assay(home, "train", "--resume", f"{unbroken.name}@1")
    (work,) = (path for path in home.work.iterdir() if path != unbroken)
    assert f"run {work.name} begins after epoch 1 of run {unbroken.name}" in said
    last = "checkpoints/step-0000008.safetensors"
    assert sha256(work / last) == sha256(unbroken / last)

    run = MlflowStore(home).run(work.name)
    assert run.status == "finished"
    assert run.tags["resumed_from"] == f"{unbroken.name}@1"
    assert run.tags["fast"] == "true"
    assert "trial" not in run.tags, "it belongs to no study"
    checkpoints = MlflowStore(home).checkpoints(work.name)
    assert [one.epoch for one in checkpoints] == [1, 2], "that of the start is its own, too"

    assay(home, "report", work.name)
    told = (work / "report.md").read_text(encoding="utf-8")
    assert "| resumed from epoch | 1 |" in told
    assert f"| begins with the state of | `{unbroken.name}@1` |" in told


def test_an_epoch_without_a_state_begins_nothing(home: Home, unbroken: Path) -> None:
    before = sorted(home.work.iterdir())
    with pytest.raises(CheckpointError, match=r"end of epoch 7; it has those of epochs 1, 2$"):
        assay(home, "train", "--resume", f"{unbroken.name}@7")
    assert sorted(home.work.iterdir()) == before
