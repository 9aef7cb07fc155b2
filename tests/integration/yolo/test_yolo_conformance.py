"""The promises that every trainer makes, kept by YOLO."""

from typing import ClassVar

import pytest

from backend.core.trainer import TrainerSpec
from backend.trainers.yolo.spec import SPEC, YoloConfig
from tests.support.conformance import TrainerSuite


class TestYolo(TrainerSuite):
    spec: ClassVar[TrainerSpec] = SPEC

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, scratch: YoloConfig) -> YoloConfig:
        return scratch
