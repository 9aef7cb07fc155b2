"""What a supervisor sees of a training process, to tell afterwards whether memory ended it."""

from collections.abc import Iterable
from pathlib import Path

from backend.core.events import CheckpointSaved, Event, FreezeReported, MetricsLogged, RunStarted
from backend.hardware.memory import Shortage, address_space, death, kernel_kills
from backend.hardware.recovery import Phase


def heard(events: Iterable[Event]) -> tuple[Phase, int | None]:
    """How far an attempt was, by what it said: its phase, and the optimizer step."""
    phase: Phase = "setup"
    step: int | None = None
    last = 0
    for event in events:
        if isinstance(event, RunStarted):
            phase, last = "unknown", event.epochs  # it trains or validates
        elif isinstance(event, MetricsLogged):
            step = event.step
        elif isinstance(event, CheckpointSaved) and event.checkpoint.epoch == last:
            phase = "evaluation"  # a thawed network is not verified at the end
        elif isinstance(event, FreezeReported) and event.phase == "verified" and not event.until:
            phase = "evaluation"
    return phase, step


class Witness:
    """Begins before the process does. ``output`` is the file that it prints to; ``system`` is
    where the system's own files are."""

    def __init__(self, output: Path, system: Path = Path("/")) -> None:
        self._output = output
        self._system = system
        self._printed = output.stat().st_size if output.exists() else 0
        self._kills = kernel_kills(system)
        self._space: float | None = None

    def look(self, process: int | None) -> None:
        """To be called now and then while it lives."""
        if process is not None:
            self._space = address_space(process, self._system) or self._space

    def verdict(self, exitcode: int) -> Shortage | None:
        """Was it memory?"""
        kills = kernel_kills(self._system) - self._kills
        return death(exitcode, self._said(), kills, self._space)

    def _said(self) -> str:
        if not self._output.exists():
            return ""
        with self._output.open("rb") as file:
            file.seek(self._printed)
            return file.read().decode("utf-8", errors="replace")
