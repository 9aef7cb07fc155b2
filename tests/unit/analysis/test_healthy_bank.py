"""Real healthy runs of every trainer, stored as what they told: no rule finds fault with them.

``python benchmarks/make_healthy_bank.py`` trains them anew.
"""

from functools import cache

import pytest

from backend.analysis.diagnostics.engine import diagnose
from tests.support.healthy_bank import Banked, bank, written

KINDS = ("mdfed", "moe", "yolo")
WARNED = 0.01
"""Share of runs that may hear a warning."""


@cache
def said(name: str) -> dict[str, str]:
    """Rule to severity of whatever was said at any of eight points of the run, or at its end."""
    run = next(run for run in bank() if run.name == name)
    evidence = run.evidence()
    steps = evidence.evaluations
    some = steps[:: max(1, len(steps) // 8)]
    found = [diagnose(seen) for seen in (*(evidence.until(step) for step in some), evidence)]
    return {
        finding.rule: finding.severity
        for diagnosis in found
        for finding in (*diagnosis.findings, *diagnosis.also_seen)
        if finding.severity != "info"
    }


NAMES = [run.name for run in bank()]


def test_the_bank_holds_thirty_runs_of_all_trainers() -> None:
    assert len(NAMES) >= 30
    for kind in KINDS:
        assert any(name.startswith(kind) for name in NAMES), kind


@pytest.mark.parametrize("name", NAMES)
def test_a_healthy_run_has_no_error_at_any_point(name: str) -> None:
    assert [rule for rule, severity in said(name).items() if severity != "warning"] == []


def test_warnings_are_rare() -> None:
    warned = {name: [*said(name)] for name in NAMES if said(name)}
    assert len(warned) <= WARNED * len(NAMES), warned


def test_a_stored_run_is_read_as_it_was_written() -> None:
    run = bank()[0]
    assert written(Banked.model_validate_json(written(run))) == written(run)
