"""Training processes as their parent has them: started, watched, and started again."""

import contextlib
import importlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from backend.core.errors import TrainingError
from backend.core.sinks import Tail
from backend.core.workdir import WorkDir
from backend.hardware.recovery import AGAIN, Death, note_death, read_memo
from backend.hardware.witness import Witness, heard

POLL_SECONDS = 0.05
TO_STOP = frozenset({signal.SIGTERM, signal.SIGUSR1})
"""By these a cluster tells that a job's time is nearly over; the parent hears them."""
LAUNCHED = "TORCHELASTIC_RUN_ID"
LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""torchrun's variables; job scripts export them by hand, and a training stack believes them."""


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
        try:
            with _undisturbed(), _own_environment():
                process.start()
        except (EOFError, ConnectionError) as error:  # the server died, as of memory
            raise TrainingError(
                "the process that loads the training stack ended before it was ready; what it "
                "printed is above"
            ) from error
        return process

    def run(self, target: str, work: Path) -> BaseProcess:
        """The same process at its end; it does not outlive us."""
        process = self.start(target, work)
        try:
            process.join()
        except BaseException:
            process.kill()
            process.join()
            raise
        return process


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """What is started now gets none of ``TO_STOP``, which a cluster may send to all processes of
    a job; a worker takes them again once it has its own handlers."""
    resource_tracker.ensure_running()  # which would unblock SIGTERM if it were started below
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TO_STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Without torchrun's variables, unless torchrun itself set them."""
    names = () if LAUNCHED in os.environ else LAUNCHER
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _call(target: str, argument: str) -> None:
    module, _, function = target.partition(":")
    getattr(importlib.import_module(module), function)(argument)


class Attempt:
    """A worker at its training, and the one after it if memory ends it."""

    def __init__(self, work: WorkDir, workers: Workers, system: Path) -> None:
        self._work = work
        self._workers = workers
        self._system = system
        self.ended_by_user = False
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
        left = exitcode == AGAIN and read_memo(self._work.path).died is not None
        if not left and not self._died_of_memory(exitcode):
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
    return bool(work.read_config().get("hardware", {}).get("recover", False))
