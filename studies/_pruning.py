"""The reader that tells Optuna how a trial does, and the training when to stop."""

import math

import optuna

from backend.core.events import Envelope, MetricsLogged
from backend.core.workdir import WorkDir


class PruningSink:
    """Reports the study's metric per epoch; asks the training to stop if Optuna prunes.

    Keeps the best value seen, which is the trial's value: a study ranks checkpoints, not
    last epochs.
    """

    def __init__(self, trial: optuna.Trial, metric: str, work: WorkDir) -> None:
        self._trial = trial
        self._metric = metric
        self._work = work
        self._sign = 1 if trial.study.direction == optuna.study.StudyDirection.MAXIMIZE else -1
        self.best: float | None = None

    @property
    def values(self) -> tuple[float] | None:
        """The trial's value; None if there was none."""
        return None if self.best is None else (self.best,)

    @property
    def missing(self) -> list[str]:
        """The metric, if it was never reported."""
        return [self._metric] if self.best is None else []

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if not isinstance(event, MetricsLogged) or self._metric not in event.metrics:
            return
        value = event.metrics[self._metric]
        if not math.isfinite(value):
            return
        if self.best is None or self._sign * (value - self.best) > 0:
            self.best = value
        self._trial.report(value, step=event.epoch)
        if not self._work.stop.exists() and self._trial.should_prune():
            self._work.request_stop(
                "pruned",
                f"pruned after epoch {event.epoch}: {self._metric} {value:.4g} is worse "
                "than the median of earlier trials",
            )

    def close(self) -> None:
        """Nothing to release."""
