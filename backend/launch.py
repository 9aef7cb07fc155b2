"""Parent side of a training: work directory, process, events to sinks, and the end of it."""

import contextlib
import importlib
import json
import multiprocessing
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from backend.catalog import CATALOG, Catalog, spec_of
from backend.config.schema import TrainConfig
from backend.core import errors
from backend.core.errors import AssayError, BusyError, StoreError, TrainingError
from backend.core.events import Envelope, Event, RunFinished, best_saved
from backend.core.exporting import check_request, require_packages
from backend.core.records import EvalReport
from backend.core.sinks import EventSink, Fanout, JsonlSink, Tail
from backend.core.trainer import EvalRequest, ExportReport, ExportRequest, TrainerSpec
from backend.core.workdir import RunFile, WorkDir, write_atomic, write_json
from backend.hardware.recovery import AGAIN, Death, note_death
from backend.hardware.sampling import Story, sampler_of
from backend.hardware.witness import Witness, heard
from backend.keeping import keepers, restore
from backend.tracking.home import Home

POLL_SECONDS = 0.05


class Workers:
    """Starts one process per run from a server process that has loaded the training stack.

    The server starts with the first run; each further run costs no new import. Where the
    system has no forkserver, each run is a fresh process.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        methods = multiprocessing.get_all_start_methods()
        method = "forkserver" if "forkserver" in methods else "spawn"
        self._context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self._context.set_forkserver_preload(["backend.worker", *preload])

    def start(self, target: str, work: Path) -> BaseProcess:
        """Start ``backend.worker``'s function ``target`` on a work directory."""
        process: BaseProcess = self._context.Process(
            target=_call, args=(f"backend.worker:{target}", str(work))
        )
        process.start()
        return process


def _call(target: str, argument: str) -> None:
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(argument)


def spec_for(config: TrainConfig, catalog: Catalog = CATALOG) -> TrainerSpec:
    """The catalog's entry for a config."""
    return spec_of(config.kind, "config", catalog)


def prepare(
    home: Home,
    config: TrainConfig,
    spec: TrainerSpec,
    *,
    tags: Mapping[str, str] | None = None,
    parent: str = "",
) -> WorkDir:
    """Make the work directory of a new run: who it is, and its resolved config.

    ``parent`` is the name of the study that the run belongs to. Raises ConfigError if packages
    are missing that the config's exports will need.
    """
    require_packages(spec.exports, getattr(config, "export", ()))
    home.prepare()
    work = WorkDir(home.work_dir(home.new_key(spec.kind)))
    _describe(work, config, spec, tags, parent)
    return work


def _describe(
    work: WorkDir,
    config: TrainConfig,
    spec: TrainerSpec,
    tags: Mapping[str, str] | None = None,
    parent: str = "",
) -> None:
    """Write what a worker needs: the resolved config, and whose it is."""
    try:
        work.path.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{work.path}: cannot be made ({error.strerror})") from error
    write_atomic(work.config, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    run = RunFile(
        key=work.path.name,
        name=config.name or work.path.name,
        trainer=spec.kind,
        trainer_entry=spec.entry,
        config_class=f"{spec.config.__module__}:{spec.config.__qualname__}",
        created=time.time(),
        tags=dict(tags or {}),
        parent=parent,
    )
    write_json(work.run, run.model_dump(mode="json"))


def supervise(
    work: WorkDir,
    sinks: Callable[[], Sequence[EventSink]],
    workers: Workers,
    system: Path = Path("/"),
) -> RunFinished:
    """Run a prepared work directory to its end, handing each event to the sinks.

    Events of an earlier attempt in the same directory come first, so that sinks always see the
    whole run. The first Ctrl-C asks the training to stop after its next validation, the second
    ends it. A worker that dies without its last event is started again if memory ended it and
    the config wants that, and gets its last event here if not. Of a run whose input is refused
    before it starts, nothing is left. ``system`` is where the system's own files are. Raises
    TrainingError if the run is finished.
    """
    with work.hold():
        earlier = Tail(work.events).poll()
        _refuse_finished(work, earlier)
        work.stop.unlink(missing_ok=True)
        story = Story(work, sampler_of(work, system), earlier)
        attempt = Attempt(work, workers, system)
        try:
            fanout = Fanout(sinks())
        except BaseException:
            attempt.kill()
            raise
        finished = _pump(work, attempt, fanout, story)
    if finished.refused:
        shutil.rmtree(work.path)
    return finished


def _refuse_finished(work: WorkDir, events: Sequence[Envelope]) -> None:
    last = events[-1].event if events else None
    if isinstance(last, RunFinished) and last.status == "finished":
        raise TrainingError(
            f"run {work.path.name} is finished; to train further, start a new run from its "
            f"checkpoint {work.path / str(last.best)}"
        )


class Attempt:
    """A worker at its training, and the one after it if memory ends it."""

    def __init__(self, work: WorkDir, workers: Workers, system: Path) -> None:
        self._work = work
        self._workers = workers
        self._system = system
        self._start()

    def _start(self) -> None:
        self._told = len(Tail(self._work.events).poll())
        self._witness = Witness(self._work.output, self._system)
        self.process = self._workers.start("fit", self._work.path)

    def alive(self) -> bool:
        """Waits a moment for its end."""
        self._witness.look(self.process.pid)
        return not connection.wait([self.process.sentinel], timeout=POLL_SECONDS)

    def again(self) -> bool:
        """Start another one, if memory ended this one and the run may step down."""
        exitcode = self.process.exitcode
        if not exitcode or self._work.stop.exists() or not _recovers(self._work):
            return False
        if exitcode != AGAIN and not self._died_of_memory(exitcode):
            return False
        self._start()
        return True

    def _died_of_memory(self, exitcode: int) -> bool:
        """Then it is noted, once, for the next one to step down."""
        shortage = self._witness.verdict(exitcode)
        if shortage is None:
            return False
        said = Tail(self._work.events).poll()[self._told :]
        phase, step = heard(envelope.event for envelope in said)
        return note_death(self._work.path, Death(shortage=shortage, phase=phase, step=step))

    def kill(self) -> None:
        """End it now."""
        self.process.kill()
        self.process.join()


def _recovers(work: WorkDir) -> bool:
    """Does the run's trainer step down when memory runs out, and may it?"""
    config = yaml.safe_load(work.config.read_text(encoding="utf-8"))
    return bool(config.get("hardware", {}).get("recover", False))


def _pump(work: WorkDir, attempt: Attempt, fanout: Fanout, story: Story) -> RunFinished:
    try:
        story.begin(lambda: attempt.process.pid)
        alive = True
        while alive:
            try:
                alive = attempt.alive()
                for envelope in story.poll():
                    fanout.receive(envelope)
            except KeyboardInterrupt:
                if work.stop.exists():
                    attempt.process.kill()
                work.request_stop("stopped", "stopped by the user (Ctrl-C)")
            if not alive:
                attempt.process.join()
                alive = story.finished is None and attempt.again()
        if story.finished is None:
            _close(work, attempt.process.exitcode)
            for envelope in story.poll():
                fanout.receive(envelope)
    except BaseException:
        attempt.kill()
        with contextlib.suppress(OSError):
            _close(work, attempt.process.exitcode)
        raise
    finally:
        story.close()
        fanout.close()
    assert story.finished is not None
    return story.finished


def _close(work: WorkDir, exitcode: int | None) -> None:
    """Write the last event of a worker that could not."""
    sink = JsonlSink(work.events)
    earlier = Tail(work.events).poll()
    event = RunFinished(
        status="failed",
        reason=_obituary(work, exitcode),
        best=best_saved(envelope.event for envelope in earlier),
        interrupted=exitcode != 1,
    )
    envelope = Envelope(seq=len(earlier), time=time.time(), event=event)
    sink.receive(envelope)
    sink.close()


def _obituary(work: WorkDir, exitcode: int | None) -> str:
    if exitcode is None:
        how = "its supervisor went away"
    elif exitcode < 0:
        how = f"killed by {signal.Signals(-exitcode).name}"
    else:
        how = f"exit code {exitcode}"
    complaint = work.last_complaint()
    return f"the training process ended without a word ({how})" + (
        f"; its output ends with: {complaint}" if complaint else ""
    )


def interrupted(home: Home) -> list[WorkDir]:
    """Runs that never finished and that nobody supervises."""
    found = []
    for run in sorted(home.work.glob("*/run.json")):
        work = WorkDir(run.parent)
        if work.events.exists() and not work.held() and _unfinished(work):
            found.append(work)
    return found


def reap(home: Home) -> list[str]:
    """Give each interrupted run its last event and its place in MLflow; return their keys."""
    keys = []
    for work in interrupted(home):
        with contextlib.suppress(BusyError), work.hold():
            if _unfinished(work):  # another process may have been here first
                _close(work, None)
                restore(home, work, ours=True)
                keys.append(work.path.name)
    return keys


def _unfinished(work: WorkDir) -> bool:
    """Did it never say its last word? A log that cannot be read is nobody's to close."""
    try:
        events = Tail(work.events).poll()
    except StoreError:
        return False
    return not events or not isinstance(events[-1].event, RunFinished)


def run(
    home: Home, work: WorkDir, workers: Workers, readers: Sequence[EventSink] = ()
) -> RunFinished:
    """Train a prepared work directory, kept in files and MLflow and told to further ``readers``.

    A directory whose run was interrupted or stopped is continued from its last checkpoint.
    """
    return supervise(work, lambda: [*readers, *keepers(home, work)], workers)


def evaluate(
    config: TrainConfig,
    requests: Sequence[EvalRequest],
    folder: Path,
    workers: Workers,
    catalog: Catalog = CATALOG,
) -> list[EvalReport]:
    """Score checkpoints in one process by one config; files stay in ``folder``.

    Raises what the trainer raised (DataError, CheckpointError ...) and leaves nothing, or
    TrainingError if the process died.
    """
    answers = _asked("evaluate", requests, (config, folder, workers, catalog))
    return [EvalReport.model_validate(answer) for answer in answers]


def export(
    config: TrainConfig,
    request: ExportRequest,
    folder: Path,
    workers: Workers,
    catalog: Catalog = CATALOG,
) -> ExportReport:
    """Write a checkpoint in another format, in one process; its log stays in ``folder``.

    Raises as ``evaluate`` does, and ConfigError, before anything is started, for a format that
    the trainer has not and for missing packages.
    """
    spec = spec_for(config, catalog)
    check_request(request, spec.kind, {s.kind: s.exports for s in catalog.values()})
    (answer,) = _asked("export", [request], (config, folder, workers, catalog))
    return ExportReport.model_validate(answer)


def _asked(
    target: str,
    requests: Sequence[EvalRequest | ExportRequest],
    by: tuple[TrainConfig, Path, Workers, Catalog],
) -> list[object]:
    """What ``backend.worker``'s function ``target`` answers to each request."""
    config, folder, workers, catalog = by
    work = WorkDir(folder)
    _describe(work, config, spec_for(config, catalog))
    write_json(folder / "requests.json", [request.model_dump(mode="json") for request in requests])
    try:
        process = _carried_out(workers, target, folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if not (answer := folder / "reports.json").exists():
        raise TrainingError(_obituary(work, process.exitcode))
    try:
        return _reports(json.loads(answer.read_text(encoding="utf-8")))
    except AssayError:
        shutil.rmtree(folder)
        raise


def survey(
    config: TrainConfig, folder: Path, workers: Workers, catalog: Catalog = CATALOG
) -> list[Event]:
    """What a config's trainer tells of its data, up to its first step; files stay in ``folder``.

    Raises TrainingError with the trainer's own reason.
    """
    work = WorkDir(folder)
    _describe(work, config, spec_for(config, catalog))
    process = _carried_out(workers, "survey", folder)
    events = [envelope.event for envelope in Tail(work.events).poll()]
    last = events[-1] if events else None
    if not isinstance(last, RunFinished):
        raise TrainingError(_obituary(work, process.exitcode))
    if last.status == "failed":
        raise TrainingError(last.reason)
    return events[:-1]


def _carried_out(workers: Workers, target: str, folder: Path) -> BaseProcess:
    """The process at its end; it does not outlive us."""
    process = workers.start(target, folder)
    try:
        process.join()
    except BaseException:
        process.kill()
        process.join()
        raise
    return process


def _reports(answer: dict[str, object]) -> list[object]:
    if "error" in answer:
        error = getattr(errors, str(answer["kind"]), AssayError)
        raise error(answer["error"])
    reports = answer["reports"]
    assert isinstance(reports, list)
    return reports
