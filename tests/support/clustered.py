"""A training as a cluster's job: in a process of its own, which is told that time is over."""

import dataclasses
import json
import os
import signal
import sys
import threading
from multiprocessing import parent_process
from pathlib import Path

import typer

from backend import launch
from backend.cli.training import conclude
from backend.core.events import Event, MetricsLogged
from backend.core.trainer import Emit, StopSignal, TrainOutcome
from backend.core.workdir import WorkDir
from backend.processes import LAUNCHER
from backend.runner.progress import read_progress
from backend.tracking.home import Home
from tests.support.runner_toy import SPEC, RunnerToyConfig, RunnerToyTrainer

SIGNALLED = 3
"""The step after which the job is told; in the middle of an epoch."""


class ClusterTrainer(RunnerToyTrainer):
    """Tells its supervisor by the signal that ``signal`` names, once, and goes on when heard."""

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        """Train; what torchrun's variables are is left in ``environment.json``."""
        told = {name: os.environ[name] for name in LAUNCHER if name in os.environ}
        (self.work_dir / "environment.json").write_text(json.dumps(told))
        first = read_progress(self.work_dir) is None

        def heard(event: Event) -> None:
            emit(event)
            if first and isinstance(event, MetricsLogged) and event.step == SIGNALLED:
                self._tell(stop)

        return super().fit(heard, stop)

    def _tell(self, stop: StopSignal) -> None:
        supervisor = parent_process()
        assert supervisor is not None
        assert supervisor.pid is not None
        number = signal.Signals[(self.work_dir / "signal").read_text()]
        for process in (os.getpid(), os.getppid(), supervisor.pid):  # a cluster may tell all
            os.kill(process, number)
        pause = threading.Event()
        while stop.reason() is None:
            pause.wait(0.01)


def prepared(folder: Path, config: RunnerToyConfig, name: str) -> WorkDir:
    """A run that will be told by the signal of that name."""
    spec = dataclasses.replace(SPEC, entry="tests.support.clustered:ClusterTrainer")
    work = launch.prepare(Home(folder), config, spec)
    (work.path / "signal").write_text(name)
    return work


def main() -> None:
    """Train the work directory of the first argument, and end as ``assay train`` does."""
    work = WorkDir(Path(sys.argv[1]))
    finished = launch.supervise(work, lambda: [], launch.Workers())
    try:
        conclude(work, finished)
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


if __name__ == "__main__":
    main()
