"""Parent side of a training: work directory, process, events to sinks, and the end of it."""

import contextlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import yaml

from backend.catalog import CATALOG, Catalog, resolve, spec_of
from backend.config.schema import TrainConfig
from backend.core import errors
from backend.core.errors import AssayError, BusyError, StoreError, TrainingError
from backend.core.events import Envelope, Event, RunFinished, best_saved
from backend.core.exporting import check_request, require_packages
from backend.core.records import EvalReport
from backend.core.sinks import EventSink, Fanout, JsonlSink, Tail
from backend.core.trainer import EvalRequest, ExportReport, ExportRequest, TrainerSpec
from backend.core.workdir import RunFile, WorkDir, write_atomic, write_json
from backend.hardware.sampling import Story, sampler_of
from backend.keeping import keepers, restore
from backend.processes import TO_STOP, Attempt, Workers
from backend.runner.states import begin_with, check_kept
from backend.tracking.home import Home

__all__ = [
    "Workers",
    "evaluate",
    "export",
    "interrupted",
    "prepare",
    "prepare_from",
    "reap",
    "run",
    "spec_for",
    "supervise",
    "survey",
]

BY_SIGNAL = "stopped by SIG"
AT_ONCE = (
    "ended at once by the user (second Ctrl-C); what came after its last save is trained again "
    "when it is continued"
)


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
    are missing that the config's exports will need, and what the trainer says of missing files.
    """
    require_packages(spec.exports, getattr(config, "export", ()))
    if spec.ready is not None:
        spec.ready(config)
    home.prepare()
    work = WorkDir(home.work_dir(home.new_key(spec.kind)))
    _describe(work, config, spec, tags, parent)
    return work


def prepare_from(
    home: Home,
    key: str,
    epoch: int,
    overrides: Mapping[str, object] | None = None,
    catalog: Catalog = CATALOG,
) -> WorkDir:
    """Make the work directory of a new run that begins where run ``key`` was at the end of
    ``epoch``, with its config and ``overrides``; that run stays as it is.

    Raises CheckpointError if its state was not kept, and what ``prepare`` raises.
    """
    earlier = WorkDir(home.work_dir(key))
    fast = {name: value for name, value in earlier.read_run().tags.items() if name == "fast"}
    check_kept(earlier.path, epoch)
    config = resolve(earlier.read_config(), overrides or {}, str(earlier.config), catalog)
    tags = {**fast, "resumed_from": f"{key}@{epoch}"}
    work = prepare(home, config, spec_for(config, catalog), tags=tags)
    begin_with(earlier.path, epoch, work.path)
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
    whole run. The first Ctrl-C asks the training to stop when it next writes its state, the
    second ends it; SIGTERM and SIGUSR1, by which a cluster tells that time is nearly over, ask
    as well. A worker that dies without its last event is started again if memory ended it and
    the config wants that, and gets its last event here if not. Of a run whose input is refused
    before it starts, nothing is left; a run that is refused to be continued stays as it ended.
    ``system`` is where the system's own files are. Raises TrainingError if the run is finished.
    """
    with work.hold():
        earlier = Tail(work.events).poll()
        _refuse_finished(work, earlier)
        for file in (work.stop, work.refusal):
            file.unlink(missing_ok=True)
        story = Story(work, sampler_of(work, system), earlier)
        attempt = Attempt(work, workers, system)
        try:
            fanout = Fanout(sinks())
        except BaseException:
            attempt.kill()
            raise
        finished = _pump(work, attempt, fanout, story)
    if finished.refused and not earlier:
        shutil.rmtree(work.path)
    return finished


def _refuse_finished(work: WorkDir, events: Sequence[Envelope]) -> None:
    last = events[-1].event if events else None
    if isinstance(last, RunFinished) and last.status == "finished":
        raise TrainingError(
            f"run {work.path.name} is finished; to train further, start a new run from its "
            f"checkpoint {work.path / str(last.best)}"
        )


def _pump(work: WorkDir, attempt: Attempt, fanout: Fanout, story: Story) -> RunFinished:
    try:
        with _heeding_signals(work, attempt):
            return _hand_on(work, attempt, fanout, story)
    except BaseException:
        attempt.kill()
        with contextlib.suppress(OSError):
            if _unfinished(work):
                _close(work, _end_of(work, attempt))
        raise
    finally:
        story.close()
        fanout.close()


def _hand_on(work: WorkDir, attempt: Attempt, fanout: Fanout, story: Story) -> RunFinished:
    """Every event to its readers, until the last one."""
    story.begin(lambda: attempt.process.pid)
    alive = True
    while alive:
        try:
            alive = attempt.alive()
            for envelope in story.poll():
                fanout.receive(envelope)
        except KeyboardInterrupt:  # of somebody else who listens for Ctrl-C
            _stop(work, attempt)
        if not alive:
            attempt.process.join()
            alive = story.finished is None and attempt.again()
    if story.finished is None and work.refusal.exists():
        return RunFinished.model_validate_json(work.refusal.read_text(encoding="utf-8"))
    if story.finished is None:
        _close(work, _end_of(work, attempt))
        for envelope in story.poll():
            fanout.receive(envelope)
    assert story.finished is not None
    return story.finished


@contextlib.contextmanager
def _heeding_signals(work: WorkDir, attempt: Attempt) -> Iterator[None]:
    """Stop the training instead of raising KeyboardInterrupt, by which a reader would miss what
    it was about to hear, or ending. Only in the main thread, and unless somebody else listens."""

    def heard(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            _stop(work, attempt)
        else:
            work.request_stop("stopped", f"stopped by {signal.Signals(number).name}")

    ours = threading.current_thread() is threading.main_thread()
    unheard = (signal.default_int_handler, signal.SIG_DFL)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *TO_STOP)}
    taken = [number for number, handler in before.items() if ours and handler in unheard]
    for number in taken:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


def _stop(work: WorkDir, attempt: Attempt) -> None:
    """When it next writes its state; at once if that was asked for before."""
    if work.stop.exists():
        attempt.ended_by_user = True
        attempt.process.kill()
    work.request_stop("stopped", "stopped by the user (Ctrl-C)")


def _close(work: WorkDir, end: RunFinished) -> None:
    """Write the last event of a worker that could not, with the best checkpoint that it left."""
    sink = JsonlSink(work.events)
    earlier = Tail(work.events).poll()
    best = best_saved(envelope.event for envelope in earlier)
    event = end.model_copy(update={"best": best})
    sink.receive(Envelope(seq=len(earlier), time=time.time(), event=event))
    sink.close()


def _end_of(work: WorkDir, attempt: Attempt) -> RunFinished:
    """What ended a worker that did not say it."""
    if attempt.ended_by_user:
        return RunFinished(status="stopped", reason=AT_ONCE, interrupted=True)
    return _died(work, attempt.process.exitcode)


def _died(work: WorkDir, exitcode: int | None) -> RunFinished:
    reason = _obituary(work, exitcode)
    return RunFinished(status="failed", reason=reason, interrupted=exitcode != 1)


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
                _close(work, _died(work, None))
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
        process = workers.run(target, folder)
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
    process = workers.run("survey", folder)
    events = [envelope.event for envelope in Tail(work.events).poll()]
    last = events[-1] if events else None
    if not isinstance(last, RunFinished):
        raise TrainingError(_obituary(work, process.exitcode))
    if last.status == "failed":
        raise TrainingError(last.reason)
    return events[:-1]


def _reports(answer: dict[str, object]) -> list[object]:
    if "error" in answer:
        error = getattr(errors, str(answer["kind"]), AssayError)
        raise error(answer["error"])
    reports = answer["reports"]
    assert isinstance(reports, list)
    return reports
