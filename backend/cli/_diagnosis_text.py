"""A diagnosis as text and tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backend.cli._common import table
from backend.core.diagnosis import Action, Diagnosis, DiagnosticFinding, Fact
from backend.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Group


def only(diagnosis: Diagnosis, rule: str) -> Diagnosis:
    """What one rule says, silenced or not. Raises ConfigError for a rule that there is not."""
    name = rule.upper()
    found = tuple(f for f in (*diagnosis.findings, *diagnosis.also_seen) if f.rule == name)
    unknown = tuple(n for n in diagnosis.not_evaluated if n.rule == name)
    clear = tuple(r for r in diagnosis.clear if r == name)
    if not (found or unknown or clear):
        known = sorted(
            {
                *(f.rule for f in (*diagnosis.findings, *diagnosis.also_seen)),
                *(n.rule for n in diagnosis.not_evaluated),
                *diagnosis.clear,
            }
        )
        raise ConfigError(f"no rule '{rule}'; there is: {', '.join(known)}")
    changes = {"findings": found, "also_seen": (), "clear": clear, "not_evaluated": unknown}
    return diagnosis.model_copy(update=changes)


def pages(diagnosis: Diagnosis, verbose: bool = False) -> list["str | Group"]:
    """The verdict, each finding, and what was not found or not looked for."""
    drawn: list[str | Group] = [diagnosis.verdict]
    for finding in diagnosis.findings:
        drawn += ["", *_finding(finding)]
    if diagnosis.also_seen:
        drawn += ["", "also seen, and explained by the above:"]
        for finding in diagnosis.also_seen:
            said = f"  {finding.rule} {finding.title}: {finding.headline}"
            drawn += _finding(finding) if verbose else [said]
    if diagnosis.clear:
        drawn += ["", f"looked at, nothing found: {', '.join(diagnosis.clear)}"]
    if diagnosis.not_evaluated:
        drawn += ["", "not evaluated:"]
        drawn += [f"  {n.rule} {n.title}: {n.reason}" for n in diagnosis.not_evaluated]
    return drawn


def _finding(finding: DiagnosticFinding) -> list["str | Group"]:
    since = f", since step {finding.step}" if finding.step else ""
    drawn: list[str | Group] = [
        f"{finding.severity}: {finding.title} ({finding.rule}, {finding.sure}{since})",
        f"  {finding.headline}",
    ]
    if finding.cause and finding.cause not in finding.headline:
        drawn.append(f"  cause: {finding.cause}")
    if finding.evidence:
        drawn.append(_facts(finding.evidence))
    return [*drawn, *_action(finding.action)]


def _facts(facts: Sequence[Fact]) -> "Group":
    rows = [
        (
            fact.name,
            _value(fact.value),
            _value(fact.limit),
            "" if fact.step is None else str(fact.step),
        )
        for fact in facts
    ]
    return table("", ("what was seen", "value", "limit", "step"), rows)


def _action(action: Action) -> list["str | Group"]:
    """What to do: in words, as a config difference, and as commands."""
    from backend.analysis.diagnostics.actions import written

    lines: list[str | Group] = [f"  next: {action.advice}"] if action.advice else []
    lines += [
        f"    {change.key}: {written(change.now)} -> {written(change.proposed)}"
        for change in action.changes
    ]
    if action.command:
        lines.append(f"    {action.command}")
    if action.study:
        lines.append(f"    or try several: {action.study}")
    return lines


def _value(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4g}"
