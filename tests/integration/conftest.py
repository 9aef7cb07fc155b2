from pathlib import Path

import pytest

from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home, template_home

__all__ = ["template_home"]


@pytest.fixture
def home(tmp_path: Path, template_home: Path) -> Home:
    """A prepared home of one's own."""
    return copy_home(template_home, tmp_path / "mlruns")


@pytest.fixture
def other_home(tmp_path: Path, template_home: Path) -> Home:
    """A second one."""
    return copy_home(template_home, tmp_path / "other" / "mlruns")
