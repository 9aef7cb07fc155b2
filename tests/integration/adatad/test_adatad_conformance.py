import pytest

from backend.trainers.adatad.spec import SPEC, AdaTadConfig
from tests.support.conformance import TrainerSuite


class TestAdaTad(TrainerSuite):
    spec = SPEC
    freezing = "adapter"

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, smallest: AdaTadConfig) -> AdaTadConfig:
        return smallest.replace({"diagnostics.probe": 0})
