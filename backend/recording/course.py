"""The epochs of a run as they count: what an interruption undid is taken back."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from backend.core.events import Envelope, Event, MetricsLogged, RunFinished, RunStarted


@dataclass(frozen=True)
class Restart:
    """A run goes on after ``epoch`` (0: from the start), at the optimizer step ``step`` if that
    is known by now, else infinity."""

    epoch: int
    step: float

    def undid(self, epoch: int, step: int) -> bool:
        """Does what was logged there before not count any more?"""
        return epoch > self.epoch or step >= self.step


class Restarts:
    """Notices that a run starts again: by its ``RunStarted``, and once more by the first point
    of its training, since it may go on in the middle of an epoch."""

    def __init__(self) -> None:
        self._started = False
        self._resumed: int | None = None

    def seen(self, event: Event) -> Restart | None:
        """What this event takes back."""
        if isinstance(event, RunStarted):
            again, self._started = self._started, True
            self._resumed = (event.resumed_from or 0) if again else None
            return None if self._resumed is None else Restart(self._resumed, math.inf)
        if self._resumed is None or not isinstance(event, MetricsLogged) or not _trains(event):
            return None
        epoch, self._resumed = self._resumed, None
        return Restart(epoch, event.step)


def surviving(envelopes: Iterable[Envelope]) -> list[tuple[float, MetricsLogged]]:
    """Every point that counts, with its time in Unix seconds."""
    restarts = Restarts()
    points: list[tuple[float, MetricsLogged]] = []
    for envelope in envelopes:
        event = envelope.event
        if restart := restarts.seen(event):
            points = [(t, p) for t, p in points if not restart.undid(p.epoch, p.step)]
        if isinstance(event, MetricsLogged):
            points.append((envelope.time, event))
    return points


@dataclass
class Epoch:
    """One epoch, counted from 1. ``points`` are its metrics by optimizer step."""

    number: int
    points: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    over: bool = False

    @property
    def metrics(self) -> dict[str, float]:
        """The last value of each metric."""
        return {key: value for _, metrics in self.points for key, value in metrics.items()}

    def end(self) -> bool:
        """Nothing more is trained in it; False if that is known."""
        known, self.over = self.over, True
        self.points = [(self.points[-1][0], self.metrics)]
        return not known


class Epochs:
    """The epochs of a run, built up event by event.

    An epoch is over when its last point says so (``MetricsLogged.ends``), when a later one has
    begun, or, the last one, when the run has finished.
    """

    def __init__(self) -> None:
        self._epochs: dict[int, Epoch] = {}
        self._restarts = Restarts()
        self._planned = 0

    @property
    def over(self) -> list[Epoch]:
        """Those that are over, rising."""
        return sorted((e for e in self._epochs.values() if e.over), key=lambda e: e.number)

    def add(self, event: Event) -> bool:
        """Take an event in; did the epochs that are over change?"""
        restart = self._restarts.seen(event)
        changed = restart is not None and self._take_back(restart)
        match event:
            case RunStarted(epochs=planned):
                self._planned = planned
            case MetricsLogged():
                changed |= self._log(event)
            case RunFinished(status="finished") if self._planned in self._epochs:
                changed |= self._epochs[self._planned].end()
        return changed

    def _log(self, event: MetricsLogged) -> bool:
        epoch = self._epochs.setdefault(event.epoch, Epoch(event.epoch))
        epoch.points.append((event.step, event.metrics))
        ended = [e.end() for e in self._epochs.values() if e.number < event.epoch]
        if event.ends:
            ended.append(epoch.end())
        return any(ended)

    def _take_back(self, restart: Restart) -> bool:
        before = len(self.over)
        for epoch in list(self._epochs.values()):
            kept = [p for p in epoch.points if not restart.undid(epoch.number, p[0])]
            if not kept:
                del self._epochs[epoch.number]
            elif len(kept) < len(epoch.points):
                epoch.points, epoch.over = kept, False
        return len(self.over) < before


def _trains(event: MetricsLogged) -> bool:
    return any(key.startswith("train/") for key in event.metrics)
