"""From losses and validations to the events of Assay."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backend.core.errors import TrainingError
from backend.core.events import MetricsLogged
from backend.core.trainer import Emit
from backend.nn.finetune.groups import rates
from backend.nn.observing.gradients import GLOBAL
from backend.runner.module import TOTAL, train_mode
from backend.runner.observing import Observing
from backend.runner.session import Session
from backend.runner.training import Validated


class Fresh(NamedTuple):
    """A batch's losses, its step (from 1) and the names of its samples."""

    losses: dict[str, Tensor]
    step: int
    names: tuple[str, ...]


class Recorder:
    """``train/...`` is at every point the mean over the epoch so far, and so at an epoch's
    last point the epoch's mean; over the steps of all processes."""

    def __init__(self, session: Session, emit: Emit, observing: Observing) -> None:
        self._session = session
        self._emit = emit
        self._observing = observing
        self._fresh: list[Fresh] = []
        self._rates: dict[str, float] = {}
        self._names: tuple[str, ...] = ()

    def stepping(self) -> None:
        """A step begins: note its learning rates; an epoch's sums start anew."""
        session = self._session
        self._observing.stepping()
        self._rates = rates(session.optimization.optimizer)
        if session.step % session.length.steps_per_epoch == 0:
            session.sums = {}

    def feed(self, batch: Any) -> None:
        """A batch is trained on next."""
        self._names = self._observing.feed(batch)

    def failed(self) -> None:
        """The batch ended the run with an error."""
        self._observing.failed()

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """A batch's losses."""
        self._fresh.append(Fresh(dict(losses), self._session.step + 1, self._names))

    def forget(self, batches: int) -> None:
        """A step was left out: what is no number would spoil the epoch's means.

        Raises TrainingError if there were too many of them.
        """
        left_out = self._fresh[-batches:]
        del self._fresh[-batches:]
        session = self._session
        most, skipped = session.training.runner.max_nonfinite, session.optimization.nonfinite
        if skipped <= most:
            self._observing.forgive()
        else:
            self._lost(left_out)
            raise TrainingError(
                f"the gradient was no number in {skipped} steps by step {session.step + 1}, and "
                f"runner.max_nonfinite is {most}; lower the learning rate, clip the gradient "
                "(runner.clip), or train without float16"
            )

    def log(self, losses: Mapping[str, float], validated: Validated) -> None:
        """Tell of the step that is done, and then what its validation has to tell."""
        session = self._session
        if not session.ranks.first:
            return
        metrics = {f"train/{name}": value for name, value in losses.items()}
        if session.optimization.norm is not None:
            metrics[GLOBAL] = float(session.optimization.norm)
        metrics |= self._observing.metrics()
        if session.optimization.nonfinite or session.optimization.overflows:
            metrics["train/steps_left_out"] = float(
                session.optimization.nonfinite + session.optimization.overflows
            )
        metrics |= {f"lr/{part}": rate for part, rate in self._rates.items()}
        point = session.point
        metrics |= validated.metrics
        ends = session.length.due(point.step, 1)
        self._emit(MetricsLogged(step=point.step, epoch=point.epoch, metrics=metrics, ends=ends))
        for event in validated.events:
            self._emit(event)
        if validated.metrics:
            self._observing.validated(validated.metrics)

    def settle(self) -> dict[str, float]:
        """Add the new losses to the epoch's sums; the means so far.

        Raises TrainingError if the loss is no number: training on would only hide it.
        """
        session = self._session
        fresh, self._fresh = self._fresh, []
        for name in sorted({name for batch in fresh for name in batch.losses}):
            values = torch.stack(
                [b.losses[name].double().mean() for b in fresh if name in b.losses]
            )
            mean, count = session.ranks.mean(values.mean()), len(values)
            total, steps = session.sums.get(name, (0.0, 0))
            session.sums[name] = (total + float(mean) * count, steps + count)
        means = {name: total / count for name, (total, count) in session.sums.items()}
        if not math.isfinite(means.get(TOTAL, 0.0)):
            self._lost(fresh)
            raise TrainingError(
                f"the loss is {means[TOTAL]} by step {session.step}; lower the learning rate, "
                "clip the gradient (runner.clip), or train without float16"
            )
        return means

    def _lost(self, fresh: Sequence[Fresh]) -> None:
        """Tell of the first batch whose loss is no number, before training ends for it."""
        none = Fresh({}, self._session.step, ())
        first = next((b for b in fresh if not bool(torch.isfinite(b.losses[TOTAL]).all())), none)
        self._observing.lost(first.losses, first.step, first.names)

    def validate(self, losses: Mapping[str, float]) -> Validated:
        """Metrics of the model that is saved, and of the live one if that is asked for; the
        events of the first.

        Raises ValueError if the headline is not among them.
        """
        training = self._session.training
        self._session.where.phase, self._session.where.step = "val", self._session.step
        self._observing.validating()
        validated = self._measured(self._session.saved_model, losses)
        metrics = dict(validated.metrics)
        if training.spec.headline not in metrics:
            raise ValueError(f"validate gave no {training.spec.headline}: {sorted(metrics)}")
        if self._session.ema and training.runner.ema.compare_live:
            live = self._measured(self._session.model, losses)
            metrics |= {
                f"live/{name.removeprefix('val/')}": value
                for name, value in live.metrics.items()
                if name.startswith("val/")
            }
        return Validated(metrics, validated.events)

    @torch.no_grad()
    def _measured(self, model: nn.Module, losses: Mapping[str, float]) -> Validated:
        model.eval()
        validated = self._session.training.validate(model, self._session.point, losses)
        if model is self._session.model:
            train_mode(model)
        return validated
