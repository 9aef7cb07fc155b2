"""What several benchmarks measure with."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch


class Never:
    """A StopSignal that never stops."""

    def reason(self) -> str | None:
        return None


def rounds(
    cases: Mapping[str, Callable[[], None]], count: int, warm_up: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each case by round, those of the warm-up left out."""
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(count + warm_up):
        for name, case in cases.items():
            start = clock(device)
            case()
            if number >= warm_up:
                taken[name].append(clock(device) - start)
    return taken


def clock(device: torch.device) -> float:
    """CPU seconds of the process; on CUDA those that pass, when all was done."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def ratio(taken: Mapping[str, list[float]], one: str, other: str) -> float:
    """The median over rounds."""
    pairs = zip(taken[one], taken[other], strict=True)
    return statistics.median(first / second for first, second in pairs)


def resident(key: str) -> int:
    """Bytes of this process as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024
