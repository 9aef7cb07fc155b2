"""What one run's events mean in MLflow.

Each event becomes a list of calls. A call may be repeated after a failure, so each one does a
single thing and remembers its result only when it succeeded.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from mlflow.entities import (
    Dataset,
    InputTag,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow.entities import DatasetInput as LoggedDataset
from mlflow.tracking import MlflowClient

from backend.core.diagnosis import Diagnosis
from backend.core.events import (
    UNFINISHED,
    CheckpointRemoved,
    CheckpointSaved,
    CostsMeasured,
    Diagnosed,
    Envelope,
    Evaluated,
    Event,
    ExpertsObserved,
    FileSaved,
    FreezeReported,
    HardwareSampled,
    MetricsLogged,
    Noted,
    Recovered,
    RunFinished,
    RunStarted,
    Setting,
)
from backend.core.records import Checkpoint, DatasetInput, EvalReport
from backend.core.workdir import WorkDir
from backend.tracking import names
from backend.tracking.artifacts import put_file, put_text
from backend.tracking.client import slug
from backend.tracking.evidence import EvidenceLog
from backend.tracking.hardware import in_force, planned, sampled, taken

Call = Callable[[], object]

METRICS_PER_CALL = 1000
PARAMS_PER_CALL = 100
DIGEST_LENGTH = 36  # MLflow's limit; the whole digest is kept in the profile
TAG_LENGTH = 5000
MLFLOW_STATUS = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "pruned": "KILLED",
    "failed": "FAILED",
}


class Projection:
    """Projects the events of one run to one MLflow run."""

    def __init__(self, client: MlflowClient, run_id: str, experiment: str, work: WorkDir) -> None:
        self._client = client
        self._run_id = run_id
        self._experiment = experiment
        self._work = work
        self._rows: list[Metric] = []
        self._saved: dict[str, Checkpoint] = {}
        self._models: dict[str, str] = {}
        self._inputs: set[str] = set()
        self._evaluations: list[tuple[str, str]] = []
        self._notes: list[dict[str, object]] = []
        self._files = dict.fromkeys((work.results.name, work.summary.name))
        self._finished: RunFinished | None = None
        self._evidence = EvidenceLog()
        self._open_findings: frozenset[str] = frozenset()
        self._began = 0.0
        self._planned: dict[str, Setting] = {}
        self._time = 0.0

    def add(self, envelope: Envelope) -> list[Call]:
        """The calls that an event needs at once; metrics wait for ``flush``."""
        if isinstance(envelope.event, HardwareSampled):
            self._rows += _rows(sampled(envelope.event), envelope.time, envelope.event.step)
            return []
        self._time = envelope.time
        self._evidence.add(envelope.event)
        match envelope.event:
            case MetricsLogged() as event:
                self._rows += _rows(event.metrics, envelope.time, event.step)
            case CostsMeasured() as event:
                self._rows += _rows(taken(event), envelope.time, event.step)
            case Noted() as event:
                self._note(event.level, event.message)
            case RunFinished() as event:
                self._finished = event
            case event:
                return self._told(event)
        return []

    def _told(self, event: Event) -> list[Call]:
        match event:
            case RunStarted():
                self._finished = None
                return self._started(event)
            case FreezeReported():
                return self._frozen(event)
            case CheckpointSaved():
                return self._checkpoint(event)
            case CheckpointRemoved():
                return self._removed(event.path)
            case ExpertsObserved(report=report, final=final):
                name = names.FINAL_EXPERTS if final else names.experts_file(report.step)
                return [partial(self._put, name, report.model_dump_json())]
            case Evaluated():
                return self._evaluated(event.report)
            case Recovered():
                return self._recovered(event)
            case FileSaved(path=path):
                self._files[path] = None
            case Diagnosed(diagnosis=diagnosis):
                return self._diagnosed(diagnosis)
        return []

    def _note(self, level: str, message: str) -> None:
        self._notes.append({"time": self._time, "level": level, "message": message})

    def flush(self) -> list[Call]:
        """The calls that write the metrics and the evidence seen so far."""
        rows, self._rows = self._rows, []
        return [
            *(
                partial(
                    self._client.log_batch, self._run_id, metrics=rows[i : i + METRICS_PER_CALL]
                )
                for i in range(0, len(rows), METRICS_PER_CALL)
            ),
            *(partial(self._put, name, text) for name, text in self._evidence.flush()),
        ]

    def close(self) -> list[Call]:
        """The calls that end the run; after them it is complete."""
        finished = self._finished or UNFINISHED
        tags = {names.STATUS: finished.status, names.REASON: finished.reason}
        notes = json.dumps(self._notes, indent=2)
        return [
            *self.flush(),
            *([partial(self._put, "notes.json", notes)] if self._notes else []),
            partial(put_file, self._client, self._run_id, self._work.events),
            partial(put_file, self._client, self._run_id, self._work.hardware),
            partial(put_file, self._client, self._run_id, self._work.output),
            *(partial(self._put_file, path) for path in self._files),
            partial(self._tag, tags),
            partial(
                self._client.set_terminated,
                self._run_id,
                MLFLOW_STATUS[finished.status],
                milliseconds(self._time) or None,
            ),
        ]

    def _started(self, event: RunStarted) -> list[Call]:
        if not self._began:
            self._began, self._planned = self._time, planned(self._work.path)
            self._began_with(self._planned)
        tags = {
            names.EPOCHS: str(event.epochs),
            names.HEADLINE: event.headline,
            names.DATA_SHA: _data_sha(event.data),
        }
        specs = [spec.model_dump(mode="json") for spec in event.metrics]
        return [
            partial(self._tag, tags),
            partial(self._log_inputs, event.data),
            partial(self._put, "environment.json", json.dumps(event.environment, indent=2)),
            partial(self._put, "metrics.json", json.dumps(specs, indent=2)),
        ]

    def _log_inputs(self, data: Sequence[DatasetInput]) -> None:
        new = [d for d in data if f"{d.split}:{d.digest}" not in self._inputs]
        if new:
            self._client.log_inputs(self._run_id, datasets=[_dataset(d) for d in new])
        self._inputs |= {f"{d.split}:{d.digest}" for d in new}

    def _frozen(self, event: FreezeReported) -> list[Call]:
        tags = {
            "freeze.strategy": event.strategy,
            "freeze.trainable": str(sum(g.trainable for g in event.groups)),
            "freeze.frozen": str(sum(g.frozen + g.always_frozen for g in event.groups)),
        }
        if event.phase == "verified":
            tags["freeze.verified"] = str(not event.violations).lower()
        return [
            partial(self._put, f"freeze/{event.phase}.json", event.model_dump_json(indent=2)),
            partial(self._tag, tags),
        ]

    def _recovered(self, event: Recovered) -> list[Call]:
        """A note, the settings in force as tags, and their numbers as metrics."""
        message = f"attempt {event.attempt}: {event.cause}; goes on with {event.action}"
        self._note("warning", message)
        if event.attempt == 1:
            self._began_with({k: v for k, v in event.requested.items() if k not in self._planned})
        recoveries = {f"{names.HARDWARE}/recoveries": float(event.attempt)}
        self._rows += _rows(recoveries | in_force(event.effective), self._time, event.step or 0)
        tags = {f"{names.HARDWARE}.{key}": str(v) for key, v in event.effective.items()}
        return [partial(self._tag, {f"{names.HARDWARE}.recoveries": str(event.attempt), **tags})]

    def _began_with(self, settings: Mapping[str, Setting]) -> None:
        """The first points of curves that show how settings change."""
        self._rows += _rows(in_force(settings), self._began, 0)

    def _diagnosed(self, diagnosis: Diagnosis) -> list[Call]:
        """The newest diagnosis takes the place of the one before, with its tags."""
        found = {names.FINDING + finding.rule: finding.severity for finding in diagnosis.findings}
        gone = self._open_findings - found.keys()
        self._open_findings = frozenset(found)
        return [
            partial(self._put, names.DIAGNOSIS_FILE, diagnosis.model_dump_json(indent=2)),
            partial(self._tag, {names.DIAGNOSIS: diagnosis.verdict, **found}),
            *(partial(self._untag, name) for name in sorted(gone)),
        ]

    def _checkpoint(self, event: CheckpointSaved) -> list[Call]:
        checkpoint, time = event.checkpoint, self._time
        overwritten = self._removed(checkpoint.path)
        self._saved[checkpoint.path] = checkpoint
        calls: list[Call] = [
            *overwritten,
            partial(self._create_model, checkpoint),
            partial(self._log_bound, checkpoint.metrics, time, checkpoint),
            partial(self._finalize_model, checkpoint),
        ]
        if event.best:
            best = {names.BEST + key: value for key, value in checkpoint.metrics.items()}
            self._rows += _rows(best, time, checkpoint.step)
            calls.append(partial(self._tag_best, checkpoint))
        return calls

    def _create_model(self, checkpoint: Checkpoint) -> None:
        model = self._client.create_logged_model(
            self._experiment,
            name=f"{self._work.path.name}-epoch-{checkpoint.epoch}".replace(".", "-"),
            source_run_id=self._run_id,
            tags={
                names.KIND: names.CHECKPOINT,
                names.RUN: self._work.path.name,
                names.PATH: checkpoint.path,
                names.SHA256: checkpoint.sha256,
                names.STEP: str(checkpoint.step),
                names.EPOCH: str(checkpoint.epoch),
                names.EXTERNAL_MODEL: "true",
            },
        )
        self._models[checkpoint.path] = model.model_id

    def _log_bound(self, metrics: dict[str, float], time: float, checkpoint: Checkpoint) -> None:
        rows = _rows(metrics, time, checkpoint.step, self._models[checkpoint.path])
        if rows:
            self._client.log_batch(self._run_id, metrics=rows)

    def _finalize_model(self, checkpoint: Checkpoint) -> None:
        model_id = self._models[checkpoint.path]
        self._client.finalize_logged_model(model_id, "READY")
        output = LoggedModelOutput(model_id, step=checkpoint.step)
        self._client.log_outputs(self._run_id, models=[output])

    def _tag_best(self, checkpoint: Checkpoint) -> None:
        self._tag(
            {
                names.BEST_EPOCH: str(checkpoint.epoch),
                names.BEST_STEP: str(checkpoint.step),
                names.BEST_PATH: checkpoint.path,
                names.BEST_MODEL: self._models[checkpoint.path],
            }
        )

    def _removed(self, path: str) -> list[Call]:
        if path not in self._saved:
            return []
        del self._saved[path]
        return [partial(self._tag_removed, path)]

    def _tag_removed(self, path: str) -> None:
        self._client.set_logged_model_tags(self._models[path], {names.REMOVED: "true"})

    def _evaluated(self, report: EvalReport) -> list[Call]:
        place = self._evaluation_place(report)
        prefix = names.BEST + "".join(f"{part}/" for part in place)
        metrics = {
            names.metric_key(prefix + k): v for k, v in report.metrics.items() if v is not None
        }
        folder = "/".join(("evaluation", *place))
        calls: list[Call] = [
            partial(self._put, f"{folder}/report.json", report.model_dump_json(indent=2)),
            partial(self._put, f"{folder}/per_class.json", json.dumps(report.per_class, indent=2)),
        ]
        checkpoint = self._scored(report.checkpoint)
        if checkpoint:
            calls.append(partial(self._log_bound, metrics, self._time, checkpoint))
        else:  # weights that this run did not save: no model to bind the values to
            self._rows += _rows(metrics, self._time, 0)
        return calls

    def _evaluation_place(self, report: EvalReport) -> tuple[str, ...]:
        """Nothing for the first dataset and split; its folder and split for any further one."""
        seen = (report.data, report.split)
        if seen not in self._evaluations:
            self._evaluations.append(seen)
        first = self._evaluations[0] == seen
        return () if first else (slug(f"{Path(report.data).parent.name}-{report.split}"),)

    def _scored(self, name: str) -> Checkpoint | None:
        """The saved checkpoint that a report calls by its digest or its path."""
        for checkpoint in self._saved.values():
            if name in (
                checkpoint.sha256,
                checkpoint.path,
                str(self._work.path / checkpoint.path),
            ):
                return checkpoint
        return None

    def _put(self, name: str, text: str) -> None:
        put_text(self._client, self._run_id, name, text)

    def _put_file(self, path: str) -> None:
        """A file of the work directory, at the same place below the run's artifacts."""
        folder = Path(path).parent.as_posix()
        source = self._work.path / path
        put_file(self._client, self._run_id, source, None if folder == "." else folder)

    def _tag(self, tags: dict[str, str]) -> None:
        self._client.log_batch(self._run_id, tags=run_tags(tags))

    def _untag(self, name: str) -> None:
        if name in self._client.get_run(self._run_id).data.tags:
            self._client.delete_tag(self._run_id, name)


def milliseconds(seconds: float) -> int:
    """Unix time as MLflow counts it."""
    return round(seconds * 1000)


def run_tags(tags: dict[str, str]) -> list[RunTag]:
    """Tags as MLflow takes them; a very long value is cut."""
    return [RunTag(key, value[:TAG_LENGTH]) for key, value in tags.items()]


def param_batches(params: dict[str, str]) -> Iterable[list[Param]]:
    """Parameters in as many calls as MLflow needs."""
    rows = [Param(key, value) for key, value in params.items()]
    for i in range(0, len(rows), PARAMS_PER_CALL):
        yield rows[i : i + PARAMS_PER_CALL]


def _rows(
    metrics: dict[str, float], time: float, step: int, model_id: str | None = None
) -> list[Metric]:
    """Metric rows. What is bound to a model must be finite: there MLflow stores NaN as 0."""
    return [
        Metric(key, value, milliseconds(time), step, model_id=model_id)
        for key, value in metrics.items()
        if model_id is None or abs(value) < float("inf")
    ]


def _dataset(data: DatasetInput) -> LoggedDataset:
    dataset = Dataset(
        name=data.name,
        digest=data.digest[:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": data.path}),
        profile=data.model_dump_json(),
    )
    return LoggedDataset(dataset, [InputTag("mlflow.data.context", data.split)])


def _data_sha(data: Sequence[DatasetInput]) -> str:
    lines = sorted(f"{item.split}:{item.digest}" for item in data)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
