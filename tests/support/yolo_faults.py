"""YOLO trainings that fail where and as a test wants it."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim.optimizer import register_optimizer_step_pre_hook

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.events import Event, FreezeReported, MetricsLogged, Recovered, RunStarted
from backend.core.trainer import Emit, StopSignal, TrainOutcome
from backend.core.workdir import WorkDir
from backend.trainers.yolo.spec import SPEC, YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.limits import allow

import ultralytics.data.base  # isort: skip
from ultralytics.nn.tasks import DetectionModel  # isort: skip


class DoomedConfig(YoloConfig):
    """``faults`` happen one after the other, each once: ``place:kind``, with ``@n`` the n-th time
    that an attempt gets there. ``budget`` is the address space that each process allows itself,
    in MiB above what it has."""

    faults: tuple[str, ...] = ()
    budget: int = 0


class Faults:
    """Places are ``images`` (reading one), ``forward``, ``backward``, ``step``, ``val``, ``save``
    (a file, before it is put in its place) and ``evaluation``. A file in the work directory
    remembers how many are over. ``killed`` is a SIGKILL that the counters below ``system`` lay to
    the kernel, ``murdered`` one that they do not."""

    def __init__(self, faults: tuple[str, ...], work_dir: Path) -> None:
        self._faults = faults
        self._work_dir = work_dir
        self._arrivals: Counter[str] = Counter()
        self._trained = False

    @contextmanager
    def set(self) -> Iterator[None]:
        """While this lasts they can happen."""
        hooks = [
            register_module_forward_pre_hook(self._forward),
            register_module_forward_hook(self._forwarded),
            register_optimizer_step_pre_hook(lambda *_: self._reach("step")),
        ]
        read = ultralytics.data.base.imread

        def imread(*arguments: Any, **options: Any) -> Any:
            self._reach("images")
            return read(*arguments, **options)

        sync = os.fsync

        def fsync(descriptor: int) -> None:
            self._reach("save")
            sync(descriptor)

        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ultralytics.data.base, "imread", imread)
                patch.setattr(os, "fsync", fsync)
                yield
        finally:
            for hook in hooks:
                hook.remove()

    def hear(self, event: Event) -> None:
        """An attempt begins; training is over."""
        if isinstance(event, RunStarted):
            self._arrivals.clear()
            self._trained = False
        if isinstance(event, FreezeReported) and event.phase == "verified":
            self._trained = True

    def _forward(self, module: Any, _: object) -> None:
        if isinstance(module, DetectionModel):
            told = "evaluation" if self._trained else "val"
            self._reach("forward" if module.training else told)

    def _forwarded(self, module: Any, _: object, output: Any) -> None:
        if isinstance(module, DetectionModel) and module.training and isinstance(output, tuple):
            output[0].register_hook(lambda _: self._reach("backward"))

    def _reach(self, place: str) -> None:
        done = self._work_dir / "faults"
        count = int(done.read_text()) if done.exists() else 0
        if count == len(self._faults):
            return
        wanted, _, what = self._faults[count].partition(":")
        kind, _, times = what.partition("@")
        if place == wanted:
            self._arrivals[place] += 1
            if self._arrivals[place] == int(times or 1):
                done.write_text(str(count + 1))
                self._fail(kind)

    def _fail(self, kind: str) -> None:
        if kind == "bug":
            raise ValueError("out of memory, says a bug")
        if kind in {"asked", "cuda and asked"}:
            WorkDir(self._work_dir).request_stop("stopped", "stopped by the user (Ctrl-C)")
        if kind in {"cuda", "cuda and asked"}:  # the real one needs a GPU
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if kind == "onednn":
            raise RuntimeError("could not create a primitive")
        if kind == "cv2":
            raise cv2.error("OpenCV(4): (-4:Insufficient memory) Failed to allocate 9 bytes")
        if kind == "torch":
            torch.empty(2**55)
        if kind == "numpy":
            np.empty(2**60, np.uint8)
        self._die(kind)

    def _die(self, kind: str) -> None:
        if kind in {"abort", "exit", "asked"}:
            os.write(2, b"OpenBLAS : Memory allocation still failed after 10 retries.\n")
        if kind == "exit":
            os._exit(1)
        if kind in {"abort", "asked", "crash"}:
            os.abort()
        if kind == "killed":
            proc = self._work_dir / "system" / "proc"
            proc.mkdir(parents=True, exist_ok=True)
            (proc / "vmstat").write_text("oom_kill 1\n")
        os.kill(os.getpid(), signal.SIGKILL)


class DoomedTrainer(YoloTrainer):
    """Trains as the YOLO trainer does, with faults."""

    def __init__(self, config: DoomedConfig, work_dir: Path) -> None:
        super().__init__(config, work_dir)
        self._faults = Faults(config.faults, work_dir)
        self._budget = config.budget

    def fit(self, emit: Emit, stop: StopSignal) -> TrainOutcome:
        def tell(event: Event) -> None:
            self._faults.hear(event)
            emit(event)

        if self._budget:
            allow(self._budget)
        with self._faults.set():
            return super().fit(tell, stop)


DOOMED = replace(SPEC, config=DoomedConfig, entry="tests.support.yolo_faults:DoomedTrainer")


def doomed(config: YoloConfig, *faults: str, **more: object) -> DoomedConfig:
    """A config with faults, of which images may get small."""
    asked = DoomedConfig.model_validate({**config.model_dump(), "faults": faults})
    return asked.replace({"hardware.smallest_size": 32, **more})


def told(events: list[Event]) -> list[Recovered]:
    """What was lowered."""
    return [event for event in events if isinstance(event, Recovered)]


def starts(events: list[Event]) -> list[RunStarted]:
    """The attempts."""
    return [event for event in events if isinstance(event, RunStarted)]


def epochs(events: list[Event]) -> list[int]:
    """Those that ended, in the order in which they did."""
    return [e.epoch for e in events if isinstance(e, MetricsLogged) and e.ends]
