"""Ctrl-C during a study: end the running trials after their next validation, then the study."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from backend.core.workdir import WorkDir

REASON = "stopped by the user (Ctrl-C)"


class Interrupt:
    """The first Ctrl-C asks every running trial to stop; the second one ends the process."""

    def __init__(self) -> None:
        self.requested = False
        self._running: set[WorkDir] = set()

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Listen for Ctrl-C; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self._request)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def covers(self, work: WorkDir) -> Iterator[None]:
        """Name a running trial."""
        self._running.add(work)
        try:
            yield
        finally:
            self._running.discard(work)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        for work in tuple(self._running):
            work.request_stop("stopped", REASON)
