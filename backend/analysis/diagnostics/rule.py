"""What a rule is: evidence in, finding out. One rule per file."""

from collections.abc import Callable
from dataclasses import dataclass

from backend.analysis.diagnostics.evidence import Evidence
from backend.core.diagnosis import Fact, Severity, Shown, Sure, Value
from backend.core.trainer import Role


@dataclass(frozen=True)
class Turn:
    """A lever to turn: its values now times ``times``, or else ``values``.

    Of several, the first is the one config change that is proposed; all are the study.
    """

    role: Role
    times: tuple[float, ...] = ()
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Advice:
    """The next action: in words, as levers of one config change, and as levers of a study."""

    text: str
    change: tuple[Turn, ...] = ()
    study: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Fired:
    """The rule found something."""

    severity: Severity
    headline: str
    advice: Advice
    cause: str = ""
    sure: Sure = "likely"
    evidence: tuple[Fact, ...] = ()
    curves: tuple[Shown, ...] = ()
    step: int | None = None


@dataclass(frozen=True)
class Clear:
    """The rule looked, and found nothing."""


@dataclass(frozen=True)
class Unknown:
    """The rule has not what it needs; never taken for ``Clear``."""

    reason: str


Verdict = Fired | Clear | Unknown


def any_run(evidence: Evidence) -> bool:
    """A rule for every run."""
    return True


@dataclass(frozen=True)
class Rule:
    """One line of the catalogue.

    ``judge`` is a pure function. ``confirm``: evaluations in a row that must agree before the rule
    fires or clears (1 for what is certain at once). ``concerns``: is this a run of the kind that
    it knows? It says nothing of others. ``explains`` are rules that are silenced when
    this one fires with at least severity error. ``needs``, ``condition``, ``threshold``,
    ``source`` and ``example`` are the catalogue's page, one sentence each.
    """

    id: str
    title: str
    judge: Callable[[Evidence], Verdict]
    needs: str
    condition: str
    threshold: str
    source: str
    example: str
    confirm: int = 2
    explains: tuple[str, ...] = ()
    concerns: Callable[[Evidence], bool] = any_run
