"""``training_result.json``: what became of a run, in one file that any tool reads."""

import json
import math
from collections.abc import Mapping
from typing import Any

from backend.core.costs import TOLD, costs_of
from backend.core.events import (
    UNFINISHED,
    CheckpointRemoved,
    CheckpointSaved,
    Envelope,
    Evaluated,
    Event,
    FileSaved,
    FreezeReported,
    MetricsLogged,
    Recovered,
    RunFinished,
    RunStarted,
)
from backend.core.records import Checkpoint, EvalReport
from backend.core.trainer import TrainerSpec
from backend.core.workdir import RunFile, WorkDir, write_atomic
from backend.hardware.recovery import read_memo
from backend.recording.course import Epochs

RATE = "lr/"


class Clock:
    """How long a run trained, evaluation included, in seconds; pauses are left out."""

    def __init__(self) -> None:
        self._before = 0.0
        self._span: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Until the last event."""
        return self._before + (self._span[1] - self._span[0] if self._span else 0.0)

    def add(self, envelope: Envelope) -> None:
        """An event; the last word of a run that was cut off may come long after its end."""
        event, now = envelope.event, envelope.time
        if isinstance(event, RunStarted):
            self._before, self._span = self.seconds, (now, now)
        elif self._span and not (isinstance(event, RunFinished) and event.interrupted):
            self._span = (self._span[0], now)


class Summary:
    """Gathers what a run tells, and writes it when the run has ended, however it did.

    While a run goes on there is no such file. ``metrics`` are those of the final evaluation of
    the best checkpoint, or, of a run that did not get there, of its validation; ``metrics_from``
    says which. Paths are relative to the work directory. Raises StoreError.
    """

    def __init__(
        self, work: WorkDir, config: Mapping[str, Any], spec: TrainerSpec | None = None
    ) -> None:
        self._work = work
        self._config = config
        self._spec = spec
        self._clock = Clock()
        self._epochs = Epochs()
        self._started: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._recovered: list[dict[str, Any]] = []
        self._freezing: dict[str, FreezeReported] = {}
        self._rates: dict[str, float] = {}
        self._costs: list[Event] = []
        self._saved: dict[str, Checkpoint] = {}
        self._best: list[str] = []
        self._report: EvalReport | None = None
        self._files: dict[str, FileSaved] = {}

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        self._clock.add(envelope)
        self._epochs.add(event)
        if isinstance(event, TOLD):
            self._costs.append(event)
        if isinstance(event, RunStarted):
            self._started, self._finished = event, None
            self._work.summary.unlink(missing_ok=True)
        elif isinstance(event, Recovered):
            self._recovered.append({"time": envelope.time, **_facts(event)})
        elif isinstance(event, MetricsLogged):
            rates = event.metrics.items()
            self._rates |= {k.removeprefix(RATE): v for k, v in rates if k.startswith(RATE)}
        elif isinstance(event, RunFinished):
            self._finished = event
            if not event.refused:
                self._write(event)
        else:
            self._hear(event)

    def close(self) -> None:
        """A run that never said its last word has a summary too."""
        if self._started and not self._finished:
            self._write(UNFINISHED)

    def _hear(self, event: Event) -> None:
        match event:
            case FreezeReported():
                self._freezing[event.phase] = event
            case CheckpointSaved(checkpoint=checkpoint, best=best):
                self._saved[checkpoint.path] = checkpoint
                self._best += [checkpoint.path] if best else []
            case CheckpointRemoved(path=path):
                self._saved.pop(path, None)
            case Evaluated(report=report):
                self._report = report
            case FileSaved(path=path):
                self._files[path] = event

    def _write(self, finished: RunFinished) -> None:
        run = self._work.read_run()
        text = json.dumps(strict(self._document(run, finished)), indent=2, allow_nan=False)
        write_atomic(self._work.summary, text + "\n")

    def _document(self, run: RunFile, finished: RunFinished) -> dict[str, Any]:
        started = self._started
        best = self._best_checkpoint(finished)
        last = max(self._saved.values(), key=lambda c: c.step, default=None)
        metrics, source = self._metrics(best)
        return {
            "best_model_path": best.path if best else None,
            "last_model_path": last.path if last else None,
            "metrics": metrics,
            "training_time_minutes": round(self._clock.seconds / 60, 4),
            "epochs_completed": len(self._epochs.over),
            "tensorboard_url": None,  # Assay serves none
            "config": dict(self._config),
            "metrics_from": source,
            "status": finished.status,
            "reason": finished.reason,
            "run": run.key,
            "name": run.name,
            "trainer": run.trainer,
            "epochs_planned": started.epochs if started else None,
            "best_epoch": best.epoch if best else None,
            "seed": self._config.get("seed"),
            "settings": self._settings(),
            "oom_events": self._recovered,
            "freeze_report": {phase: _facts(told) for phase, told in self._freezing.items()},
            "lr_groups": self._lr_groups(),
            "costs": costs_of(self._costs).model_dump(),
            "data": [item.model_dump() for item in started.data] if started else [],
            "versions": started.environment if started else {},
            "third_party_licenses": dict(self._spec.licenses) if self._spec else {},
            "checkpoints": [_kept(c) for c in self._saved.values()],
            "files": [*self._own_files(), *(_facts(file) for file in self._files.values())],
        }

    def _best_checkpoint(self, finished: RunFinished) -> Checkpoint | None:
        paths = [*([finished.best] if finished.best else []), *reversed(self._best)]
        return next((self._saved[path] for path in paths if path in self._saved), None)

    def _metrics(self, best: Checkpoint | None) -> tuple[dict[str, float | None], str]:
        """The values, and in words whence they are."""
        columns = self._spec.columns.values() if self._spec else ()
        names = [key.removeprefix("val/") for key in columns if key.startswith("val/")]
        if self._report:
            report = self._report
            found = {name: report.metrics.get(name) for name in names} or report.metrics
            return found, (
                f"final evaluation of the best checkpoint on {report.split}, by "
                f"{report.evaluator}; {self._work.results.name} has what the validations said"
            )
        if best is None:
            return dict.fromkeys(names), "nothing was measured"
        measured = {
            key.removeprefix("val/"): value
            for key, value in best.metrics.items()
            if key.startswith("val/")
        }
        why = f"validation after epoch {best.epoch}; the best checkpoint was not evaluated"
        return {name: measured.get(name) for name in names} or dict(measured), why

    def _settings(self) -> dict[str, dict[str, Any]]:
        """What the machine may change: as requested, and as trained with at the end."""
        knobs = self._spec.knobs if self._spec else None
        if knobs is None:
            return {}
        requested = {key: _at(self._config, key) for key in knobs.keys}
        effective = {**requested, **read_memo(self._work.path).overrides}
        return {
            key: {"requested": value, "effective": effective[key]}
            for key, value in requested.items()
        }

    def _lr_groups(self) -> dict[str, dict[str, float | None]]:
        """Each part that trains: its rate as declared, and the last one that it trained at."""
        declared = self._freezing.get("declared")
        rates = {g.name: g.lr for g in declared.groups if g.lr is not None} if declared else {}
        return {
            name: {"lr": rates.get(name), "last": self._rates.get(name)}
            for name in (*rates, *(name for name in self._rates if name not in rates))
        }

    def _own_files(self) -> list[dict[str, str]]:
        known = [
            (self._work.results, "metrics per epoch"),
            (self._work.tensorboard, "TensorBoard event files"),
            (self._work.events, "everything that was told, one event a line"),
            (self._work.config, "the resolved config"),
            (self._work.output, "what the training printed"),
        ]
        return [{"path": path.name, "kind": kind} for path, kind in known if path.exists()]


def strict(value: Any) -> Any:
    """The same for strict JSON: what is no finite number becomes null."""
    if isinstance(value, Mapping):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _facts(event: Event) -> dict[str, Any]:
    return event.model_dump(exclude={"type"})


def _kept(checkpoint: Checkpoint) -> dict[str, Any]:
    return checkpoint.model_dump(include={"path", "sha256", "epoch", "step", "metrics"})


def _at(config: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
