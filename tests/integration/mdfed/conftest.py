"""A small set of rallies, and the smallest training on it."""

from pathlib import Path

import pytest

from backend.core.events import Event
from backend.synthetic.skeletons import write_spotting
from backend.trainers.mdfed.spec import MdFedConfig
from backend.trainers.mdfed.trainer import MdFedTrainer
from tests.support.conformance import Never

SMALLEST = {
    "kind": "mdfed",
    "epochs": 2,
    "device": "cpu",
    "model": {"preset": "tiny"},
    "clips": {"length": 32, "per_epoch": 32},
    "visual": {"size": 32, "width": 8},
    "runner": {
        "batch": 8, "workers": 0, "log_interval": 1, "optimizer": {"lr": {"all": 3e-3}},
        "schedule": {"warmup_steps": 2},
    },
    "diagnostics": {"every": 2},
}  # fmt: skip


@pytest.fixture(scope="session")
def rallies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 clips to train on, 16 to validate, 4 to hold out."""
    folder = tmp_path_factory.mktemp("rallies") / "data"
    return write_spotting(folder, train=32, val=16, holdout=4)


@pytest.fixture(scope="session")
def smallest(rallies: Path) -> MdFedConfig:
    """Two epochs of four steps, on windows of 32 frames."""
    return MdFedConfig.model_validate({**SMALLEST, "data": rallies})


@pytest.fixture(scope="session")
def trained(
    smallest: MdFedConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    """The smallest training, with the context module."""
    work = tmp_path_factory.mktemp("trained")
    events: list[Event] = []
    MdFedTrainer(smallest.replace({"model.context": True}), work).fit(events.append, Never())
    return work, events


@pytest.fixture(scope="session")
def few(smallest: MdFedConfig, tmp_path_factory: pytest.TempPathFactory) -> MdFedConfig:
    """4 clips to train on, 10 to validate."""
    folder = tmp_path_factory.mktemp("few") / "data"
    return smallest.replace({"data": write_spotting(folder, train=4, val=10, holdout=1)})
