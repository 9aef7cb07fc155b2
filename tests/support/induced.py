"""Real trainings with a fault in them, and what the rules say of their events."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import Evidence, evidence_of
from backend.analysis.diagnostics.live import FatalFindingError, Live
from backend.core.diagnosis import Diagnosis, DiagnosticFinding
from backend.core.errors import AssayError
from backend.core.events import Event, MetricsLogged, RunFinished
from backend.core.trainer import StopSignal
from backend.runner.fit import fit
from backend.runner.training import NoWatch, Point, Training
from tests.support.conformance import Never

BEGAN = "it trains"
NEVER = Never()


@dataclass(frozen=True)
class Induced:
    """A training's events, how it ended, and its diagnosis."""

    events: tuple[Event, ...]
    evidence: Evidence
    diagnosis: Diagnosis
    error: str

    @property
    def head(self) -> DiagnosticFinding:
        """What is told first."""
        return self.diagnosis.findings[0]

    @property
    def seen(self) -> dict[str, DiagnosticFinding]:
        """All that fired, silenced or not."""
        found = (*self.diagnosis.findings, *self.diagnosis.also_seen)
        return {finding.rule: finding for finding in found}


def run(training: Training, folder: Path, stop: StopSignal = NEVER) -> Induced:
    """Train until somebody stops it, whatever the rules say."""
    events: list[Event] = []
    end: str
    try:
        end, error = fit(training, events.append, stop, folder).status, ""
    except AssayError as refused:
        end, error = "failed", str(refused)
    events.append(RunFinished.model_validate({"status": end, "reason": error}))
    return judged(events, training, error)


def checked(training: Training, folder: Path) -> Induced:
    """Begin to train as the worker does: the data rules may end it before the first step, else
    it is ended after that with the error ``BEGAN``."""
    events: list[Event] = []
    error = ""
    live = Live(events.append, NEVER, lambda told, _: diagnose(evidence_of(told)))

    def emit(event: Event) -> None:
        live(event)
        if isinstance(event, MetricsLogged):
            raise FatalFindingError(BEGAN)

    try:
        fit(training, emit, NEVER, folder)
    except (FatalFindingError, AssayError) as ended:
        error = str(ended)
    return judged(events, training, error)


def judged(events: list[Event], training: Training, error: str = "") -> Induced:
    """The rules on what was told."""
    evidence = evidence_of(events, training.config.flat())
    return Induced(tuple(events), evidence, diagnose(evidence), error)


class EachStep(NoWatch):
    """Does something before each step, as faulty code does."""

    def __init__(self, act: Callable[[Point], object]) -> None:
        self._act = act

    def stepping(self, point: Point) -> None:
        """Do it."""
        self._act(point)
