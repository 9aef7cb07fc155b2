from pathlib import Path

import pytest

from tests.support.conformance import TrainerSuite
from tests.support.toy import SPEC, ToyConfig, write_toy_data


class TestToy(TrainerSuite):
    spec = SPEC

    @pytest.fixture(scope="class")
    @classmethod
    def config(cls, tmp_path_factory: pytest.TempPathFactory) -> ToyConfig:
        return ToyConfig(data=write_toy_data(tmp_path_factory.mktemp("data")), epochs=3)


def test_the_suite_can_fail(tmp_path: Path) -> None:
    """A trainer that moves frozen weights does not pass."""
    from tests.support import toy

    class Leaky(toy.ToyTrainer):
        def _epoch(self, state, frozen, epoch, emit):  # type: ignore[no-untyped-def]
            super()._epoch(state, set(), epoch, emit)

    config = ToyConfig(data=write_toy_data(tmp_path), freeze={"strategy": "head-only"})
    events: list[object] = []
    Leaky(config, tmp_path).fit(events.append, type("Never", (), {"reason": lambda self: None})())
    reports = [event for event in events if getattr(event, "phase", "") == "verified"]
    assert reports[0].violations == ("backbone.weight",)  # type: ignore[attr-defined]
