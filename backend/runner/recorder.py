"""From losses and validations to the events of Assay."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backend.core.errors import TrainingError
from backend.core.events import MetricsLogged
from backend.core.trainer import Emit
from backend.nn.finetune.groups import rates
from backend.runner.module import TOTAL, train_mode
from backend.runner.session import Session
from backend.runner.training import Validated


class Recorder:
    """``train/...`` is at every point the mean over the epoch so far, and so at an epoch's
    last point the epoch's mean; over the steps of all processes."""

    def __init__(self, session: Session, emit: Emit) -> None:
        self._session = session
        self._emit = emit
        self._fresh: list[dict[str, Tensor]] = []
        self._rates: dict[str, float] = {}

    def stepping(self) -> None:
        """A step begins: note its learning rates; an epoch's sums start anew."""
        session = self._session
        self._rates = rates(session.optimization.optimizer)
        if session.step % session.length.steps_per_epoch == 0:
            session.sums = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """A batch's losses."""
        self._fresh.append(dict(losses))

    def forget(self, batches: int) -> None:
        """A step was left out: what is no number would spoil the epoch's means.

        Raises TrainingError if there were too many of them.
        """
        del self._fresh[-batches:]
        session = self._session
        most, skipped = session.training.runner.max_nonfinite, session.optimization.nonfinite
        if skipped > most:
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
            metrics["train/grad_norm"] = float(session.optimization.norm)
        if session.optimization.nonfinite or session.optimization.overflows:
            metrics["train/steps_left_out"] = float(
                session.optimization.nonfinite + session.optimization.overflows
            )
        metrics |= {f"lr/{part}": rate for part, rate in self._rates.items()}
        point = session.point
        metrics |= validated.metrics
        self._emit(MetricsLogged(step=point.step, epoch=point.epoch, metrics=metrics))
        for event in validated.events:
            self._emit(event)

    def settle(self) -> dict[str, float]:
        """Add the new losses to the epoch's sums; the means so far.

        Raises TrainingError if the loss is no number: training on would only hide it.
        """
        session = self._session
        for name in sorted({name for losses in self._fresh for name in losses}):
            values = torch.stack([v[name].double().mean() for v in self._fresh if name in v])
            mean, count = session.ranks.mean(values.mean()), len(values)
            total, steps = session.sums.get(name, (0.0, 0))
            session.sums[name] = (total + float(mean) * count, steps + count)
        self._fresh.clear()
        means = {name: total / count for name, (total, count) in session.sums.items()}
        if not math.isfinite(means.get(TOTAL, 0.0)):
            raise TrainingError(
                f"the loss is {means[TOTAL]} by step {session.step}; lower the learning rate, "
                "clip the gradient (runner.clip), or train without float16"
            )
        return means

    def validate(self, losses: Mapping[str, float]) -> Validated:
        """Metrics of the model that is saved, and of the live one if that is asked for; the
        events of the first.

        Raises ValueError if the headline is not among them.
        """
        training = self._session.training
        self._session.where.phase, self._session.where.step = "val", self._session.step
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
