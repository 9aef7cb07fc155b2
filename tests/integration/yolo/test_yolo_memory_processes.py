"""Deaths without a word, and a real limit of memory, in processes that train YOLO."""

import os
import re
import signal

import cv2
import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from backend import launch
from backend.core.events import (
    Evaluated,
    Event,
    MetricsLogged,
    RunFinished,
)
from backend.core.sinks import MemorySink
from backend.core.workdir import WorkDir
from backend.hardware.memory import diagnose
from backend.tracking.home import Home
from backend.trainers.yolo.spec import YoloConfig
from tests.support.yolo_faults import DOOMED, DoomedConfig, doomed, epochs, starts, told


def supervise(
    config: DoomedConfig, home: Home, workers: launch.Workers
) -> tuple[WorkDir, RunFinished, list[Event]]:
    sink = MemorySink()
    work = launch.prepare(home, config, DOOMED)
    finished = launch.supervise(work, lambda: [sink], workers, work.path / "system")
    return work, finished, [envelope.event for envelope in sink.envelopes]


def test_a_process_that_memory_ended_is_started_again_and_resumes(
    scratch: YoloConfig, home: Home, workers: launch.Workers
) -> None:
    """By SIGABRT while it reads, exit(1) of a library in the second epoch, the kernel while it
    validates that, and once more when only the evaluation was left."""
    faults = ("images:abort", "forward:exit@4", "val:killed", "evaluation:abort")
    asked = doomed(scratch, *faults, batch=16, epochs=2)
    work, finished, events = supervise(asked, home, workers)
    assert finished.status == "finished", work.output_tail()
    said = told(events)
    assert [(e.phase, e.kind, e.action) for e in said] == [
        ("unknown", "host", "batch 16 -> 8"),
        ("unknown", "host", "batch 8 -> 4"),
        ("unknown", "host", "batch 4 -> 2"),
        ("evaluation", "host", "batch 2 -> 1"),
    ]
    assert [e.step for e in said[1:]][-1] == max(
        e.step for e in events if isinstance(e, MetricsLogged)
    ), "as far as was heard"
    assert [e.resumed_from for e in starts(events)] == [None, None, 1, 1, 2]
    assert epochs(events) == [1, 2]
    assert sum(isinstance(e, Evaluated) for e in events) == 1
    assert sum(isinstance(e, RunFinished) for e in events) == 1


@pytest.mark.parametrize(
    ("fault", "recover"),
    [("murdered", True), ("crash", True), ("killed", False), ("asked", True)],
)
def test_a_process_is_not_started_again(
    fault: str, recover: bool, scratch: YoloConfig, home: Home, workers: launch.Workers
) -> None:
    """That memory did not end, that may not recover, or that somebody asked to stop."""
    asked = doomed(scratch, f"forward:{fault}", **{"hardware.recover": recover})
    _, finished, events = supervise(asked, home, workers)
    assert (finished.status, finished.interrupted) == ("failed", True)
    assert len(starts(events)) == 1


def test_killed_while_it_saves_a_run_goes_on_from_what_was_saved_before(
    scratch: YoloConfig, home: Home, workers: launch.Workers
) -> None:
    """With the state of the second epoch half written: that epoch is repeated, to the bit."""
    work, finished, _ = supervise(doomed(scratch, "save:murdered@4"), home, workers)
    assert (finished.status, finished.best) == ("failed", "checkpoints/epoch-001.safetensors")
    sink = MemorySink()
    finished = launch.supervise(work, lambda: [sink], workers)
    assert finished.status == "finished", work.output_tail()
    events = [envelope.event for envelope in sink.envelopes]
    assert [e.resumed_from for e in starts(events)] == [None, 1]
    ends = [e for e in events if isinstance(e, MetricsLogged) and e.ends]
    assert [e.epoch for e in ends] == [1, 2, 2, 3]
    assert ends[1] == ends[2]
    assert not list(work.path.rglob(".*last.pt*"))


def test_a_loop_of_deaths_ends(scratch: YoloConfig, home: Home, workers: launch.Workers) -> None:
    more = {"hardware.max_attempts": 3}
    asked = doomed(scratch, "forward:exit@4", *["images:exit"] * 5, **more)
    _, finished, events = supervise(asked, home, workers)
    assert finished.status == "failed"
    assert len(starts(events)) == 3
    assert finished.reason.startswith("memory ran out (died (exit code 1): OpenBLAS : Memory")
    assert "hardware.max_attempts is 3; tried: batch 8 -> 4; batch 4 -> 2" in finished.reason
    assert finished.reason.endswith("; its best checkpoint is checkpoints/epoch-001.safetensors")
    assert finished.best == "checkpoints/epoch-001.safetensors"


def test_a_run_that_is_stopped_between_two_attempts_keeps_its_best(
    scratch: YoloConfig, home: Home, workers: launch.Workers
) -> None:
    _, finished, events = supervise(doomed(scratch, "forward:cuda and asked@4"), home, workers)
    assert (finished.status, finished.best) == ("stopped", "checkpoints/epoch-001.safetensors")
    assert len(starts(events)) == 1


def test_a_real_limit_of_memory(scratch: YoloConfig, home: Home, workers: launch.Workers) -> None:
    """24 images do not fit into 600 MiB of address space above the empty process; fewer do."""
    asked = doomed(scratch, batch=24, imgsz=320, epochs=1, budget=600)
    work, finished, events = supervise(asked, home, workers)
    assert finished.status == "finished", work.output_tail()
    said = told(events)
    assert {e.kind for e in said} == {"host"}
    assert {e.requested["batch"] for e in said} == {24}
    batches = [int(str(e.effective["batch"])) for e in said]
    assert 24 > batches[0] > 1
    assert batches == sorted(batches, reverse=True)
    assert {e.effective["imgsz"] for e in said} == {320}
    assert len(starts(events)) == len(said) + 1
    assert epochs(events) == [1]


class Sick(Dataset[int]):
    """Its loader process fails as the test wants."""

    def __init__(self, how: str) -> None:
        self._how = how

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        if self._how == "numpy":
            np.empty(2**60, np.uint8)
        if self._how == "cv2":
            raise cv2.error("OpenCV(4): (-4:Insufficient memory) Failed to allocate 9 bytes")
        if self._how == "bug":
            raise ValueError("out of memory, says a bug")
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def failure(loader: DataLoader[int]) -> Exception:
    """Without its frames: they would keep the loader, which is slow to end beside another one."""
    try:
        next(iter(loader))
    except Exception as error:  # noqa: BLE001 (pytest.raises would keep the frames)
        return error.with_traceback(None)
    pytest.fail("it did not fail")


@pytest.mark.parametrize(
    ("how", "kills", "short"),
    [("numpy", 0, True), ("cv2", 0, True), ("bug", 0, False), ("killed", 1, True),
     ("killed", 0, False)],
)  # fmt: skip
def test_what_a_loader_process_died_of(how: str, kills: int, short: bool) -> None:
    """On the CPU Ultralytics has none, so this one is torch's own."""
    error = failure(DataLoader(Sick(how), num_workers=1))
    assert re.search("Caught|DataLoader worker", str(error))
    found = diagnose(error, kills)
    assert (found is not None) == short
    assert found is None or found.kind == "host"
