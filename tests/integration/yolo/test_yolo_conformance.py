import pytest

from backend.trainers.yolo.spec import SPEC, YoloConfig
from tests.support.conformance import TrainerSuite


class TestYolo(TrainerSuite):
    spec = SPEC

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, scratch: YoloConfig) -> YoloConfig:
        return scratch
