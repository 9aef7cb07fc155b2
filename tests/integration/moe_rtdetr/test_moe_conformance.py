import pytest

from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig
from tests.support.conformance import TrainerSuite


class TestMoeRtDetr(TrainerSuite):
    spec = SPEC

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, smallest: MoeRtDetrConfig) -> MoeRtDetrConfig:
        return smallest
