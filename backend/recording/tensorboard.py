"""A run's metrics as TensorBoard's event files, written by the ``tensorboard`` package."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.events import Envelope, MetricsLogged, RunStarted
from backend.core.records import MetricSpec
from backend.core.sinks import read_events
from backend.recording.course import Restarts, surviving

FLUSH_SECONDS = 5.0
"""Of the run's own time, between two flushes."""


class TensorBoard:
    """Writes every point: its step is the optimizer's, its time the event's; ``epoch`` is a
    scalar of its own, written when one begins.

    It begins a fresh file when the run does, and again when the run goes on after an
    interruption, with those points of ``events`` (the run's event file) that still count.
    """

    def __init__(self, folder: Path, events: Path) -> None:
        self._folder = folder
        self._events = events
        self._restarts = Restarts()
        self._scores: frozenset[str] = frozenset()
        self._writer: Any = None
        self._epoch = 0
        self._flushed = 0.0

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if isinstance(event, RunStarted):
            self._scores = _scores(event.metrics)
        if self._writer is None:
            self._begin()
        if self._restarts.seen(event) is not None:
            self._begin_anew(envelope.seq)
        elif isinstance(event, MetricsLogged):
            self._write(envelope.time, event)

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _begin(self) -> None:
        from tensorboard.summary import Writer  # noqa: PLC0415 (slow to import)

        for file in self._folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer = Writer(str(self._folder))
        self._epoch = 0

    def _begin_anew(self, seq: int) -> None:
        self.close()
        self._begin()
        for time, point in surviving(e for e in read_events(self._events) if e.seq <= seq):
            self._write(time, point)

    def _write(self, time: float, point: MetricsLogged) -> None:
        values = {tag(key, self._scores): value for key, value in point.metrics.items()}
        if point.epoch > self._epoch:
            self._epoch = point.epoch
            values["epoch"] = point.epoch
        with np.errstate(over="ignore"):  # the file's numbers have 32 bits: infinity, then
            for name, value in values.items():
                self._writer.add_scalar(name, value, point.step, wall_time=time)
        if time >= self._flushed + FLUSH_SECONDS:
            self._flushed = time
            self._writer.flush()


def tag(key: str, scores: frozenset[str]) -> str:
    """The name in TensorBoard of a metric key; ``scores`` are the metrics that rise."""
    split, _, name = key.partition("/")
    if split == "lr":
        return f"LR/{name}"
    if split == "train" and "loss" in name:
        return f"Loss/{name}"
    if split == "val" and name in scores:
        return f"Metrics/{name}"
    return key


def _scores(metrics: Iterable[MetricSpec]) -> frozenset[str]:
    return frozenset(spec.name for spec in metrics if spec.direction == "maximize")
