"""What is a lack of memory, and what only looks like one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.core.events import CheckpointSaved, Event, FreezeReported, RunStarted
from backend.core.records import Checkpoint
from backend.hardware.memory import Shortage, address_space, death, diagnose, kernel_kills
from backend.hardware.witness import Witness, heard

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which unit tests here do not load."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "device"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "device"),
        (RuntimeError("CUDA error: out of memory"), "device"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), "host"),
        (RuntimeError("could not create a primitive"), "host"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "host"),
        (RuntimeError("out of memory"), "host"),
        (OSError(12, "Cannot allocate memory"), "host"),
        (MemoryError(), "host"),
    ],
)
def test_memory_that_ran_out(error: Exception, kind: str) -> None:
    shortage = diagnose(error)
    assert shortage is not None
    assert shortage.kind == kind
    assert shortage.cause.startswith(type(error).__name__)


def test_the_real_exception_of_numpy() -> None:
    with pytest.raises(MemoryError) as caught:
        np.empty(2**60, np.uint8)
    shortage = diagnose(caught.value)
    assert shortage is not None
    assert "Unable to allocate 1.00 EiB" in shortage.cause


def test_a_loader_process_that_was_killed() -> None:
    """As torch raises it: the signal is only told by the cause."""
    error = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    assert diagnose(error) is None
    error.__cause__ = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    shortage = diagnose(error, kills=1)
    assert shortage is not None
    assert "killed by signal" in shortage.cause
    assert diagnose(error, kills=0) is None, "killed by somebody"


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        DataError("images/7.jpg: out of memory"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(28, "No space left on device"),
        KeyError("memory"),
    ],
)
def test_what_no_smaller_batch_would_mend(error: Exception) -> None:
    assert diagnose(error) is None


@pytest.mark.parametrize(
    ("exitcode", "output", "kills", "space", "cause"),
    [
        (-9, "", 1, None, "killed by the kernel"),
        (-9, "", 0, None, None),
        (-9, "", 0, 0.97, None),
        (-9, "RuntimeError: out of memory (a step before, and mended)", 0, None, None),
        (-15, "std::bad_alloc", 1, 0.97, None),
        (-6, "", 1, None, None),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", 0, None, "-6"),
        (1, "OpenBLAS : Memory allocation still failed after 10 retries", 0, None, "OpenBLAS"),
        (-11, "", 0, 0.97, "address space full"),
        (1, "Traceback\nImportError: no module", 0, 0.2, None),
    ],
)
def test_processes_that_died(
    exitcode: int, output: str, kills: int, space: float | None, cause: str | None
) -> None:
    shortage = death(exitcode, output, kills, space)
    assert (shortage is not None) == (cause is not None)
    assert shortage is None or str(cause) in shortage.cause


def test_the_kernels_counters(tmp_path: Path) -> None:
    assert kernel_kills(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\noom_kill 3\nswap_ra 0\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    events = "low 0\nhigh 0\nmax 4\noom 1\noom_kill 1\noom_group_kill 0\n"
    (tmp_path / "sys/fs/cgroup/memory.events").write_text(events)
    assert kernel_kills(tmp_path) == 4


def test_a_witness_tells_this_attempt_from_the_last_one(tmp_path: Path) -> None:
    output, counters = tmp_path / "output.log", tmp_path / "proc" / "vmstat"
    counters.parent.mkdir()
    counters.write_text("oom_kill 5\n")
    output.write_text("RuntimeError: DefaultCPUAllocator: can't allocate memory\n")
    witness = Witness(output, tmp_path)
    assert witness.verdict(-9) is None, "all of that was before"
    with output.open("a") as file:
        file.write("std::bad_alloc\n")
    assert witness.verdict(-6) == Shortage(
        kind="host", cause="died (exit code -6): std::bad_alloc"
    )
    counters.write_text("oom_kill 6\n")
    shortage = witness.verdict(-9)
    assert shortage is not None
    assert "killed by the kernel" in shortage.cause


def saved(epoch: int) -> CheckpointSaved:
    checkpoint = Checkpoint(path="a", sha256="b", step=epoch, epoch=epoch, metrics={})
    return CheckpointSaved(checkpoint=checkpoint, best=True)


def verified(until: int | None) -> FreezeReported:
    return FreezeReported(
        phase="verified", strategy="backbone", groups=(), frozen_tensors=1, until=until
    )


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ([], "unknown"),
        ([saved(1)], "unknown"),
        ([saved(1), verified(None)], "evaluation"),
        ([saved(1), verified(1)], "unknown"),
        ([saved(1), verified(1), saved(2)], "evaluation"),
    ],
)
def test_how_far_an_attempt_was_heard(said: list[Event], phase: str) -> None:
    """A network that was thawed is not verified once more at the end."""
    begun = RunStarted(trainer="yolo", epochs=2, headline="a", metrics=(), data=(), environment={})
    assert heard([begun, *said]) == (phase, None)
    assert heard([]) == ("setup", None)


@LINUX
def test_the_address_space_of_a_process() -> None:
    """Its peak stays near the limit after it ran into it."""
    code = (
        "import resource, sys\n"
        "from backend.hardware.memory import address_space, diagnose\n"
        "assert address_space('self') is None\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 64 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "assert address_space('self') < 1\n"
        "held = []\n"
        "assert diagnose(RuntimeError('a primitive failed')) is None\n"
        "try:\n"
        "    while True:\n"
        "        held.append(bytearray(2**20))\n"
        "except MemoryError:\n"
        "    held.clear()\n"
        "assert 'address space is full' in diagnose(ImportError('binary is missing')).cause\n"
        "assert diagnose(ValueError('a bug')) is None\n"
        "assert diagnose(FileNotFoundError(2, 'No such file')) is None\n"
        "assert diagnose(OSError(28, 'No space left on device')) is None\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert address_space(2**22 + 1) is None, "no such process"


def test_sigkill_is_minus_nine() -> None:
    assert death(-signal.SIGKILL, "", 1, None) is not None
