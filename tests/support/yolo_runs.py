"""YOLO trainings in this process, and what they said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.core.events import CheckpointSaved, Evaluated, Event, FreezeReported, MetricsLogged
from backend.core.trainer import StopSignal, TrainOutcome
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer


class StopAfter:
    """A StopSignal that gives its reason at the n-th epoch (None: never)."""

    def __init__(self, epochs: int | None = None) -> None:
        self._left = epochs

    def reason(self) -> str | None:
        if self._left is None:
            return None
        self._left -= 1
        return "enough" if self._left == 0 else None


@dataclass(frozen=True)
class Training:
    """What a fit did."""

    config: YoloConfig
    work: Path
    events: Sequence[Event]
    outcome: TrainOutcome

    def metrics(self) -> list[MetricsLogged]:
        return [event for event in self.events if isinstance(event, MetricsLogged)]

    def epochs(self) -> list[MetricsLogged]:
        """The metrics at the end of each epoch."""
        return [e for e in self.metrics() if any(key.startswith("lr/") for key in e.metrics)]

    def freezing(self, phase: str) -> FreezeReported:
        reports = [e for e in self.events if isinstance(e, FreezeReported) and e.phase == phase]
        assert len(reports) == 1
        return reports[0]

    def saved(self) -> list[CheckpointSaved]:
        return [event for event in self.events if isinstance(event, CheckpointSaved)]

    def evaluated(self) -> Evaluated:
        (event,) = (event for event in self.events if isinstance(event, Evaluated))
        return event

    def best(self) -> Path:
        assert self.outcome.best is not None
        return self.work / self.outcome.best


def fit(config: YoloConfig, work: Path, stop: StopSignal | None = None) -> Training:
    """Train in this process."""
    events: list[Event] = []
    outcome = YoloTrainer(config, work).fit(events.append, stop or StopAfter())
    return Training(config, work, events, outcome)
