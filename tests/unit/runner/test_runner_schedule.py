import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from backend.core.errors import ConfigError
from backend.runner.config import RunnerConfig, ScheduleConfig
from backend.runner.optimization import Optimization
from backend.runner.schedule import Length, build_schedules

RATES = (0.1, 0.02)


def rates(length: Length, **config: Any) -> list[tuple[float, ...]]:
    """Learning rates of two groups at each optimizer step."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in RATES]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    wrapper = Optimization(optimizer, RunnerConfig(), torch.device("cpu"))
    schedules = build_schedules(wrapper, ScheduleConfig(**config), length)
    seen = []
    for _ in range(length.steps):
        seen.append(tuple(group["lr"] for group in optimizer.param_groups))
        wrapper.step()
        for schedule in schedules:
            schedule.step()
    return seen


def test_warm_up_then_cosine_is_the_formula_at_each_step() -> None:
    length, warmup, start, final = Length(4, 25), 10, 0.05, 0.1
    seen = rates(length, warmup_steps=warmup, warmup_start=start, final=final)
    for step, values in enumerate(seen):
        if step < warmup:
            share = start + (1 - start) * step / (warmup - 1)
        else:
            turn = math.cos(math.pi * (step - warmup) / (length.steps - warmup))
            share = final + (1 - final) * (1 + turn) / 2
        assert values == pytest.approx([rate * share for rate in RATES], rel=1e-9), step


def test_steps_fall_at_milestones_of_epochs() -> None:
    seen = rates(Length(4, 10), name="step", milestones=(1, 2.5), gamma=0.5, warmup_steps=3)
    assert seen[3] == pytest.approx(RATES)
    assert seen[9] == pytest.approx(RATES)
    assert seen[10] == pytest.approx([rate / 2 for rate in RATES])
    assert seen[24] == pytest.approx([rate / 2 for rate in RATES])
    assert seen[25] == pytest.approx([rate / 4 for rate in RATES])
    assert seen[-1] == pytest.approx([rate / 4 for rate in RATES])


@pytest.mark.parametrize("warmup", [0, 1])
def test_constant_is_constant(warmup: int) -> None:
    assert set(rates(Length(2, 5), name="constant", warmup_steps=warmup)) == {RATES}


def test_a_warm_up_longer_than_training_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup_steps is 20, but there are only 10"):
        rates(Length(2, 5), warmup_steps=20)
    with pytest.raises(ConfigError, match="12 steps, but there are only 10"):
        rates(Length(2, 5), warmup_epochs=2.5)


def test_a_warm_up_in_epochs_is_one_in_steps() -> None:
    """By the steps of an epoch; steps go first, so that an override of them is enough."""
    assert rates(Length(4, 10), warmup_epochs=0.3) == rates(Length(4, 10), warmup_steps=3)
    assert ScheduleConfig(warmup_steps=3, warmup_epochs=1).warmup(10) == 3


@pytest.mark.parametrize(
    "config",
    [{"name": "step"}, {"milestones": (1,)}, {"name": "step", "milestones": (2, 1)},
     {"name": "step", "milestones": (0, 1)}],
)  # fmt: skip
def test_milestones_that_make_no_sense_are_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="milestones"):
        ScheduleConfig(**config)


def due(length: Length, interval: float, begin: float = 0) -> list[int]:
    return [step for step in range(1, length.steps + 1) if length.due(step, interval, begin)]


def test_intervals_are_in_epochs_and_do_not_drift() -> None:
    assert due(Length(4, 7), 1) == [7, 14, 21, 28]
    assert due(Length(4, 7), 2) == [14, 28]
    assert due(Length(2, 7), 0.5) == [4, 7, 11, 14]
    assert due(Length(3, 10), 0.3) == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30]
    assert due(Length(4, 7), 1, begin=3) == [21, 28]
    assert due(Length(4, 7), 0) == []


def test_epochs_are_counted_from_one() -> None:
    length = Length(3, 4)
    assert [length.epoch(step) for step in (1, 4, 5, 12)] == [1, 1, 2, 3]
