"""A small set of traffic scenes, and the smallest training on it."""

from pathlib import Path

import pytest

from backend.synthetic.traffic import write_traffic
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

SMALLEST = {
    "kind": "moe_rtdetr",
    "epochs": 2,
    "device": "cpu",
    "model": {"preset": "tiny", "image_size": [64, 96], "queries": 10, "denoising": 10},
    "moe": {"experts": "B", "hidden": 16},
    "runner": {"batch": 4, "workers": 0, "clip": 0.5},
}


@pytest.fixture(scope="session")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen scenes to train on, four each to validate and to hold out."""
    shares = {"train": 2 / 3, "val": 1 / 6, "test": 1 / 6}
    folder = tmp_path_factory.mktemp("traffic") / "data"
    return write_traffic(folder, frames=24, size=(192, 128), shares=shares)


@pytest.fixture(scope="session")
def smallest(traffic: Path) -> MoeRtDetrConfig:
    """Two epochs of four steps."""
    return MoeRtDetrConfig.model_validate({**SMALLEST, "data": traffic})
