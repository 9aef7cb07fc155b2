"""What a training takes of its host: the processor, and the memory."""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

GROUPS = "sys/fs/cgroup"


class HostUse(NamedTuple):
    """As in ``HardwareSampled``: percent and bytes; None for what is not known."""

    cpu: float | None
    host_cpu: float | None
    rss: int | None
    memory: int | None
    total: int | None


class Host:
    """The host, looked at again and again by one thread; loads are those since the look before,
    so the first look knows none. ``system`` is where the system's own files are."""

    def __init__(self, system: Path = Path("/")) -> None:
        self._system = system
        self._then: float | None = None
        self._spent: dict[tuple[int, float], float] = {}

    def look(self, process: int | None) -> HostUse:
        """The host now, and a process with all that it started."""
        spent, rss = _tree(process)
        now, before = time.monotonic(), self._then
        busy = psutil.cpu_percent()
        cpu = host_cpu = None
        if before is not None and now > before:
            host_cpu = busy
            # a process that is new was born since the look before
            used = sum(total - self._spent.get(key, 0.0) for key, total in spent.items())
            cpu = 100 * used / (now - before) if spent else None
        self._then, self._spent = now, spent
        return HostUse(cpu, host_cpu, rss or None, *host_memory(self._system))


def _tree(process: int | None) -> tuple[dict[tuple[int, float], float], int]:
    """Seconds on the processor, by id and time of birth, and resident bytes, of a process and its
    descendants. Pages that several of them share count for each."""
    spent: dict[tuple[int, float], float] = {}
    rss = 0
    for one in _family(process):
        with suppress(psutil.Error), one.oneshot():  # they come and go
            times = one.cpu_times()
            spent[one.pid, one.create_time()] = times.user + times.system
            rss += one.memory_info().rss
    return spent, rss


def _family(process: int | None) -> list[psutil.Process]:
    try:
        parent = psutil.Process(process) if process is not None else None
        return [parent, *parent.children(recursive=True)] if parent else []
    except psutil.Error:
        return []


def host_memory(system: Path = Path("/")) -> tuple[int | None, int | None]:
    """Bytes in use and in all, of the control group that limits this process, or of the machine.

    Files that the kernel keeps in memory as long as nobody needs it are not in use.
    """
    machine = psutil.virtual_memory()
    limited = _limited(system)
    if limited is None or limited[1] >= machine.total:
        return machine.used, machine.total
    return limited


def _limited(system: Path) -> tuple[int, int] | None:
    """Use and limit of the tightest control group (version 2) around this process."""
    root = system / GROUPS
    place = root / _own_group(system)
    found = [_group(group) for group in (place, *place.parents) if group.is_relative_to(root)]
    return min((one for one in found if one), key=lambda one: one[1], default=None)


def _own_group(system: Path) -> str:
    """Its path below the mount; in a container it may be one that is not to be seen there."""
    with suppress(OSError, ValueError):
        lines = (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        return next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    return ""


def _group(folder: Path) -> tuple[int, int] | None:
    with suppress(OSError, ValueError):
        limit = int((folder / "memory.max").read_text(encoding="ascii"))  # or "max": no number
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        stat = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        spare = (int(line.split()[1]) for line in stat if line.startswith("inactive_file "))
        return max(used - next(spare, 0), 0), limit
    return None
