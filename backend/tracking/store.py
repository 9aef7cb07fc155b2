"""MLflow read back as records: the RunStore of the dashboard and the command line."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, cast

from backend.core.comparisons import Comparison
from backend.core.diagnosis import Diagnosis
from backend.core.errors import StoreError
from backend.core.events import Event
from backend.core.experts import ExpertReport
from backend.core.records import (
    Checkpoint,
    PromotionDecision,
    Record,
    Run,
    RunStatus,
    Series,
    StudyRecord,
)
from backend.tracking import names
from backend.tracking.curves import Curves, series_of
from backend.tracking.database import SCHEMA, revision
from backend.tracking.errors import store_errors
from backend.tracking.evidence import read_part
from backend.tracking.home import Home
from backend.tracking.names import Kind
from backend.tracking.rows import (
    NoRows,
    Rows,
    RunRow,
    VersionRow,
    local_file,
)
from backend.tracking.sqlite_rows import SqliteRows

Value = TypeVar("Value")
Source = TypeVar("Source")
AnyRecord = TypeVar("AnyRecord", bound=Record)

SERVER_SECONDS = 5.0
CACHED_POINTS = 2_000_000
CACHED_REPORTS = 500
ENDED: dict[str, RunStatus] = {"FINISHED": "finished", "KILLED": "stopped", "FAILED": "failed"}


class MlflowStore:
    """Answers from MLflow, and from memory while nothing has changed. Safe among threads."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._memory: dict[tuple[str, ...], tuple[str, object]] = {}
        self._curves = Curves(CACHED_POINTS)
        self._parsed = lru_cache(CACHED_REPORTS)(ExpertReport.model_validate_json)
        self._parts = lru_cache(CACHED_REPORTS)(read_part)

    def change_token(self) -> str:
        """Differs after each write to the database file; for a server, every few seconds."""
        database = self._home.database
        if database is None:
            return str(int(time.monotonic() / SERVER_SECONDS))
        return "/".join(_stamp(database.with_name(database.name + end)) for end in ("", "-wal"))

    def runs(self) -> list[Run]:
        return list(self._remembered(("runs",), self._read_runs))

    def run(self, key: str) -> Run:
        runs = self.runs()
        for matches in (
            [r for r in runs if r.key == key],
            [r for r in runs if key and r.key.startswith(key)],
            [r for r in runs if r.name == key],
            [r for r in runs if r.mlflow_run_id == key],
        ):
            if len(matches) == 1:
                return matches[0]
            if matches:
                raise StoreError(f"'{key}' may be any of {_some(matches)}; give the whole key")
        raise StoreError(f"{self._home}: no run '{key}'; there is: {_some(runs) or 'none yet'}")

    def metric_names(self, keys: Sequence[str]) -> list[str]:
        return sorted({name for run in self._chosen(keys) for name in run.metrics})

    def series(self, keys: Sequence[str], metrics: Sequence[str]) -> dict[tuple[str, str], Series]:
        found: dict[tuple[str, str], Series] = {}
        with self._rows() as rows:
            for run in self._chosen(keys):
                for metric in metrics:
                    if metric in run.metrics:
                        found[run.key, metric] = self._curve(rows, run, metric)
        return found

    def checkpoints(self, key: str) -> list[Checkpoint]:
        run = self.run(key)
        found = self._remembered(("checkpoints", run.key), lambda: self._read_checkpoints(run))
        return [c for c in found if Path(c.path).is_file()]

    def experts(self, key: str) -> list[ExpertReport]:
        run = self.run(key)
        return list(self._remembered(("experts", run.key), lambda: self._read_experts(run)))

    def diagnosis(self, key: str) -> Diagnosis | None:
        run = self.run(key)
        return self._remembered(("diagnosis", run.key), lambda: self._read_diagnosis(run))

    def evidence(self, key: str) -> tuple[Event, ...]:
        run = self.run(key)
        return self._remembered(("evidence", run.key), lambda: self._read_evidence(run))

    def studies(self) -> list[StudyRecord]:
        return list(self._results("study", names.STUDY_FILE, StudyRecord))

    def comparisons(self) -> list[Comparison]:
        return list(self._results("comparison", names.COMPARISON_FILE, Comparison))

    def promotions(self, model: str | None = None) -> list[PromotionDecision]:
        decisions = self._results("decision", names.DECISION_FILE, PromotionDecision)
        return [d for d in decisions if model in (None, d.model)]

    def champions(self) -> dict[str, Checkpoint]:
        return dict(self._remembered(("champions",), self._read_champions))

    @contextmanager
    def _rows(self) -> Iterator[Rows]:
        """The quickest way to read this home as it is now. Raises StoreError."""
        database = self._home.database
        with store_errors(self._home):
            if database is not None and not database.exists():
                yield NoRows()
                return
            if database is not None:
                with closing(_open(database)) as connection:
                    if revision(connection) == SCHEMA:
                        yield SqliteRows(connection, self._home.artifacts)
                        return
            from backend.tracking.client_rows import ClientRows  # noqa: PLC0415 (MLflow is slow)

            yield ClientRows(self._home)

    def _remembered(self, what: tuple[str, ...], read: Callable[[], Value]) -> Value:
        token = self.change_token()
        with self._lock:
            known, value = self._memory.get(what, ("", None))
        if known != token:
            value = read()
            with self._lock:
                self._memory[what] = (token, value)
        return cast(Value, value)

    def _read_runs(self) -> list[Run]:
        trainings = self._remembered(("trainings",), self._read_trainings)
        runs = [self._run(key, row) for key, row in trainings.items()]
        return sorted(runs, key=lambda run: (-run.started, run.key))

    def _read_trainings(self) -> dict[str, RunRow]:
        """By run key."""
        with self._rows() as rows:
            found = rows.runs("training")
        # while a run is being replaced, the complete one counts
        found.sort(key=lambda row: names.REPLACES in row.tags)
        unique: dict[str, RunRow] = {}
        for row in found:
            unique.setdefault(row.tags.get(names.RUN, row.run_id), row)
        return unique

    def _run(self, key: str, row: RunRow) -> Run:
        tags = {k: v for k, v in row.tags.items() if not k.startswith("mlflow.")}
        own = self._home.work_dir(key)
        metrics = {k: v for k, v in row.metrics.items() if not k.startswith(names.BEST)}
        best = {k: v for k, v in row.metrics.items() if k.startswith(names.BEST)}
        return Run(
            key=key,
            mlflow_run_id=row.run_id,
            name=row.name or key,
            trainer=tags.get(names.TRAINER, ""),
            status=_status(row),
            started=row.started / 1000,
            ended=None if row.ended is None else row.ended / 1000,
            study=tags.get(names.STUDY, ""),
            trial=_integer(tags.get(names.TRIAL)),
            params=dict(row.params),
            metrics=metrics,
            best={k.removeprefix(names.BEST): v for k, v in best.items()},
            best_epoch=_integer(tags.get(names.BEST_EPOCH)),
            epochs=_integer(tags.get(names.EPOCHS)),
            headline=tags.get(names.HEADLINE, ""),
            reason=tags.get(names.REASON, ""),
            tags=tags,
            work_dir=str(own) if own.is_dir() else tags.get(names.WORK_DIR, str(own)),
        )

    def _chosen(self, keys: Sequence[str]) -> list[Run]:
        by_key = {run.key: run for run in self.runs()}
        return [by_key[key] for key in dict.fromkeys(keys) if key in by_key]

    def _curve(self, rows: Rows, run: Run, metric: str) -> Series:
        if run.status == "running":
            return _series(rows, run, metric)
        name = (run.mlflow_run_id, metric)
        with self._lock:
            known = self._curves.get(name)
        if known is None:
            known = _series(rows, run, metric)
            with self._lock:
                self._curves.keep(name, known)
        return known

    def _read_checkpoints(self, run: Run) -> list[Checkpoint]:
        with self._rows() as rows:
            models = rows.models(run.mlflow_run_id)
        found = [
            Checkpoint(
                path=str(Path(run.work_dir) / model.tags[names.PATH]),
                sha256=model.tags[names.SHA256],
                step=int(model.tags[names.STEP]),
                epoch=int(model.tags[names.EPOCH]),
                run=run.key,
                metrics={k: v for k, v in model.metrics.items() if not k.startswith(names.BEST)},
                model_id=model.model_id,
            )
            for model in models
            if names.REMOVED not in model.tags
        ]
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def _read_experts(self, run: Run) -> list[ExpertReport]:
        files = self._files(run, names.EXPERTS_FOLDER)
        last = Path(names.FINAL_EXPERTS).name
        in_order = sorted(files, key=lambda name: (name == last, name))
        folder = names.EXPERTS_FOLDER
        return [_whole(run, f"{folder}/{n}", self._parsed, files[n]) for n in in_order]

    def _read_diagnosis(self, run: Run) -> Diagnosis | None:
        row = self._row(run)
        return None if row is None else _whole(run, names.DIAGNOSIS_FILE, self._diagnosis_in, row)

    def _diagnosis_in(self, row: RunRow) -> Diagnosis | None:
        with self._rows() as rows:
            text = rows.text(row, names.DIAGNOSIS_FILE)
        return None if text is None else Diagnosis.model_validate_json(text)

    def _read_evidence(self, run: Run) -> tuple[Event, ...]:
        files = self._files(run, names.EVIDENCE_FOLDER)
        folder = names.EVIDENCE_FOLDER
        parts = [_whole(run, f"{folder}/{n}", self._parts, files[n]) for n in sorted(files)]
        return tuple(event for part in parts for event in part)

    def _files(self, run: Run, folder: str) -> dict[str, bytes]:
        """The artifacts in a folder of a run by name; none of a run deleted a moment ago."""
        row = self._row(run)
        if row is None:
            return {}
        with self._rows() as rows:
            return rows.files(row, folder)

    def _row(self, run: Run) -> RunRow | None:
        return self._remembered(("trainings",), self._read_trainings).get(run.key)

    def _results(self, kind: Kind, file: str, record: type[AnyRecord]) -> list[AnyRecord]:
        def read() -> list[AnyRecord]:
            with self._rows() as rows:
                found = [_result(rows, row, file, record) for row in rows.runs(kind)]
            return [one for one in found if one is not None]

        return self._remembered((kind,), read)

    def _read_champions(self) -> dict[str, Checkpoint]:
        with self._rows() as rows:
            found = rows.aliased(names.CHAMPION)
        return {
            row.model: served_checkpoint(self._home, row)
            for row in found
            if names.CHECKPOINT in row.tags
        }


def served_checkpoint(home: Home, version: VersionRow) -> Checkpoint:
    """The checkpoint in a registered version: its own copy if that is on this machine."""
    checkpoint = Checkpoint.model_validate_json(version.tags[names.CHECKPOINT])
    name = f"artifacts/{names.CHECKPOINT}/{Path(checkpoint.path).name}"
    copy = local_file(version.source, home.artifacts, name)
    return checkpoint.model_copy(update={"path": str(copy)}) if copy else checkpoint


def _series(rows: Rows, run: Run, metric: str) -> Series:
    return series_of(rows.history(run.mlflow_run_id, metric), names.in_time(metric))


def _open(database: Path) -> sqlite3.Connection:
    """A connection that only reads, also from a folder that cannot be written."""
    uri = f"{database.as_uri()}?mode=ro"
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=20)
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError as error:
        if "unable to open" not in str(error) and "readonly" not in str(error):
            raise
        connection = sqlite3.connect(f"{uri}&immutable=1", uri=True)
    return connection


def _stamp(path: Path) -> str:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return "-"
    return f"{stat.st_mtime_ns}.{stat.st_size}"


def _status(row: RunRow) -> RunStatus:
    if row.status not in ENDED:
        return "running"
    return cast(RunStatus, row.tags.get(names.STATUS, ENDED[row.status]))


def _result(rows: Rows, row: RunRow, file: str, record: type[AnyRecord]) -> AnyRecord | None:
    """The record of a run; None before it is there as a whole (studies change while they run)."""
    if record is not StudyRecord and row.status != "FINISHED":
        return None
    try:
        text = rows.text(row, file)
        return None if text is None else record.model_validate_json(text)
    except ValueError as error:
        raise StoreError(
            f"{file} of MLflow run {row.run_id} ({row.name}): damaged, or written by another "
            "version of Assay; restore it, or delete this run in MLflow"
        ) from error


def _whole(run: Run, file: str, parse: Callable[[Source], Value], source: Source) -> Value:
    """What a run's artifact says. Raises StoreError that names the way to restore it."""
    try:
        return parse(source)
    except ValueError as error:
        raise StoreError(
            f"{file} of MLflow run {run.mlflow_run_id} ({run.name}): damaged, or written by "
            "another version of Assay; the work directory has it whole: assay replay "
            f"{run.work_dir}"
        ) from error


def _integer(text: str | None) -> int | None:
    return int(text) if text else None


def _some(runs: list[Run], limit: int = 5) -> str:
    shown = ", ".join(run.key for run in runs[:limit])
    return shown + (f" and {len(runs) - limit} more" if len(runs) > limit else "")
