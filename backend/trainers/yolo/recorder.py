"""From what Ultralytics says to the events of Assay."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from backend.core.events import Event, MetricsLogged
from backend.core.trainer import Emit
from backend.trainers.yolo.checkpoints import Keeper
from backend.trainers.yolo.model import Facts

EVERY = 10
"""Optimizer steps between two points of the training losses inside an epoch."""

VALIDATION = {
    "metrics/mAP50-95(B)": "val/mAP50-95",
    "metrics/mAP50(B)": "val/mAP50",
    "metrics/precision(B)": "val/precision",
    "metrics/recall(B)": "val/recall",
}
"""Ultralytics' names and ours; ``val/*_loss`` are the same in both."""


class Recorder:
    """Counts optimizer steps, logs metrics, saves checkpoints.

    ``train/*_loss`` is at every point the mean over the epoch so far, and so at an epoch's
    last point the epoch's mean; ``loss`` is their sum. ``observed`` gives what else was seen since
    it was last asked.
    """

    def __init__(self, emit: Emit, keeper: Keeper, facts: Facts) -> None:
        self._emit = emit
        self._keeper = keeper
        self._facts = facts
        self.step = 0
        self.validated: dict[str, float] = {}
        self.observed: Callable[[], dict[str, float]] = dict

    def stepped(self, epoch: int, losses: Mapping[str, Tensor], last: bool) -> None:
        """An optimizer step was taken; ``last`` if the epoch's own values follow at once."""
        self.step += 1
        if not last and (self.step == 1 or self.step % EVERY == 0):
            self._log(epoch, _train(losses))

    def epoch_ended(
        self,
        epoch: int,
        losses: Mapping[str, Tensor],
        validation: Mapping[str, Any] | None,
        rates: Mapping[str, float],
    ) -> None:
        """Log an epoch. ``validation`` is None if there was none."""
        self.validated = {} if validation is None else _validation(validation)
        rate = {f"lr/{part}": value for part, value in rates.items()}
        self._log(epoch, {**_train(losses), **self.validated, **rate}, ends=True)

    def checkpoint(self, epoch: int, weights: Mapping[str, Tensor]) -> None:
        """Save the epoch's weights if a checkpoint is due. Raises OSError."""
        if self._keeper.wants(epoch, bool(self.validated)):
            facts = {"epoch": epoch, "step": self.step, "metrics": self.validated}
            self._keeper.save(weights, self._facts.model_copy(update=facts))

    def tell(self, event: Event) -> None:
        """Something else that was seen."""
        self._emit(event)

    def _log(self, epoch: int, metrics: dict[str, float], ends: bool = False) -> None:
        metrics = metrics | self.observed()
        self._emit(MetricsLogged(step=self.step, epoch=epoch, metrics=metrics, ends=ends))


def _train(losses: Mapping[str, Tensor]) -> dict[str, float]:
    parts = {f"train/{name}": float(value) for name, value in losses.items()}
    return parts | {"train/loss": sum(parts.values())}


def _validation(metrics: Mapping[str, Any]) -> dict[str, float]:
    losses = {name: float(value) for name, value in metrics.items() if name.startswith("val/")}
    scores = {ours: float(metrics[theirs]) for theirs, ours in VALIDATION.items()}
    return scores | losses | {"val/loss": sum(losses.values())}
