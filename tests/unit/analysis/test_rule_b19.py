"""B19: nothing was, or will be, evaluated."""

from backend.analysis.diagnostics.rules.b19_not_evaluated import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, unknown


def unevaluated() -> Made:
    return healthy().without("val/edit")


def test_a_plan_without_an_evaluation_is_an_error_before_it_starts() -> None:
    made = unevaluated().planned(validations=0, first_validation=None)
    for seen in (made.first(0), made):
        found = fired(RULE, seen)
        assert found.severity == "error"
        assert "absent, not zero" in found.headline
        assert [t.role for t in found.advice.change] == ["validation_begin", "validation_interval"]


def test_a_run_that_ended_without_one() -> None:
    made = unevaluated().replace(end="finished")
    assert "ended at step 600" in fired(RULE, made).headline
    assert fired(RULE, made.replace(plan=None))


def test_a_run_that_was_stopped_before_its_first_is_not_accused() -> None:
    """A training that a cluster's signal ended in its first epoch is continued later."""
    made = unevaluated().replace(end="stopped").planned(first_validation=10_000)
    unknown(RULE, made, "stopped before its first evaluation")


def test_a_run_that_waits_for_its_first_is_clear() -> None:
    clear(RULE, unevaluated().first(1))
    clear(RULE, healthy().first(0))
    clear(RULE, healthy())


def test_without_a_plan_it_is_unknown() -> None:
    unknown(RULE, unevaluated().replace(plan=None), "not known")


def test_what_was_evaluated_all_the_same_is_clear() -> None:
    clear(RULE, healthy().planned(validations=0, first_validation=None))
    clear(RULE, healthy().replace(plan=None, end="finished"))
