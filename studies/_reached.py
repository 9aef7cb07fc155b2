"""The reader that keeps what a trial with several objectives has reached."""

import math
from collections.abc import Sequence

import optuna

from backend.core.events import CheckpointSaved, Envelope
from studies import _storage


class CheckpointSink:
    """Keeps all objectives of the run's best checkpoint, the one by its headline.

    They belong together: the best of each by itself would be of no weights that anybody has.
    Nothing is reported to Optuna, which prunes by one objective only.
    """

    def __init__(self, trial: optuna.Trial, metrics: Sequence[str]) -> None:
        self._trial = trial
        self._metrics = metrics
        self._last: dict[str, float] = {}

    @property
    def values(self) -> tuple[float, ...] | None:
        """All of them, or None while one is missing."""
        found = tuple(self._last.get(metric, math.nan) for metric in self._metrics)
        return found if all(map(math.isfinite, found)) else None

    @property
    def missing(self) -> list[str]:
        """The metrics without a number."""
        return [m for m in self._metrics if not math.isfinite(self._last.get(m, math.nan))]

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if not isinstance(event, CheckpointSaved) or not event.best:
            return
        self._last = event.checkpoint.metrics
        if self.values is not None:
            self._trial.set_user_attr(_storage.REACHED, self.values)

    def close(self) -> None:
        """Nothing to release."""
