"""Real healthy runs of every trainer, stored as what they told: no rule finds fault with them.

``python benchmarks/make_healthy_bank.py`` trains them anew.
"""

from functools import cache

import pytest

from backend.analysis.diagnostics.engine import diagnose
from backend.core.diagnosis import Diagnosis
from tests.support.healthy_bank import Banked, bank, written

KINDS = ("mdfed", "moe", "yolo")
WARNED = 0.01
"""Share of runs that may hear a warning."""


@cache
def course(name: str) -> tuple[Diagnosis, ...]:
    """What is said of a run at each of its evaluations, and at its end."""
    evidence = next(run for run in bank() if run.name == name).evidence()
    return tuple(diagnose(seen) for seen in (*map(evidence.until, evidence.evaluations), evidence))


def said(name: str) -> dict[str, str]:
    """Rule to severity of whatever was said at any point of the run."""
    return {
        finding.rule: finding.severity
        for diagnosis in course(name)
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


@pytest.mark.parametrize("seed", range(5))
def test_an_event_spotter_converges_at_its_end_and_not_before_step_200(seed: int) -> None:
    told = course(f"mdfed-default-{seed}")
    assert all(said.worst in {None, "info"} for said in told)
    assert told[-1].state == "converged"
    assert min(said.step for said in told if said.state == "converged") >= 200


def test_a_stored_run_is_read_as_it_was_written() -> None:
    run = bank()[0]
    assert written(Banked.model_validate_json(written(run))) == written(run)
