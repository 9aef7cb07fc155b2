"""The part of a training's report that says what is wrong with it, and what to do."""

from backend.analysis import text
from backend.analysis.diagnostics.actions import written
from backend.analysis.report.blocks import Block, bullets, cell, code, table
from backend.core.diagnosis import Action, Diagnosis, DiagnosticFinding


def blocks(diagnosis: Diagnosis | None) -> list[Block]:
    """Verdict, findings with numbers and actions, and what was not looked at."""
    if diagnosis is None:
        return []
    return [
        "## Diagnosis",
        f"**{cell(diagnosis.verdict)}**",
        *(block for finding in diagnosis.findings for block in _finding(finding)),
        *_also_seen(diagnosis),
        *_rest(diagnosis),
    ]


def _finding(found: DiagnosticFinding) -> list[Block]:
    since = f", since step {found.step}" if found.step else ""
    why = found.cause.rstrip(".")
    known = why.lower() in found.headline.lower()  # the headline tells it already
    cause = "" if known else f" Cause: {cell(why)}."
    rows = [
        (cell(fact.name), _value(fact.value), _value(fact.limit), _step(fact.step))
        for fact in found.evidence
    ]
    about = f"{found.rule}, {found.sure}{since}"
    return [
        f"### {found.severity.capitalize()}: {cell(found.title)} ({about})",
        f"{cell(found.headline.rstrip('.'))}.{cause}",
        *([table(("what was seen", "value", "limit", "step"), rows, left=1)] if rows else []),
        *_action(found.action),
    ]


def _action(action: Action) -> list[Block]:
    changes = [
        (code(change.key), code(written(change.now)), code(written(change.proposed)))
        for change in action.changes
    ]
    commands = [
        *([f"Try it: {code(action.command)}"] if action.command else []),
        *([f"Try several: {code(action.study)}"] if action.study else []),
    ]
    return [
        *([f"Next: {cell(action.advice.rstrip('.'))}."] if action.advice else []),
        *([table(("key", "now", "proposed"), changes, left=3)] if changes else []),
        *([bullets(commands)] if commands else []),
    ]


def _also_seen(diagnosis: Diagnosis) -> list[Block]:
    if not diagnosis.also_seen:
        return []
    said = [f"{f.rule} {cell(f.title)}: {cell(f.headline)}" for f in diagnosis.also_seen]
    return ["Also seen, and explained by the above:", bullets(said)]


def _rest(diagnosis: Diagnosis) -> list[Block]:
    looked = f"Looked at, nothing found: {', '.join(diagnosis.clear)}." if diagnosis.clear else ""
    rows = [(n.rule, cell(n.title), cell(n.reason)) for n in diagnosis.not_evaluated]
    return [
        *([looked] if looked else []),
        *([table(("not evaluated", "", "because"), rows, left=3)] if rows else []),
    ]


def _step(step: int | None) -> str:
    return "" if step is None else str(step)


def _value(value: float | str | None) -> str:
    if value is None:
        return ""
    return cell(value) if isinstance(value, str) else text.plain(value)
