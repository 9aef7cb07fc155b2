"""What the diagnostics say of a run."""

from typing import Literal

from pydantic import Field

from backend.core.records import Record

Severity = Literal["info", "warning", "error", "stop"]
"""``error``: the run will not give a useful model as it is; ``stop``: going on is a waste."""

Sure = Literal["proven", "likely", "possible"]
"""How well the evidence supports a cause."""

SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "stop")

Value = bool | int | float | str | None
"""A value of a config."""


class Fact(Record):
    """One number that was seen: what it is, its value, and the limit that it broke."""

    name: str
    value: float | str
    limit: float | str | None = None
    step: int | None = None


class Shown(Record):
    """A curve to look at: a metric's key, and levels to draw in (baselines, thresholds)."""

    key: str
    levels: dict[str, float] = Field(default_factory=dict)


class Change(Record):
    """A config key's value as it is and as it is proposed."""

    key: str
    now: Value
    proposed: Value


class Action(Record):
    """What to do next. ``changes`` are one config change, which ``command`` starts; ``search``
    (key to values) is a study, which ``study`` starts. Commands are empty where the run's config
    is not known or has no such key."""

    advice: str
    changes: tuple[Change, ...] = ()
    command: str = ""
    search: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    study: str = ""


class DiagnosticFinding(Record):
    """Something that a rule found.

    ``step`` is where it fired first. ``silenced`` are rules that fired too and that this one
    explains. ``sure``: how well the evidence supports the cause.
    """

    rule: str
    title: str
    severity: Severity
    headline: str
    cause: str = ""
    sure: Sure = "likely"
    step: int | None = None
    evidence: tuple[Fact, ...] = ()
    curves: tuple[Shown, ...] = ()
    action: Action = Action(advice="")
    silenced: tuple[str, ...] = ()


class NotEvaluated(Record):
    """A rule that had not what it needs."""

    rule: str
    title: str
    reason: str


class Diagnosis(Record):
    """All rules on one run, as it stood at ``step``; the gravest finding first.

    ``state``: ``sick`` with a finding of severity error or stop; else ``early`` before enough was
    seen, ``improving``, ``converged`` or ``finished`` (neither could be shown). ``verdict`` says
    it in one line. ``also_seen`` are the silenced findings, ``clear`` the rules that looked and
    found nothing.
    """

    step: int
    state: Literal["early", "improving", "converged", "finished", "sick"]
    verdict: str
    findings: tuple[DiagnosticFinding, ...] = ()
    also_seen: tuple[DiagnosticFinding, ...] = ()
    clear: tuple[str, ...] = ()
    not_evaluated: tuple[NotEvaluated, ...] = ()

    @property
    def worst(self) -> Severity | None:
        """The gravest severity, None without findings."""
        found = [finding.severity for finding in self.findings]
        return max(found, key=SEVERITIES.index, default=None)
