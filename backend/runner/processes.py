"""``train``: fit in this process or in several that torchrun starts on this machine, scaled to
the machine, and once more with less when memory runs out."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from backend.config.schema import TrainConfig
from backend.core.errors import AssayError, ConfigError, TrainingError
from backend.core.events import Event
from backend.core.knobs import Knobs
from backend.core.trainer import Emit, StopSignal, TrainOutcome
from backend.hardware.attempts import (
    ALONE,
    Attempts,
    MemoryRanOutError,
    Part,
    Scalable,
    Site,
    Where,
    noticing,
)
from backend.hardware.estimate import Need
from backend.hardware.memory import death, kernel_kills
from backend.nn.releasing import release
from backend.runner.config import RunnerConfig
from backend.runner.device import resolve_device
from backend.runner.estimate import needed
from backend.runner.fit import fit
from backend.runner.training import Training

SILENCE = object()


class Runnable(Scalable, Protocol):
    """A trainer's config (a ``TrainConfig``) with the sections that this seam reads."""

    @property
    def runner(self) -> RunnerConfig: ...


C = TypeVar("C", bound=Runnable)
Build = Callable[[C, Path], Training]


def train(
    build: Build[C],
    config: C,
    emit: Emit,
    stop: StopSignal,
    work_dir: Path,
    knobs: Knobs = Knobs(),  # noqa: B008 (frozen)
) -> TrainOutcome:
    """``fit`` what ``build`` makes of the config, or of what the machine makes of the config.

    ``knobs`` are the keys that the tier and memory's ladder may change. With several processes
    ``build`` must be picklable (a function of a module): each process calls it. Raises what
    ``fit`` raises, and TrainingError when memory runs out and nothing is left to lower.
    """
    if "RANK" in os.environ:  # under torchrun, which alone could start all processes again
        if config.hardware.auto_scale:
            raise ConfigError(
                "hardware.auto_scale: not under torchrun; let Assay start the processes "
                "(runner.processes)"
            )
        return _fit(build, config, ALONE, (emit, stop, work_dir))
    start = _fit if config.runner.processes == 1 else _launch

    def attempt(effective: C, part: Part) -> TrainOutcome:
        return start(build, effective, part, (emit, stop, work_dir))

    def need(effective: C) -> Need:
        return needed(build(effective, work_dir))

    return Attempts(config, work_dir, knobs, _site(config), need).run(attempt, release, stop)


def _site(config: Runnable) -> Site:
    processes = config.runner.processes
    device = resolve_device(cast(TrainConfig, config).device, processes)
    if device.type != "cuda":
        return Site((), processes)
    return Site(tuple(range(processes)) if processes > 1 else (device.index or 0,), processes)


def _fit(
    build: Build[C], config: C, part: Part, to: tuple[Emit, StopSignal, Path]
) -> TrainOutcome:
    emit, stop, work_dir = to
    with noticing(Where()):
        training = build(config, work_dir)
    return fit(training, emit, stop, work_dir, part)


def _launch(
    build: Build[C], config: C, part: Part, to: tuple[Emit, StopSignal, Path]
) -> TrainOutcome:
    """The same in several processes."""
    emit, stop, work_dir = to
    processes, kills = config.runner.processes, kernel_kills()
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        run_id="assay",
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        monitor_interval=0.1,
        signals_to_handle="SIGTERM",  # its handler of Ctrl-C would end what is asked to stop
    )
    ours, theirs = get_context("spawn").Pipe()
    failures: list[Exception] = []
    try:
        with _own_sigterm(), _listening(ours, theirs, emit, stop, failures):
            outcomes = elastic_launch(launch, _rank)(build, config, part, work_dir, theirs)
    except ChildFailedError as error:
        if failures:
            raise failures[0] from error
        rank, failure = error.get_first_failure()
        if shortage := death(failure.exitcode, "", kernel_kills() - kills, None):
            raise MemoryRanOutError(shortage, Where("unknown")) from None
        raise TrainingError(
            f"training process {rank} of {processes} died (exit code {failure.exitcode}); its "
            "output tells more"
        ) from error
    if failures:
        raise failures[0]
    outcome: TrainOutcome = outcomes[0]
    return outcome


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """The launcher's handler of SIGTERM ends with the launch: it raises wherever it is."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _listening(
    ours: Connection,
    theirs: Connection,
    emit: Emit,
    stop: StopSignal,
    failures: list[Exception],
) -> Iterator[None]:
    """Hand on what the first process says, and answer it, until all have ended."""

    def listen() -> None:
        try:
            while (said := _heard(ours)) is not SILENCE:
                if isinstance(said, AssayError):
                    failures.append(said)
                elif said is None:
                    ours.send(stop.reason())
                else:
                    emit(said)
        except Exception as error:  # noqa: BLE001 (raised where train was called)
            failures.append(error)
        finally:
            ours.close()  # who still waits for an answer ends

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        yield
    finally:
        theirs.close()
        listener.join()


def _heard(ours: Connection) -> Any:
    try:
        return ours.recv()
    except (EOFError, OSError):
        return SILENCE


class _Line:
    """The first process's end: events, and the question whether to stop."""

    def __init__(self, to: Connection) -> None:
        self._to = to

    def emit(self, event: Event) -> None:
        self._to.send(event)

    def reason(self) -> str | None:
        self._to.send(None)
        answer: str | None = self._to.recv()
        return answer


def _rank(build: Build[C], config: C, part: Part, work_dir: Path, to: Connection) -> TrainOutcome:
    parent: Any = parent_process()
    threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()
    line = _Line(to)
    try:
        return _fit(build, config, part, (line.emit, line, work_dir))
    except AssayError as error:
        to.send(error)
        raise


def _die_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
