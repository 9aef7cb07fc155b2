"""Progress bars as readers of the event stream."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from backend.core.diagnosis import Diagnosis
from backend.core.events import (
    Diagnosed,
    Envelope,
    Event,
    FreezeReported,
    MetricsLogged,
    Noted,
    Prepared,
    Recovered,
    RunFinished,
    RunStarted,
)


class TrainingProgress:
    """One bar per running training, and one above them for the whole if there is a whole.

    Without a terminal a line is printed per finished training instead.
    """

    def __init__(self, title: str = "", total: int | None = None, done: int = 0) -> None:
        self._console = Console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._whole: TaskID | None = None
        if title:
            self._whole = self._progress.add_task(title, total=total, completed=done, state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def reader(self, label: str = "training", notes: bool = False) -> "TrainingReader":
        """A sink that draws one training; ``notes``: and says what trains, and how fast."""
        return TrainingReader(self, label, notes)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def advance(self) -> None:
        """One part of the whole is done."""
        if self._whole is not None:
            self._progress.advance(self._whole)


class TrainingReader:
    """Draws one training: its epochs, and the metric that ranks its checkpoints."""

    def __init__(self, owner: TrainingProgress, label: str, notes: bool = False) -> None:
        self._owner = owner
        self._notes = notes
        self._bars = owner._progress
        self._label = label
        self._task = self._bars.add_task(label, total=None, state="starting")
        self._headline, self._epochs = "", 0
        self._best: float | None = None
        self._last = ""
        self._said: set[str] = set()
        self._born = time.time()

    def receive(self, envelope: Envelope) -> None:
        event = envelope.event
        if isinstance(event, RunStarted):
            self._headline, self._epochs = event.headline, event.epochs
            self._bars.update(self._task, total=event.epochs, state="first epoch")
        elif isinstance(event, Prepared):
            self._prepared(event)
        elif isinstance(event, MetricsLogged) and self._headline in event.metrics:
            value = event.metrics[self._headline]
            self._best = value if self._best is None else max(self._best, value)
            self._last = f"{self._headline} {value:.3f}"
            self._bars.update(self._task, completed=event.epoch, state=self._last)
        elif envelope.time >= self._born:  # else told before, when the run was interrupted
            self._tell(event)

    def _prepared(self, event: Prepared) -> None:
        """The bar counts it until all is there; a line says when it begins, and each tenth."""
        done, total = event.done, event.total
        if done == total:
            self._bars.update(self._task, total=self._epochs, completed=0, state="first epoch")
        else:
            self._bars.update(self._task, total=total, completed=done, state=event.what)
        tenth = total and done * 10 // total > (done - 1) * 10 // total
        if done == 0 or tenth:
            counted = f" {done} of {total}" if total else ""
            self._owner.say(f"  {self._label}: before the first step: {event.what}{counted}")

    def _tell(self, event: Event) -> None:
        """What is said in a line that stays."""
        if isinstance(event, Noted) and event.level == "warning":
            self._owner.say(f"  {self._label}: {event.message}")
        elif isinstance(event, FreezeReported) and event.phase == "declared" and self._notes:
            for note in event.notes:
                self._owner.say(f"  {self._label}: {note}")
        elif isinstance(event, Recovered):
            self._owner.say(f"  {self._label}: memory ran out ({event.cause}); {event.action}")
        elif isinstance(event, Diagnosed):
            self._diagnosed(event.diagnosis)
        elif isinstance(event, RunFinished) and not event.refused:
            best = "" if self._best is None else f", best {self._headline} {self._best:.3f}"
            reason = f": {event.reason}" if event.status == "failed" else ""
            self._owner.say(f"  {self._label}: {event.status}{best}{reason}")

    def _diagnosed(self, diagnosis: Diagnosis) -> None:
        """Say each grave finding once."""
        for found in diagnosis.findings:
            if found.severity in ("error", "stop") and found.rule not in self._said:
                self._said.add(found.rule)
                headline = found.headline.rstrip(".")
                self._owner.say(f"  {self._label}: {found.severity}: {headline} ({found.rule})")

    def close(self) -> None:
        self._bars.remove_task(self._task)
        self._owner.advance()
