from pathlib import Path

import pytest

from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home, template_home

__all__ = ["template_home"]


@pytest.fixture
def home(tmp_path: Path, template_home: Path) -> Home:
    """A prepared home in a folder whose name needs care."""
    return copy_home(template_home, tmp_path / "höme 50%")
