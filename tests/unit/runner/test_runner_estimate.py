"""How much memory a training is expected to take, and what the plan makes of it."""

import dataclasses
from pathlib import Path

import pytest
from torch import Tensor, nn

from backend.core.events import Setting
from backend.core.knobs import Knobs
from backend.hardware.estimate import ABOVE, SHARE, Need, capped
from backend.runner.estimate import needed
from tests.support.runner_toy import RunnerToyConfig, build
from tests.support.toy import write_toy_data

PLANNED: dict[str, Setting] = {"runner.batch": 32, "runner.workers": 4}
ASKED: dict[str, Setting] = {
    "runner.batch": 8, "runner.accumulate": 2, "runner.workers": 0, "runner.prefetch": 2,
}  # fmt: skip


class Half(nn.Module):
    """Keeps its input and what the ReLU gave."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(30 * 30, 16, bias=False)

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"loss": self.linear(batch[0].flatten(1)).relu().sum()}


def test_what_is_kept_for_the_backward_pass(tmp_path: Path) -> None:
    config = RunnerToyConfig(data=write_toy_data(tmp_path))
    training = build(config, tmp_path)
    training = dataclasses.replace(training, model=Half())
    weights = 900 * 16 * 4
    assert needed(training) == Need(fixed=4 * weights, per_sample=(900 + 16) * 4)
    averaged = config.replace({"runner.ema.enabled": True, "runner.optimizer.name": "SGD"})
    training = build(averaged, tmp_path)
    training = dataclasses.replace(training, model=Half().requires_grad_(False))
    assert needed(training) == Need(fixed=2 * weights, per_sample=0), "nothing trains"


class Blocks(Half):
    """Three blocks follow, each of which keeps its input and four times as much inside."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(nn.Sequential(nn.Linear(16, 64, False), nn.ReLU(), nn.Linear(64, 16, False))
              for _ in range(3))
        )  # fmt: skip

    def loss(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"loss": self.blocks(self.linear(batch[0].flatten(1))).sum()}


@pytest.mark.parametrize(
    ("patterns", "frozen", "numbers"),
    [
        ([], "", 900 + 3 * (16 + 64)),
        (["blocks.*"], "", 900 + 3 * 16 + 64),
        (["blocks"], "", 900 + 16 + 3 * 64 + 2 * 16),
        (["blocks.*"], "linear", 2 * 16 + 64 + 16),
        (["blocks.*"], "linear blocks.0", 2 * 16 + 64),
    ],
)
def test_of_what_is_recomputed_the_inputs_and_the_largest_are_kept(
    patterns: list[str], frozen: str, numbers: int, tmp_path: Path
) -> None:
    config = RunnerToyConfig(data=write_toy_data(tmp_path))
    training = build(config.replace({"runner.checkpointing": patterns}), tmp_path)
    model = Blocks()
    for name in frozen.split():
        model.get_submodule(name).requires_grad_(False)
    assert needed(dataclasses.replace(training, model=model)).per_sample == numbers * 4


def test_a_convolutional_network_needs_more_for_more(tmp_path: Path) -> None:
    config = RunnerToyConfig(data=write_toy_data(tmp_path))
    need = needed(build(config, tmp_path))
    assert 900 * 4 < need.per_sample < 20_000
    assert need.fixed == 4 * sum(p.numel() * 4 for p in build(config, tmp_path).model.parameters())
    assert need.of(8) == ABOVE * (need.fixed + 8 * need.per_sample)


def test_the_plan_is_capped_at_the_same_samples_per_step() -> None:
    need = Need(fixed=100, per_sample=10)
    free = int(need.of(10) / SHARE)
    got = capped(PLANNED, ASKED, Knobs(), need, free)
    assert got == {"runner.batch": 8, "runner.accumulate": 8, "runner.workers": 4}
    assert need.of(8) <= SHARE * free


def test_a_plan_that_fits_stays() -> None:
    assert capped(PLANNED, ASKED, Knobs(), Need(1, 1), 10**6) == PLANNED


def test_what_never_fits_is_as_small_as_may_be() -> None:
    got = capped(PLANNED, ASKED, Knobs(smallest=2), Need(10**9, 1), 10)
    assert got["runner.batch"] == 2
