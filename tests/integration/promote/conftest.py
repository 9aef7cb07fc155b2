from pathlib import Path

import pytest

from backend import launch
from backend.tracking.home import Home
from tests.support.mlflow_home import copy_home
from tests.support.toy import ToyConfig, write_toy_data
from tests.support.trained import NEW, OLD, train


@pytest.fixture(scope="package")
def config(tmp_path_factory: pytest.TempPathFactory) -> ToyConfig:
    folder = tmp_path_factory.mktemp("squares")
    return ToyConfig(data=write_toy_data(folder, images=40), epochs=2)


@pytest.fixture(scope="package")
def home(
    template_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    config: ToyConfig,
    workers: launch.Workers,
) -> Home:
    """A home with a poor run and a good one, which the tests share."""
    home = copy_home(template_home, tmp_path_factory.mktemp("trained") / "mlruns")
    train(home, config, workers, OLD, 0.02)
    train(home, config, workers, NEW, 0.3)
    return home
