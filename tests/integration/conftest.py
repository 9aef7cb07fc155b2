import sys
from pathlib import Path

import pytest

from backend.launch import Workers
from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home, template_home

__all__ = ["template_home"]
TRAINERS = (
    *("tests.support.toy", "tests.support.runner_toy", "tests.support.yolo_faults"),
    "backend.trainers.adatad.trainer",
)


@pytest.fixture(scope="session")
def workers() -> Workers:
    """One server for all tests, as Python has but one: with the trainers that they imported."""
    return Workers([name for name in TRAINERS if name in sys.modules])


@pytest.fixture
def home(tmp_path: Path, template_home: Path) -> Home:
    """A prepared home of one's own."""
    return copy_home(template_home, tmp_path / "mlruns")


@pytest.fixture
def other_home(tmp_path: Path, template_home: Path) -> Home:
    """A second one."""
    return copy_home(template_home, tmp_path / "other" / "mlruns")
