"""Two small domains, and the smallest trainings on them."""

from pathlib import Path

import pytest

from backend.synthetic.volleyball import write_volleyball
from backend.trainers.motrv2.spec import Motrv2Config
from tests.support.motrv2_files import shortened, trained

SMALLEST = {
    "kind": "motrv2",
    "epochs": 2,
    "device": "cpu",
    "clips": {"lengths": [2], "interval": 2, "per_epoch": 4},
    "images": {"short": 48, "long": 80, "train_short": [], "crop_chance": 0.0},
    "model": {"preset": "tiny"},
    "tracker": {"min_area": 0.0, "sweep": [0.1, 0.5]},
    "learning": {"val_clips": 2},
    "runner": {
        "batch": 1, "workers": 0, "log_interval": 1,
        "optimizer": {"lr": {"all": 1e-3, "backbone": 1e-3}},
        "schedule": {"name": "constant", "milestones": []},
    },
    "diagnostics": {"every": 2, "probe": 2},
}  # fmt: skip


@pytest.fixture(scope="session")
def domains(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``source`` with one class, ``target`` with eight; two sequences of twelve
    frames and one."""
    made = write_volleyball(tmp_path_factory.mktemp("volleyball") / "data", train=2, val=1)
    return {domain: shortened(root, 12) for domain, root in made.items()}


@pytest.fixture(scope="session")
def smallest(domains: dict[str, Path]) -> Motrv2Config:
    """Two epochs of four steps on the source domain, from scratch."""
    return Motrv2Config.model_validate({**SMALLEST, "data": domains["source"]})


@pytest.fixture(scope="session")
def pretrained(smallest: Motrv2Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of one class that has not learned much."""
    return trained(smallest, tmp_path_factory.mktemp("pretrained"))[0]


@pytest.fixture(scope="session")
def tuned(smallest: Motrv2Config, domains: dict[str, Path], pretrained: Path) -> Motrv2Config:
    """The same on the target domain, from that checkpoint; forgetting is measured."""
    return smallest.replace(
        {
            "data": domains["target"],
            "source": domains["source"],
            "model.pretrained": pretrained,
            "freeze.strategy": "moderate",
        }
    )
