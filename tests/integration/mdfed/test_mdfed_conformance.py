import pytest

from backend.trainers.mdfed.spec import SPEC, MdFedConfig
from tests.support.conformance import TrainerSuite


class TestMdFed(TrainerSuite):
    spec = SPEC
    freezing = "encoder"

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, few: MdFedConfig) -> MdFedConfig:
        return few.replace(
            {
                "clips.per_epoch": 16, "runner.schedule.warmup_steps": 0,
                "diagnostics.probe": 0,
            }
        )  # fmt: skip
