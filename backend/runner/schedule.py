"""When things happen: learning rates by optimizer step, and intervals given in epochs."""

import math
from dataclasses import dataclass
from typing import Any

from backend.core.errors import ConfigError
from backend.runner.config import ScheduleConfig
from backend.runner.mm import CosineAnnealingLR, LinearLR, MultiStepLR, OptimWrapper

ROUNDING = 1e-9


@dataclass(frozen=True)
class Length:
    """How long a training is; steps are the optimizer's and counted from 1, epochs too."""

    epochs: int
    steps_per_epoch: int

    @property
    def steps(self) -> int:
        """All of them."""
        return self.epochs * self.steps_per_epoch

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to."""
        return max(step - 1, 0) // self.steps_per_epoch + 1

    def due(self, step: int, interval: float, begin: float = 0) -> bool:
        """Does a multiple of ``interval`` epochs end with this step? Never for interval 0."""
        every = interval * self.steps_per_epoch
        if interval == 0 or step + ROUNDING < begin * self.steps_per_epoch:
            return False
        return _multiples(step, every) > _multiples(step - 1, every)

    def validations(self, interval: float, begin: float) -> tuple[int, ...]:
        """The steps after which a validation is due, rising; the last step may not be one."""
        every = interval * self.steps_per_epoch
        ends = (
            math.ceil(n * every - ROUNDING) for n in range(1, _multiples(self.steps, every) + 1)
        )
        return tuple(dict.fromkeys(step for step in ends if self.due(step, interval, begin)))


def _multiples(step: int, every: float) -> int:
    return math.floor(step / every + ROUNDING)


def build_schedules(optimizer: OptimWrapper, config: ScheduleConfig, length: Length) -> list[Any]:
    """mmengine's schedulers; step s (from 0) of warm-up w trains at a share of the rate of
    ``start + (1 - start) * s / (w - 1)``, and after it, of T steps in all, cosine at
    ``final + (1 - final) * (1 + cos(pi * (s - w) / (T - w))) / 2``.

    Raises ConfigError if the warm-up is longer than the training.
    """
    warmup = config.warmup(length.steps_per_epoch)
    if warmup >= length.steps:
        asked = (
            f"warmup_steps is {warmup}"
            if config.warmup_steps
            else f"warmup_epochs is {config.warmup_epochs:g}, {warmup} steps"
        )
        raise ConfigError(
            f"runner.schedule.{asked}, but there are only {length.steps} optimizer steps; lower "
            "it or train longer"
        )
    made: list[Any] = []
    if warmup > 1:  # a warm-up of one step would be the full rate
        made.append(
            LinearLR(
                optimizer, start_factor=config.warmup_start, begin=0, end=warmup, by_epoch=False
            )
        )
    if config.name == "cosine":
        made.append(
            CosineAnnealingLR(
                optimizer,
                begin=warmup,
                end=length.steps,
                eta_min_ratio=config.final,
                by_epoch=False,
            )
        )
    elif config.name == "step":
        milestones = [round(epoch * length.steps_per_epoch) for epoch in config.milestones]
        made.append(MultiStepLR(optimizer, milestones, gamma=config.gamma, by_epoch=False))
    return made
