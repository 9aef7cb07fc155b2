"""All that moves in one training, and how it is put down and taken up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backend.core.errors import CheckpointError
from backend.hardware.attempts import Where
from backend.nn.finetune.freezing import statistics
from backend.nn.observing.costs import CostMeter
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.runner.ema import Ema
from backend.runner.groups import build_optimizer
from backend.runner.module import Distributed, Trainable, recompute
from backend.runner.optimization import Optimization
from backend.runner.progress import write_progress
from backend.runner.schedule import Length, build_schedules
from backend.runner.training import Point, Training

HORIZON = 10
"""An average's start values have at most exp(-10) of the weight when training ends."""


class Session:
    """The parts of a training, built but for the Runner.

    ``step`` counts the optimizer steps done; ``ended`` is why it ended early, if it did;
    ``waited`` the validations since the best one; ``new``: does it begin, if with another run's
    state, or does it go on after an interruption? ``identity`` tells this run from others, and
    ``where`` follows it. ``frozen`` are all parameters that do not
    train, ``always`` those of them that came frozen with the model. Raises ConfigError.
    """

    def __init__(
        self,
        training: Training,
        work_dir: Path,
        device: torch.device,
        ranks: Ranks,
        where: Where,
        identity: Mapping[str, object],
    ) -> None:
        runner, data, parts = training.runner, training.data, training.parts
        self.training, self.work_dir, self.device, self.ranks = training, work_dir, device, ranks
        self.model = training.model.to(device)
        parameters = dict(self.model.named_parameters())
        if unknown := parts.frozen - parameters.keys():
            raise ValueError(f"no parameters to freeze: {', '.join(sorted(unknown))}")
        self.always = frozenset(n for n, p in parameters.items() if not p.requires_grad)
        self.frozen = parts.frozen | self.always
        for name in self.frozen:
            parameters[name].requires_grad_(False)
        self.stream = Stream(
            data.samples, data.collate, runner, training.config.seed, ranks, data.order
        )
        self.length = Length(training.config.epochs, len(self.stream.windows))
        optimizer = build_optimizer(self.model, runner.optimizer, parts.group_of, parts.scale_of)
        self.optimization = Optimization(optimizer, runner, device)
        self.schedules = build_schedules(self.optimization, runner.schedule, self.length)
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.ema = self._average()
        recompute(self.model, runner.checkpointing)
        self.trained = self._trainable()
        self.where = where
        self.identity = identity
        self.new = True
        self.step = 0
        self.ended = ""
        self.waited = 0
        self.costs = CostMeter(device)
        self.sums: dict[str, tuple[float, int]] = {}

    @property
    def saved_model(self) -> nn.Module:
        """The model that is validated and saved."""
        return self.ema.module if self.ema else self.model

    @property
    def models(self) -> dict[str, nn.Module]:
        """Every set of weights that training moves."""
        return {"model": self.model} | ({"ema": self.ema.module} if self.ema else {})

    @property
    def point(self) -> Point:
        """Where training stands."""
        length = self.length
        return Point(self.step, length.steps, length.epoch(self.step), length.epochs)

    @property
    def over(self) -> bool:
        """Is there nothing left to train?"""
        return bool(self.ended) or self.step >= self.length.steps

    def save(self, kept: Sequence[Path] | None = None) -> None:
        """Write what an exact continuation needs; so that it stays, with the checkpoints ``kept``,
        if there are some. Raises OSError."""
        if not self.ranks.first:
            return
        state: dict[str, object] = {
            **self.identity,
            "step": self.step,
            "ended": self.ended,
            "waited": self.waited,
            "sums": self.sums,
            "model": self.model.state_dict(),
            "optimization": self.optimization.state_dict(),
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }
        if self.ema:
            state |= {"ema": self.ema.module.state_dict(), "updates": self.ema.updates}
        write_progress(self.work_dir, state, None if kept is None else (self.point.epoch, kept))

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where the state was written. Raises CheckpointError if it does not fit."""
        try:
            self.model.load_state_dict(state["model"])
            self.optimization.load_state_dict(state["optimization"])
            for schedule, values in zip(self.schedules, state["schedules"], strict=True):
                schedule.load_state_dict(values)
            if self.ema:
                self.ema.module.load_state_dict(state["ema"])
                self.ema.updates = state["updates"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.work_dir}: the interrupted run's state does not fit this model "
                f"({str(error).splitlines()[0]}); start a new run"
            ) from error
        self.step, self.ended, self.waited = state["step"], state["ended"], state["waited"]
        self.sums = dict(state["sums"])

    def _average(self) -> Ema | None:
        config = self.training.runner.ema
        if not config.enabled:
            return None
        steps = self.length.steps
        momentum = max(config.momentum, min(1.0, HORIZON / steps))
        if momentum > config.momentum:
            self.notes.append(
                f"ema.momentum is {momentum:.3g} instead of {config.momentum:.3g}: there are only "
                f"{steps} steps"
            )
        return Ema(self.model, momentum, {*self.frozen, *statistics(self.model, self.frozen)})

    def _trainable(self) -> nn.Module:
        wrapped = Trainable(self.model)
        if self.ranks.size == 1:
            return wrapped
        return Distributed(
            wrapped,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            find_unused_parameters=self.training.runner.unused_parameters,
        )
