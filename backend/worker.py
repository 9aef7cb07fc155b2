"""Child side: config file in, events out.

Runs in its own process, one run per process; knows neither MLflow nor Optuna. The trainer
comes by name from ``run.json``, so that importing this module loads no training stack.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import connection, parent_process, set_start_method
from pathlib import Path
from typing import NoReturn, cast

from backend.analysis.diagnostics.actions import resolver, typed
from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.judging import Told, judged
from backend.analysis.diagnostics.live import FatalFindingError, Live
from backend.analysis.diagnostics.memory import Memory
from backend.catalog import CATALOG
from backend.config.compose import flatten, validate
from backend.config.schema import TrainConfig
from backend.core.diagnosis import Diagnosis
from backend.core.errors import AssayError, TrainingError
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Envelope,
    Event,
    MetricsLogged,
    RunFinished,
    best_saved,
)
from backend.core.records import EvalReport, Record
from backend.core.sinks import EventSink, JsonlSink, Tail
from backend.core.trainer import Emit, EvalRequest, Exporter, ExportReport, ExportRequest, Trainer
from backend.core.workdir import WorkDir, write_json
from backend.hardware.attempts import LeftToNextError
from backend.hardware.recovery import AGAIN
from backend.processes import TO_STOP

REQUESTS = "requests.json"
REPORTS = "reports.json"


class StopFile:
    """The StopSignal of a worker: the parent writes a file."""

    def __init__(self, work: WorkDir) -> None:
        self._work = work

    def reason(self) -> str | None:
        request = self._work.stop_request()
        return request.reason if request else None


class Emitter:
    """Stamps events with their place and time and hands them to a sink."""

    def __init__(self, sink: EventSink, earlier: Sequence[Envelope] = ()) -> None:
        self._sink = sink
        self._seq = earlier[-1].seq + 1 if earlier else 0
        self.silent = not earlier or isinstance(earlier[-1].event, RunFinished)
        """Has it said nothing since the run began, or since its last word?"""

    def __call__(self, event: Event) -> None:
        self._sink.receive(Envelope(seq=self._seq, time=time.time(), event=event))
        self._seq += 1
        self.silent = False


def fit(path: str) -> None:
    """Train what the work directory asks for; the last event tells how it ended.

    A run that ended before keeps its last word if it cannot be continued; a file says why.
    """
    work = WorkDir(Path(path))
    _enter(work)
    earlier = Tail(work.events).poll()
    sink = JsonlSink(work.events)
    emit = Emitter(sink, earlier)
    live = _live(work, emit, [envelope.event for envelope in earlier])
    try:
        finished = _fit(work, emit, live)
    except LeftToNextError:
        sink.close()
        _leave(AGAIN)
    if finished.refused and earlier:
        sink.close()
        write_json(work.refusal, finished.model_dump(mode="json"))
        _leave(0)
    finished = live.conclude(finished)
    emit(finished)
    sink.close()
    _leave(0 if finished.status != "failed" else 1)


def survey(path: str) -> None:
    """Let the trainer tell what its data is, and end before it trains."""
    work = WorkDir(Path(path))
    _enter(work)
    sink = JsonlSink(work.events)
    emit = Emitter(sink)
    emit(_fit(work, emit, Glance(emit)))
    sink.close()
    _leave(0)


class Glance:
    """Ends a training when it has told what its data is, or when it begins without."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def __call__(self, event: Event) -> None:
        trains = isinstance(event, MetricsLogged) and event.step > 0
        if trains or isinstance(event, CheckpointSaved):
            raise FatalFindingError("this trainer does not tell what its data is")
        self._emit(event)
        if isinstance(event, DataSurveyed):
            raise FatalFindingError("looked at the data only")

    def reason(self) -> str | None:
        """Nobody asks."""
        return None


def _fit(work: WorkDir, emit: Emitter, live: Live | Glance) -> RunFinished:
    try:
        outcome = load_trainer(work).fit(live, live)
    except FatalFindingError as error:
        return RunFinished(status="stopped", reason=str(error))
    except LeftToNextError:
        raise
    except AssayError as error:
        best = _best(work)
        left = f"; its best checkpoint is {best}" if best else ""
        reason, refused = f"{error}{left}", emit.silent
        return RunFinished(status="failed", reason=reason, best=best, refused=refused)
    except Exception as error:  # noqa: BLE001 (the last event must be written)
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        return RunFinished(status="failed", reason=reason, best=_best(work))
    request = work.stop_request()
    pruned = outcome.status == "stopped" and request is not None and request.status == "pruned"
    return RunFinished(
        status="pruned" if pruned else outcome.status,
        reason=outcome.reason,
        best=outcome.best or _best(work),  # stopped between two attempts, it knows none
    )


def _best(work: WorkDir) -> str | None:
    """What is left of a run that did not come to its end."""
    return best_saved(envelope.event for envelope in Tail(work.events).poll())


def _live(work: WorkDir, emit: Emitter, earlier: Sequence[Event]) -> Live:
    """The rules of the catalogue, with the run's own config."""
    config = work.read_config()
    flat = flatten(config)
    trainer = CATALOG.get(str(config.get("kind")))
    act = resolver(trainer.levers if trainer else {}, flat, typed(work.config))
    memory = Memory()

    def judge(events: Sequence[Event], broke: Told) -> Diagnosis:
        return judged(evidence_of(events, flat, memory=memory), act, broke=broke)

    limit = config.get("diagnostics", {}).get("stop", "stop")
    return Live(emit, StopFile(work), judge, limit, earlier)


def evaluate(path: str) -> None:
    """Score the checkpoints listed in ``requests.json``; write ``reports.json``."""
    _answer(path, lambda trainer, asked: _score(trainer, EvalRequest.model_validate(asked)))


def export(path: str) -> None:
    """Write the checkpoints of ``requests.json`` in other formats; write ``reports.json``."""

    def write(trainer: Trainer, asked: object) -> ExportReport:
        return cast(Exporter, trainer).export(ExportRequest.model_validate(asked))

    _answer(path, write)


def _answer(path: str, answer: Callable[[Trainer, object], Record]) -> None:
    """A report for each request, or the error that one of them met."""
    work = WorkDir(Path(path))
    _enter(work)
    requests = json.loads((work.path / REQUESTS).read_text(encoding="utf-8"))
    try:
        trainer = load_trainer(work)
        reports = [answer(trainer, request) for request in requests]
        told: dict[str, object] = {"reports": [r.model_dump(mode="json") for r in reports]}
    except AssayError as error:
        told = {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # noqa: BLE001 (the parent must be told)
        traceback.print_exc()
        told = {"error": f"{type(error).__name__}: {error}", "kind": TrainingError.__name__}
    write_json(work.path / REPORTS, told)
    _leave(0)


def _score(trainer: Trainer, request: EvalRequest) -> EvalReport:
    """The evaluation that is known already, or a new one."""
    if request.known:
        conditions = trainer.conditions(request)
        for report in request.known:
            if conditions.of(report):
                return report
    return trainer.evaluate(request)


def load_trainer(work: WorkDir) -> Trainer:
    """The trainer that ``run.json`` names, built from ``config.yaml``.

    Raises ConfigError for a config that somebody edited wrongly.
    """
    run = work.read_run()
    config_class, entry = resolve(run.config_class), resolve(run.trainer_entry)
    config = validate(cast(type[TrainConfig], config_class), work.read_config(), str(work.config))
    return cast(Callable[[object, Path], Trainer], entry)(config, work.path)


def resolve(name: str) -> object:
    """The object at ``module:attribute``. Raises TrainingError with what is missing."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise TrainingError(
            f"the trainer {name} cannot be imported ({error}); install the extra of its name, "
            "such as 'assay[yolo]'"
        ) from error


def _enter(work: WorkDir) -> None:
    """Own output file, deaf to Ctrl-C and to a cluster's signals, which the parent hears, and no
    life after the parent's."""
    log = os.open(work.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in TO_STOP:  # handled, not ignored: what this process starts does not inherit it
        signal.signal(number, lambda number, frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TO_STOP)
    if sys.platform == "linux":  # loaders' processes would else import the training stack anew
        set_start_method("fork", force=True)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a training stack's threads and atexit hooks have nothing left to do
