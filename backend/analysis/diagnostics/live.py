"""Rules while a training runs: they look at each validation, and may end the run."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from backend.analysis.diagnostics.judging import Told, said
from backend.core.diagnosis import SEVERITIES, Diagnosis, DiagnosticFinding
from backend.core.events import (
    CheckpointSaved,
    DataSurveyed,
    Diagnosed,
    Evaluated,
    Event,
    FreezeReported,
    MetricsLogged,
    Noted,
    Recovered,
    RunFinished,
    RunStarted,
)
from backend.core.trainer import Emit, StopSignal

Judge = Callable[[Sequence[Event], Told], Diagnosis]
"""Events in; a rule that breaks is told of."""
Limit = Literal["never", "stop", "error"]
AFTER_EVIDENCE = MetricsLogged | CheckpointSaved | FreezeReported | Recovered | Evaluated
"""What comes only when a validation has told all of its evidence."""


class FatalFindingError(Exception):
    """The data rules ended the run before its first step."""


class Live:
    """Stands between a trainer and its event file: an ``Emit`` and a ``StopSignal``.

    Keeps the events, has them judged when a validation has told all, and tells of a diagnosis
    that differs from the one before. A finding of severity ``limit`` or worse ends the run:
    through the signal, or, before the first step, by FatalFindingError out of ``fit``. ``earlier``
    are the events before a resume. Whatever breaks in a rule, the training goes on.
    """

    def __init__(
        self,
        emit: Emit,
        stop: StopSignal,
        judge: Judge,
        limit: Limit = "stop",
        earlier: Iterable[Event] = (),
    ) -> None:
        self._emit = emit
        self._stop = stop
        self._judge = judge
        self._limit = limit
        self._events: list[Event] = [
            event for event in earlier if not isinstance(event, Diagnosed)
        ]
        self._headline = ""
        self._due = False
        self._told: Diagnosis | None = None
        self._warned: set[str] = set()
        self._fatal: DiagnosticFinding | None = None
        self._asked = ""

    def __call__(self, event: Event) -> None:
        """Hand an event on, and judge what is complete with it."""
        if self._due and isinstance(event, AFTER_EVIDENCE):
            self._look()
        self._emit(event)
        self._events.append(event)
        if isinstance(event, RunStarted):
            self._headline = event.headline
        elif isinstance(event, MetricsLogged):
            self._due = self._headline in event.metrics
        elif isinstance(event, DataSurveyed):
            self._look()
            if asked := self._why():
                raise FatalFindingError(asked)

    def reason(self) -> str | None:
        """Somebody else's reason to stop, or the finding that is one."""
        if self._due:
            self._look()
        if (asked := self._stop.reason()) is not None:
            return asked
        return self._why() or None

    def conclude(self, finished: RunFinished) -> RunFinished:
        """Judge the whole run; its last event, with the finding that ended it."""
        if not self._events:
            return finished
        self._look(finished)
        ours = finished.status == "failed" or finished.reason == self._asked != ""
        if self._fatal is None or not ours:
            return finished
        return finished.model_copy(update={"finding": self._fatal.rule})

    def _why(self) -> str:
        """The finding as a reason to stop; empty without one."""
        found = self._fatal
        self._asked = f"{found.rule}: {found.headline}" if found else ""
        return self._asked

    def _look(self, finished: RunFinished | None = None) -> None:
        self._due = False
        try:
            events = [*self._events, finished] if finished else self._events
            diagnosis = self._judge(events, self._warn)
        except Exception as error:  # noqa: BLE001 (no rule is worth a training)
            self._warn(f"the diagnostics broke ({said(error)})")
            return
        self._fatal = fatal(diagnosis, self._limit)
        new = diagnosis != self._told if finished else _gist(diagnosis) != _gist(self._told)
        if new:
            self._told = diagnosis
            self._emit(Diagnosed(diagnosis=diagnosis))

    def _warn(self, what: str) -> None:
        """Once per rule; the error may have other numbers the next time."""
        name = what.partition(" (")[0]
        if name not in self._warned:
            self._warned.add(name)
            self._emit(Noted(level="warning", message=what))


def fatal(diagnosis: Diagnosis, limit: Limit) -> DiagnosticFinding | None:
    """The gravest finding, if it is as severe as what ends a run."""
    if limit == "never" or not diagnosis.findings:
        return None
    gravest = diagnosis.findings[0]
    grave = SEVERITIES.index(gravest.severity) >= SEVERITIES.index(limit)
    return gravest if grave else None


def _gist(diagnosis: Diagnosis | None) -> object:
    """What must differ for a diagnosis to be told anew; numbers in its words change always."""
    if diagnosis is None:
        return None
    findings = {(finding.rule, finding.severity) for finding in diagnosis.findings}
    return diagnosis.state, findings, diagnosis.clear, {n.rule for n in diagnosis.not_evaluated}
