"""What a run's events say, epoch by epoch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backend.core.costs import costs_of
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Envelope,
    Evaluated,
    FileSaved,
    FreezeReported,
    MetricsLogged,
    Noted,
    Recovered,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import DataSurvey
from backend.core.records import Checkpoint, Costs, Direction, EvalReport

Curve = dict[int, float]
"""Value by epoch, in order."""


@dataclass(frozen=True)
class Course:
    """One training. ``curves`` hold the mean of an epoch for ``train/`` keys (as its last point
    tells, else of what was logged) and else its last value; ``seconds`` is how long an epoch
    took, from the times of its events.

    ``starts`` are all starts, the last one counts; ``freezes`` holds the last report by phase,
    ``files`` the last one by path, ``costs`` what it took, ``survey`` what its data are.
    """

    starts: tuple[RunStarted, ...]
    curves: dict[str, Curve]
    seconds: dict[int, float]
    freezes: dict[str, FreezeReported]
    saved: tuple[Checkpoint, ...]
    evaluated: EvalReport | None
    notes: tuple[Noted, ...]
    finished: RunFinished | None
    recoveries: tuple[Recovered, ...] = ()
    files: tuple[FileSaved, ...] = ()
    costs: Costs = field(default_factory=Costs)
    survey: DataSurvey | None = None

    @property
    def headline(self) -> str:
        """The key that ranks checkpoints; empty for a run that never started."""
        return self.starts[-1].headline if self.starts else ""

    @property
    def planned(self) -> int:
        """Epochs that were planned, by the largest plan of any start."""
        return max((start.epochs for start in self.starts), default=0)

    @property
    def epochs(self) -> list[int]:
        """All epochs that have a value, in order."""
        return sorted({epoch for curve in self.curves.values() for epoch in curve})

    def direction(self, key: str) -> Direction | None:
        """What is better in a metric, as the run declares it; a loss is better when lower."""
        name = key.partition("/")[2]
        specs = self.starts[-1].metrics if self.starts else ()
        said = next((spec.direction for spec in specs if spec.name == name), None)
        return said or ("minimize" if "loss" in name else None)

    def finite(self, key: str) -> Curve:
        """The epochs of one metric whose value is a number."""
        curve = self.curves.get(key, {})
        return {epoch: value for epoch, value in curve.items() if math.isfinite(value)}

    def keys(self, *, losses: bool, split: str = "") -> list[str]:
        """Metrics of a split that are losses, or those that are not; the headline comes first.

        Learning rates, gradients and updates are neither, and what an importer repeats of the best
        epoch is no curve.
        """
        found = [
            key
            for key in self.curves
            if ("loss" in key) == losses
            and key.startswith(split)
            and not key.startswith(("lr/", "best/", "gradient/", "update/"))
        ]
        return sorted(found, key=lambda key: (key != self.headline, key[:4] != "val/", key))


@dataclass
class _Epoch:
    """The values of one metric in one epoch by step, as the start ``segment`` logged them;
    ``whole``: the last one is of the whole epoch."""

    segment: int
    values: dict[int, float] = field(default_factory=dict)
    whole: bool = False


def course_of(envelopes: Sequence[Envelope]) -> Course:
    """The course that these events tell; of an epoch that was trained twice, the second time."""
    events = [envelope.event for envelope in envelopes]
    reports = [event.report for event in events if isinstance(event, Evaluated)]
    ends = [event for event in events if isinstance(event, RunFinished)]
    return Course(
        starts=tuple(event for event in events if isinstance(event, RunStarted)),
        curves=_curves(envelopes),
        seconds=_seconds(envelopes),
        freezes={event.phase: event for event in events if isinstance(event, FreezeReported)},
        saved=tuple(event.checkpoint for event in events if isinstance(event, CheckpointSaved)),
        evaluated=reports[-1] if reports else None,
        notes=tuple(dict.fromkeys(event for event in events if isinstance(event, Noted))),
        finished=ends[-1] if ends and isinstance(events[-1], RunFinished) else None,
        recoveries=tuple(event for event in events if isinstance(event, Recovered)),
        files=tuple({e.path: e for e in events if isinstance(e, FileSaved)}.values()),
        costs=costs_of(events),
        survey=next((e.survey for e in events if isinstance(e, DataSurveyed)), None),
    )


def _curves(envelopes: Iterable[Envelope]) -> dict[str, Curve]:
    logged: dict[str, dict[int, _Epoch]] = {}
    segment = 0
    for envelope in envelopes:
        event = envelope.event
        if isinstance(event, RunStarted):
            segment += 1
        if not isinstance(event, MetricsLogged):
            continue
        for key, value in event.metrics.items():
            epochs = logged.setdefault(key, {})
            known = epochs.get(event.epoch)
            if known is None or known.segment != segment:
                known = epochs[event.epoch] = _Epoch(segment)
            known.values[event.step] = value
            known.whole |= event.ends
    return {
        key: {epoch: _of_epoch(key, epochs[epoch]) for epoch in sorted(epochs)}
        for key, epochs in logged.items()
    }


def _of_epoch(key: str, epoch: _Epoch) -> float:
    values = list(epoch.values.values())
    averaged = not epoch.whole and _is_mean(key, values)
    return math.fsum(values) / len(values) if averaged else values[-1]


def _is_mean(key: str, values: Sequence[float]) -> bool:
    return key.startswith("train/") and all(math.isfinite(value) for value in values)


def _seconds(envelopes: Iterable[Envelope]) -> dict[int, float]:
    """From the end of the epoch before (or the start) to an epoch's last value."""
    ends: dict[int, float] = {}
    found: dict[int, float] = {}
    began = 0.0
    for envelope in envelopes:
        event = envelope.event
        if isinstance(event, RunStarted):
            began, ends = envelope.time, {}
        elif isinstance(event, MetricsLogged):
            ends[event.epoch] = envelope.time
            found[event.epoch] = envelope.time - ends.get(event.epoch - 1, began)
    return {epoch: seconds for epoch, seconds in sorted(found.items()) if seconds > 0}
