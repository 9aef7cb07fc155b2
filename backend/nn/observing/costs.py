"""What training takes: the time of each epoch without validation, and the most memory."""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from backend.core.events import CostsMeasured

KIBIBYTE = 1024
STATUS = Path("/proc/self/status")


class CostMeter:
    """A watch that runs while training does; validating and saving are pauses.

    An epoch counts from its first optimizer step to its last, with the wait for data; one that
    was taken up in its middle, or left there, does not.
    """

    def __init__(
        self, device: torch.device, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._device = device
        self._clock = clock
        self._seconds: dict[int, float] = {}
        self._spent: float | None = None
        self._since: float | None = None
        self._used = False
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def begin(self, *, whole: bool) -> None:
        """An epoch begins; ``whole``: with its first step."""
        self._used = True
        self._spent = 0.0 if whole else None
        self._since = self._clock()

    def pause(self) -> None:
        """No training until ``go_on``; what a GPU was asked to do is waited for."""
        if self._spent is not None and self._since is not None:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self._spent += self._clock() - self._since
        self._since = None

    def go_on(self) -> None:
        """Training again."""
        if self._since is None:
            self._since = self._clock()

    def end(self, epoch: int) -> None:
        """The last step of an epoch, counted from 1, is done."""
        self.pause()
        if self._spent is not None:
            self._seconds[epoch] = self._spent
        self._spent = None

    def told(self, step: int) -> CostsMeasured | None:
        """What was measured until this step; None if nothing was trained."""
        if not self._used:
            return None
        cuda = self._device.type == "cuda"
        memory = torch.cuda.max_memory_allocated(self._device) if cuda else peak_resident()
        return CostsMeasured(
            step=step,
            seconds=dict(self._seconds),
            memory=memory,
            memory_of="device" if cuda else "host",
        )


def peak_resident() -> int:
    """The most memory that this process had resident, in bytes.

    Linux's own count of the process is preferred: ``getrusage`` there also knows what stood in its
    place before ``exec``.
    """
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIBIBYTE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIBIBYTE
