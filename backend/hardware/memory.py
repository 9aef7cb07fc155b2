"""How one sees that memory ran out: by the exception, or by how a process died.

Seen on the CPU with a limited address space: RuntimeError of the allocator, oneDNN's "could
not create a primitive", SIGABRT, and OpenBLAS ending the process with exit code 1.
"""

import errno
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from backend.core.errors import AssayError
from backend.core.records import Record

DEVICE = re.compile(
    r"(cuda|hip|mps|nccl)\b.*out of memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|CUDNN_STATUS_INTERNAL_ERROR|unable to find an engine",
    re.IGNORECASE | re.DOTALL,
)
HOST = re.compile(
    r"out of memory|(can't|cannot|unable to|failed to) allocate|could not create a primitive"
    r"|bad_alloc|insufficient (shared )?memory|memory allocation (still )?failed"
    r"|out of shared memory|DataLoader worker .* killed by signal: Killed|not enough memory",
    re.IGNORECASE | re.DOTALL,
)
KILLED = re.compile(r"DataLoader worker .* killed by signal: Killed")
NEAR = 0.95
"""Of the address space that a process may have: what fails so near to the end fails for it."""

SIGKILL = -9
SENT = {SIGKILL, -15, -2}
"""Exit codes of a process that somebody ended: SIGKILL, SIGTERM, SIGINT."""


class Shortage(Record):
    """Memory ran out: whose, and what showed it."""

    kind: Literal["device", "host"]
    cause: str


def diagnose(error: BaseException, kills: int | None = None) -> Shortage | None:
    """Did memory run out? None for every other failure, which no smaller batch would mend.

    What an error was raised from counts too: torch says of a loader process only that it ended.
    ``kills`` is how many processes the kernel killed for memory meanwhile (None: not counted);
    a loader process that was killed without one was killed by somebody.
    """
    if isinstance(error, AssayError) or (kills == 0 and KILLED.search(str(error))):
        return None
    return _judged(error) or (diagnose(error.__cause__, kills) if error.__cause__ else None)


def _judged(error: BaseException) -> Shortage | None:
    words = str(error).strip().splitlines()
    cause = f"{type(error).__name__}: {words[0] if words else 'no message'}"
    if isinstance(error, MemoryError):
        return Shortage(kind="host", cause=cause)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return Shortage(kind="device", cause=cause)
    if not isinstance(error, RuntimeError | OSError | ImportError | SystemError) and not (
        type(error).__module__.startswith("cv2")
    ):
        return None
    if DEVICE.search(str(error)):
        return Shortage(kind="device", cause=cause)
    if HOST.search(str(error)):
        return Shortage(kind="host", cause=cause)
    told = isinstance(error, OSError) and error.errno not in {None, errno.ENOMEM}
    if not told and (address_space("self") or 0.0) >= NEAR:
        return Shortage(kind="host", cause=f"{cause} (the address space is full)")
    return None


def death(exitcode: int, output: str, kills: int, space: float | None) -> Shortage | None:
    """Was it memory that ended a process without a word?

    ``output`` is what it printed, ``kills`` how many processes the kernel killed for memory
    meanwhile, ``space`` the share of its address space that it had used. A process that was
    ended by a signal of somebody's is left ended, whatever it printed before.
    """
    if exitcode == SIGKILL and kills > 0:
        cause = "killed by the kernel (SIGKILL) because memory was short"
        return Shortage(kind="host", cause=cause)
    if exitcode in SENT:
        return None
    said = [line for line in output.splitlines() if DEVICE.search(line) or HOST.search(line)]
    if said:
        kind: Literal["device", "host"] = "device" if DEVICE.search(said[-1]) else "host"
        return Shortage(kind=kind, cause=f"died (exit code {exitcode}): {said[-1].strip()}")
    if space is not None and space >= NEAR:
        cause = f"died (exit code {exitcode}) with its address space full"
        return Shortage(kind="host", cause=cause)
    return None


def kernel_kills(root: Path = Path("/")) -> int:
    """How many processes the kernel has killed for memory so far, as its counters tell."""
    counters = ("proc/vmstat", "sys/fs/cgroup/memory.events")
    return sum(_counter(root / name, "oom_kill") for name in counters)


def address_space(process: int | Literal["self"], root: Path = Path("/")) -> float | None:
    """The share of its allowed address space that a process has used at its peak.

    None without a limit, without such a process, and where the system does not tell.
    """
    if sys.platform != "linux":
        return None
    folder = root / "proc" / str(process)
    with suppress(OSError, ValueError, IndexError):
        limit = _line(folder / "limits", "Max address space").split()[3]
        peak = _line(folder / "status", "VmPeak:").split()[1]
        return None if limit == "unlimited" else int(peak) * 1024 / int(limit)
    return None


def _counter(path: Path, name: str) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(_line(path, f"{name} ").split()[1])
    return 0


def _line(path: Path, start: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(start)), "")
