from pathlib import Path

import pytest

from backend.trainers.motrv2.spec import SPEC, Motrv2Config
from tests.support.conformance import TrainerSuite


class TestMotrv2(TrainerSuite):
    spec = SPEC
    freezing = "moderate"

    @pytest.fixture(scope="class")
    @classmethod
    def config(
        cls, smallest: Motrv2Config, domains: dict[str, Path], pretrained: Path
    ) -> Motrv2Config:
        return smallest.replace(
            {
                "data": domains["target"], "model.pretrained": pretrained, "diagnostics.probe": 0,
                "learning.head_warmup_steps": 2,
            }
        )  # fmt: skip
