"""A trainer on the Runner seam keeps the promises of all trainers."""

import pytest

from backend.config.schema import TrainConfig
from tests.support.conformance import TrainerSuite
from tests.support.runner_toy import SPEC, RunnerToyConfig
from tests.support.toy import write_toy_data


class TestRunnerToy(TrainerSuite):
    spec = SPEC

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
        return RunnerToyConfig(data=write_toy_data(tmp_path_factory.mktemp("data")), epochs=2)
