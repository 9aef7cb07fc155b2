"""Three short videos, and the smallest training on them."""

from pathlib import Path

import pytest

from backend.trainers.adatad.spec import AdaTadConfig
from tests.support import temporal_folders

SMALLEST = {
    "kind": "adatad",
    "epochs": 2,
    "device": "cpu",
    "videos": {"threads": 1},
    "windows": {"length": 32, "per_video": 4},
    "frames": {"size": 32, "short": 36, "operations": 1},
    "model": {"preset": "tiny", "detector_width": 16},
    "runner": {
        "workers": 0, "log_interval": 1, "schedule": {"warmup_epochs": 0},
        "optimizer": {"lr": {"backbone": 1e-3, "adapter": 2e-3, "detector": 1e-3}},
    },
    "diagnostics": {"every": 2, "probe": 2},
}  # fmt: skip


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of two seconds to train on, one of three to validate; two classes."""
    return temporal_folders.clean(tmp_path_factory.mktemp("films") / "data")


@pytest.fixture(scope="session")
def smallest(films: Path) -> AdaTadConfig:
    """Two epochs of four steps with adapters, from scratch."""
    return AdaTadConfig.model_validate({**SMALLEST, "data": films})
