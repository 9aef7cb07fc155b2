"""Writes what happened to MLflow: a training's events, a study, a comparison, a decision."""

import queue
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mlflow.tracking import MlflowClient

from backend.config.compose import flatten
from backend.core.digest import sha256
from backend.core.errors import StoreError
from backend.core.events import Envelope, HardwareSampled
from backend.core.sinks import Tail
from backend.core.workdir import RunFile, WorkDir
from backend.tracking import names
from backend.tracking.artifacts import put_file
from backend.tracking.client import connect, discard_run, experiment_id, find_runs
from backend.tracking.errors import is_temporary, sentence, store_errors
from backend.tracking.home import Home
from backend.tracking.projection import (
    METRICS_PER_CALL,
    Call,
    Projection,
    milliseconds,
    param_batches,
)
from backend.tracking.summaries import (
    log_comparison,
    log_decision,
    log_recipes,
    log_study,
    start_study,
)

__all__ = [
    "MlflowSink",
    "log_comparison",
    "log_decision",
    "log_recipes",
    "log_study",
    "start_study",
]

FLUSH_SECONDS = 0.5
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 15.0


class MlflowSink:
    """Projects the run of a work directory to MLflow, on a thread of its own.

    It must see the run from its first event. If the run is in MLflow already (it is resumed or
    replayed), the new MLflow run takes the place of the old one once it has caught up. Calls
    that fail are repeated as long as the training lasts and for ``patience`` seconds after it;
    then ``close`` raises StoreError, and nothing is lost that ``assay replay`` cannot restore.
    """

    def __init__(self, home: Home, work_dir: Path, patience: float = 30.0) -> None:
        self._home = home
        self._work = WorkDir(work_dir)
        self._patience = patience
        self._past = max((e.seq for e in Tail(self._work.events).poll()), default=-1)
        self._client = connect(home)
        with store_errors(home):
            self._old, self._run_id, experiment = _open(home, self._client, self._work)
        self._projection = Projection(self._client, self._run_id, experiment, self._work)
        self._queue: queue.SimpleQueue[Envelope | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)
        self._thread.start()

    def receive(self, envelope: Envelope) -> None:
        """Take an event; never waits for MLflow."""
        self._queue.put(envelope)

    def close(self) -> None:
        """Write what is left. Raises StoreError that names the way to restore the rest."""
        self._deadline = time.monotonic() + self._patience
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise StoreError(
                f"{sentence(self._error, self._home)}; the training itself is safe, and this "
                f"logs it again: assay replay {self._work.path}"
            ) from self._error

    def _write(self) -> None:
        try:
            while batch := self._next_batch():
                for envelope in batch:
                    self._attempt(self._projection.add(envelope))
                self._attempt(self._projection.flush())
                if any(self._is_new(envelope) for envelope in batch):
                    self._attempt(self._replace_old())
            self._attempt(self._projection.close())
            self._attempt(self._replace_old())
        except Exception as error:  # noqa: BLE001 (raised by close)
            self._error = error

    def _is_new(self, envelope: Envelope) -> bool:
        """Did the worker tell it after all that it had told before? Samples have no say."""
        return envelope.seq > self._past and not isinstance(envelope.event, HardwareSampled)

    def _next_batch(self) -> list[Envelope]:
        """What arrives within FLUSH_SECONDS of the next event; nothing after the last one."""
        first = self._queue.get()
        if first is None:
            return []
        batch, until = [first], time.monotonic() + FLUSH_SECONDS
        while len(batch) < METRICS_PER_CALL and (left := until - time.monotonic()) > 0:
            try:
                envelope = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if envelope is None:
                self._queue.put(None)
                break
            batch.append(envelope)
        return batch

    def _attempt(self, calls: Sequence[Call]) -> None:
        for call in calls:
            delay = FIRST_DELAY_SECONDS
            while not self._succeeds(call):
                if self._closing.is_set():
                    time.sleep(delay)
                else:
                    self._closing.wait(delay)
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)

    def _succeeds(self, call: Call) -> bool:
        try:
            call()
        except Exception as error:
            if not is_temporary(error) or time.monotonic() > self._deadline:
                raise
            return False
        return True

    def _replace_old(self) -> list[Call]:
        old, self._old = self._old, []
        calls: list[Call] = [partial(discard_run, self._client, run) for run in old]
        if old:
            calls.append(partial(self._client.delete_tag, self._run_id, names.REPLACES))
        return calls


def _open(home: Home, client: MlflowClient, work: WorkDir) -> tuple[list[str], str, str]:
    """Create the run with its parameters and config.

    Returns the ids of the runs that it replaces, its own, and its experiment's. Raises
    StoreError if the folder is not a work directory, or what MLflow raises; then no run is left.
    """
    run = work.read_run()
    params = flatten(work.read_config())
    name = params.get("experiment") or "assay"
    experiment = experiment_id(home, client, name)
    old = find_runs(client, "training", **{names.RUN: run.key})
    tags = _tags(run, work, params)
    if run.parent:
        tags[names.PARENT_RUN] = start_study(home, run.parent, experiment=name)
    if old:
        tags[names.REPLACES] = "true"
    created = client.create_run(
        experiment, start_time=milliseconds(run.created), tags=tags, run_name=run.name or run.key
    )
    run_id = str(created.info.run_id)
    try:
        for batch in param_batches(params):
            client.log_batch(run_id, params=batch)
        put_file(client, run_id, work.config)
    except Exception:
        client.delete_run(run_id)
        raise
    return old, run_id, experiment


def _tags(run: RunFile, work: WorkDir, params: dict[str, str]) -> dict[str, str]:
    tags = {
        **run.tags,
        names.KIND: "training",
        names.RUN: run.key,
        names.TRAINER: run.trainer,
        names.WORK_DIR: str(work.path),
        "config_sha": run.tags.get("config_sha") or sha256(work.config),
    }
    if run.parent:
        tags.setdefault(names.STUDY, run.parent)
    if strategy := params.get("freeze.strategy"):
        tags["freeze.strategy"] = strategy
    if commit := run.tags.get("git_sha"):
        tags[names.GIT_COMMIT] = commit
    return tags
