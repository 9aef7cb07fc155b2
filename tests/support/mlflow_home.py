"""Homes with a ready MLflow database: made once per session, then copied."""

import os
import shutil
from pathlib import Path

import pytest

from backend.tracking.home import Home


@pytest.fixture(scope="session")
def template_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of an empty home; the workers of pytest-xdist share one."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    home = Home(folder / "mlflow-template")
    home.prepare()
    return home.root


def copy_home(template: Path, root: Path) -> Home:
    """A prepared home at ``root`` with the template's database."""
    root.mkdir(parents=True)
    shutil.copy(template / "mlflow.db", root)
    home = Home(root)
    home.prepare()
    return home
