"""``results.csv``: one row per epoch that is over, in the trainer's own columns."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from backend.core.events import Envelope, RunStarted
from backend.core.records import MetricSpec
from backend.core.workdir import write_atomic
from backend.recording.course import Epochs


class ResultsCsv:
    """Writes the whole file anew with each epoch, so that a reader never sees half of one.

    ``columns`` are those after ``epoch``, each with the metric key that it holds; empty: made of
    the metrics that the run declares. What was not measured in an epoch is an empty cell; numbers
    have six digits, as in Ultralytics' own table. Raises StoreError.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._path = path
        self._columns = dict(columns)
        self._epochs = Epochs()

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        begins = isinstance(event, RunStarted)
        if isinstance(event, RunStarted) and not self._columns:
            self._columns = columns_of(event.metrics)
        if self._epochs.add(event) or begins:
            write_atomic(self._path, self._text())

    def close(self) -> None:
        """Nothing is open."""

    def _text(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *self._columns])
        for epoch in self._epochs.over:
            metrics = epoch.metrics
            writer.writerow([epoch.number, *(_cell(metrics, k) for k in self._columns.values())])
        return text.getvalue()


def columns_of(metrics: Iterable[MetricSpec]) -> dict[str, str]:
    """``train/...`` of each metric that training lowers, then ``val/...`` of each one."""
    judged = [spec for spec in metrics if spec.direction is not None]
    trained = [f"train/{spec.name}" for spec in judged if spec.direction == "minimize"]
    return {key: key for key in (*trained, *(f"val/{spec.name}" for spec in judged))}


def _cell(metrics: Mapping[str, float], key: str) -> str:
    return f"{metrics[key]:.6g}" if key in metrics else ""
