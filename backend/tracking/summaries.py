"""MLflow runs that hold a result: a study (its trials' parent), a comparison, a decision."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from backend.core.comparisons import Comparison, DataComparison, RecipeComparison
from backend.core.records import PromotionDecision, StudyRecord
from backend.tracking import names
from backend.tracking.artifacts import put_file, put_text
from backend.tracking.client import connect, experiment_id, find_runs
from backend.tracking.errors import store_errors
from backend.tracking.home import Home
from backend.tracking.names import Kind
from backend.tracking.projection import milliseconds, run_tags

EXPERIMENT = "assay"
NOTE = "mlflow.note.content"


def start_study(home: Home, name: str, description: str = "", experiment: str = EXPERIMENT) -> str:
    """The MLflow run that is the parent of a study's trials, made if it is new; its id."""
    client = connect(home)
    with store_errors(home):
        found = find_runs(client, "study", **{names.STUDY: name})
        if found:
            return found[0]
        tags = {names.KIND: "study", names.STUDY: name, NOTE: description}
        parent = experiment_id(home, client, experiment)
        return str(client.create_run(parent, tags=tags, run_name=name).info.run_id)


def log_study(home: Home, record: StudyRecord, experiment: str = EXPERIMENT) -> str:
    """Write a study as it stands; the last writing counts. Returns its MLflow run's id."""
    run_id = start_study(home, record.name, record.description, experiment)
    counted = [t for t in record.trials if t.state in ("complete", "pruned")]
    tags = {
        "metric": ", ".join(aim.metric for aim in record.aims),
        "direction": ", ".join(aim.direction for aim in record.aims),
        "target": str(record.target),
        "trials": str(len(counted)),
        "best.trial": "" if record.best is None else str(record.best),
        **({"front.trials": ", ".join(map(str, record.front))} if record.objectives else {}),
        NOTE: record.description,
        names.UPDATED: str(time.time_ns()),
    }
    now = milliseconds(time.time())
    rows = [Metric(key, best, now, len(record.trials)) for key, best in _best_values(record)]
    client = connect(home)
    with store_errors(home):
        put_text(client, run_id, names.STUDY_FILE, record.model_dump_json(indent=2))
        client.log_batch(run_id, metrics=rows, tags=run_tags(tags))
        if len(counted) >= record.target:
            client.set_terminated(run_id, "FINISHED")
        else:
            client.update_run(run_id, status="RUNNING")
    return run_id


def _best_values(record: StudyRecord) -> list[tuple[str, float]]:
    """The best value; of several objectives that of each, by itself, and the front's size."""
    if not record.objectives:
        values = [t.value for t in record.trials if t.number == record.best]
        return [("study/best", value) for value in values if value is not None]
    on_front = [trial.values for trial in record.trials if trial.number in record.front]
    if not on_front:
        return []
    best = [
        (
            names.metric_key(f"study/best/{aim.metric}"),
            (max if aim.direction == "maximize" else min)(values),
        )
        for aim, values in zip(record.aims, zip(*on_front, strict=True), strict=True)
    ]
    return [*best, ("study/front", float(len(on_front)))]


def log_comparison(home: Home, comparison: Comparison, reports: Mapping[str, str]) -> str:
    """Write a comparison once, as JSON and as readable reports by the names of their files.

    Returns its MLflow run's id.
    """
    headline = comparison.headline
    baseline, candidate = comparison.baseline, comparison.candidate
    result = _Result(
        kind="comparison",
        identity=names.COMPARISON,
        key=comparison.key,
        name=f"{candidate.label} against {baseline.label}",
        created=comparison.created,
        tags={
            "baseline": baseline.checkpoint.run,
            "candidate": candidate.checkpoint.run,
            "baseline.sha256": baseline.checkpoint.sha256,
            "candidate.sha256": candidate.checkpoint.sha256,
            "primary": comparison.primary,
            "verdict": headline.verdict,
        },
        metrics=_deltas("delta", comparison.target)
        | (_deltas("forgetting", comparison.source) if comparison.source else {}),
        files={
            names.COMPARISON_FILE: comparison.model_dump_json(indent=2),
            **reports,
        },
        copies=_copies(comparison),
    )
    return result.log(home)


def log_recipes(home: Home, key: str, created: float, found: RecipeComparison) -> str:
    """Write a comparison of two recipes once. Returns its MLflow run's id."""
    result = _Result(
        kind="recipes",
        identity=names.RECIPES,
        key=key,
        name=f"recipes: {len(found.candidate.values)} against {len(found.baseline.values)} seeds",
        created=created,
        tags={"primary": found.metric, "verdict": found.verdict},
        metrics={f"delta/{found.metric}": found.delta, "improvement": found.improvement},
        files={names.RECIPES_FILE: found.model_dump_json(indent=2)},
    )
    return result.log(home)


def _copies(comparison: Comparison) -> dict[str, list[Path]]:
    """The evidence of both sides and the drawn units, by artifact folder."""
    data = [item for item in (comparison.target, comparison.source) if item]
    found = {"gallery": [Path(picture.path) for item in data for picture in item.pictures]}
    for item in data:
        sides = (("baseline", item.baseline_report), ("candidate", item.candidate_report))
        for side, report in sides:
            found[f"evidence/{item.role}-{side}"] = [Path(report.evidence)]
    return found


def log_decision(home: Home, decision: PromotionDecision) -> str:
    """Write a decision of the gate once. Returns its MLflow run's id."""
    result = _Result(
        kind="decision",
        identity=names.DECISION,
        key=decision.key,
        name=f"{decision.model}: {_outcome(decision)}",
        created=decision.created,
        tags={
            names.MODEL: decision.model,
            "promote": str(decision.promote).lower(),
            "forced": str(decision.forced).lower(),
            "evidence": decision.evidence,
            "version": decision.version,
            names.SHA256: decision.checkpoint.sha256,
            names.BY: decision.by,
            "because": decision.because,
            NOTE: "\n".join(decision.reasons),
        },
        files={names.DECISION_FILE: decision.model_dump_json(indent=2)},
    )
    return result.log(home)


def _outcome(decision: PromotionDecision) -> str:
    if decision.forced:
        return "promoted by force"
    return "promoted" if decision.promote else "refused"


def _deltas(prefix: str, data: DataComparison) -> dict[str, float]:
    values = {}
    for metric in data.metrics:
        for suffix, value in (("", metric.delta), ("_low", metric.low), ("_high", metric.high)):
            if value is not None:
                values[f"{prefix}{suffix}/{metric.name}"] = value
    return values


@dataclass(frozen=True)
class _Result:
    """A run that is written in one go and never changed."""

    kind: Kind
    identity: str
    key: str
    name: str
    created: float
    tags: Mapping[str, str]
    files: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    copies: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def log(self, home: Home) -> str:
        """Write it, unless it is there; a run that cannot be completed is deleted again."""
        client = connect(home)
        with store_errors(home):
            found = find_runs(client, self.kind, **{self.identity: self.key})
            if found:
                return found[0]
            run = client.create_run(
                experiment_id(home, client, EXPERIMENT),
                start_time=milliseconds(self.created),
                tags={names.KIND: self.kind, self.identity: self.key, **self.tags},
                run_name=self.name,
            )
            run_id = str(run.info.run_id)
            try:
                self._fill(client, run_id)
            except Exception:
                client.delete_run(run_id)
                raise
            return run_id

    def _fill(self, client: MlflowClient, run_id: str) -> None:
        put = partial(put_text, client, run_id)
        for name, text in self.files.items():
            put(name, text)
        for folder, paths in self.copies.items():
            for path in paths:
                put_file(client, run_id, path, folder)
        time_ms = milliseconds(self.created)
        client.log_batch(
            run_id,
            metrics=[
                Metric(names.metric_key(key), value, time_ms, 0)
                for key, value in self.metrics.items()
            ],
        )
        client.set_terminated(run_id, "FINISHED", time_ms)
