"""Small trainings that the tests of this folder share."""

from pathlib import Path

import pytest

from backend.trainers.yolo.spec import YoloConfig
from tests.support.shapes import write_architecture, write_dataset
from tests.support.yolo_runs import Training, fit


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of 24 train, 12 val and 12 holdout images."""
    folder = tmp_path_factory.mktemp("shapes")
    return write_dataset(folder / "shapes", {"train": 24, "val": 12, "holdout": 12})


@pytest.fixture(scope="session")
def scratch(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> YoloConfig:
    """Three epochs from scratch; plain images, so that little is learnt quickly."""
    architecture = write_architecture(tmp_path_factory.mktemp("architecture") / "tiny.yaml")
    return YoloConfig.model_validate(
        {
            **{"model": str(architecture), "data": str(shapes), "device": "cpu"},
            **{"epochs": 3, "batch": 8, "imgsz": 64, "workers": 0},
            "optimizer": {"lr0": 0.01, "nbs": 8},
            "augment": {"mosaic": 0, "mixup": 0, "degrees": 0, "scale": 0.2},
        }
    )


@pytest.fixture(scope="session")
def trained(scratch: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A detector that has learnt the shapes (some seconds)."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_dataset(folder / "more", {"train": 96, "val": 24, "holdout": 24}, seed=7)
    config = scratch.replace({"data": str(data), "epochs": 12, "cache": True})
    return fit(config, folder / "work")


@pytest.fixture(scope="session")
def tuning(scratch: YoloConfig, trained: Training) -> YoloConfig:
    """Two epochs of fine-tuning from the trained detector."""
    return scratch.replace({"model": str(trained.best()), "epochs": 2, "optimizer.lr0": 1e-3})
