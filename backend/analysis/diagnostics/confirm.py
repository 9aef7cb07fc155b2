"""When a rule may speak: after the warm-up, and not for one evaluation alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeGuard

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Clear, Fired, Rule, Unknown, Verdict


def confirmed(rule: Rule, evidence: Evidence) -> Verdict:
    """The rule's verdict by the last evaluations: ``rule.confirm`` in a row must agree before it
    fires, and before it clears again. ``Fired.step`` is where the condition held first."""
    if rule.confirm == 1:
        found = rule.judge(evidence)
        return _placed(found, evidence.step) if isinstance(found, Fired) else found
    now = _guarded(rule, evidence)
    if isinstance(now, Unknown):
        return now
    firing = _replayed(_recent(rule, evidence, now), rule.confirm)
    if firing is not None:
        return firing
    if isinstance(now, Fired):
        return Unknown(f"seen at step {evidence.step} only; another evaluation must confirm it")
    return now


def _recent(rule: Rule, evidence: Evidence, now: Verdict) -> list[tuple[int, Verdict]]:
    """Step and verdict at the last evaluations, the oldest first: back to where the rule was
    clear for certain, or to where it had not what it needs."""
    seen = [(evidence.step, now)]
    for step, verdict in _earlier(rule, evidence):
        if isinstance(verdict, Unknown) or _agree(seen[-rule.confirm :], rule.confirm, Clear):
            break
        seen.append((step, verdict))
    return seen[::-1]


def _earlier(rule: Rule, evidence: Evidence) -> Iterator[tuple[int, Verdict]]:
    for step in reversed(evidence.evaluations[:-1]):
        known = evidence.said(step).get(rule.id)
        yield step, known if _is_verdict(known) else _guarded(rule, evidence.until(step))


def _replayed(seen: Sequence[tuple[int, Verdict]], needed: int) -> Fired | None:
    """What fires at the end of these evaluations, None if nothing does."""
    firing: Fired | None = None
    for place, (_, verdict) in enumerate(seen):
        recent = seen[max(0, place + 1 - needed) : place + 1]
        if _agree(recent, needed, Clear):
            firing = None
        elif isinstance(verdict, Fired) and firing is not None:
            firing = _placed(verdict, firing.step)
        elif isinstance(verdict, Fired) and _agree(recent, needed, Fired):
            firing = _placed(verdict, recent[0][0])
    return firing


def _agree(recent: Sequence[tuple[int, Verdict]], needed: int, kind: type[Verdict]) -> bool:
    return len(recent) == needed and all(isinstance(verdict, kind) for _, verdict in recent)


def _guarded(rule: Rule, evidence: Evidence) -> Verdict:
    """What the rule says, if it may speak; asked once for each state of a run."""
    known = evidence.verdicts.get(rule.id)
    if not _is_verdict(known):
        known = evidence.verdicts[rule.id] = _asked(rule, evidence)
    return known


def _asked(rule: Rule, evidence: Evidence) -> Verdict:
    if evidence.warm:
        return rule.judge(evidence)
    until = evidence.plan.warmup_steps if evidence.plan else 0
    return Unknown(f"the warm-up lasts until step {until}")


def _is_verdict(known: object) -> TypeGuard[Verdict]:
    return isinstance(known, Fired | Clear | Unknown)


def _placed(fired: Fired, step: int | None) -> Fired:
    return fired if fired.step is not None else replace(fired, step=step)
