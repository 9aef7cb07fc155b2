"""What a test of a rule asks."""

import re

from backend.analysis.diagnostics.confirm import confirmed
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Clear, Fired, Rule, Unknown
from tests.support.evidence_made import Made

UGLY = re.compile(r"  |\.\.|\. [a-z]|\s$")
"""Two blanks or stops, and a sentence that begins small."""


def fired(rule: Rule, seen: Evidence | Made) -> Fired:
    """It fires, and says what with."""
    verdict = rule.judge(_evidence(seen))
    assert isinstance(verdict, Fired), verdict
    assert verdict.evidence
    for said in (verdict.headline, verdict.advice.text):
        assert said
        assert not UGLY.search(said), said
    return verdict


def clear(rule: Rule, seen: Evidence | Made) -> None:
    """It looked and found nothing."""
    assert rule.judge(_evidence(seen)) == Clear()


def unknown(rule: Rule, seen: Evidence | Made, why: str) -> None:
    """It does not judge, for this reason."""
    verdict = rule.judge(_evidence(seen))
    assert isinstance(verdict, Unknown), verdict
    assert why in verdict.reason


def first_step(rule: Rule, made: Made) -> int | None:
    """The step at which a training hears of it first, None if never."""
    for count in range(1, len(made.steps) + 1):
        if isinstance(confirmed(rule, made.first(count).evidence()), Fired):
            return made.steps[count - 1]
    return None


def _evidence(seen: Evidence | Made) -> Evidence:
    return seen.evidence() if isinstance(seen, Made) else seen
