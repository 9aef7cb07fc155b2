"""B13: frozen parameters and buffers that move."""

from typing import Any

from backend.analysis.diagnostics.rules.b13_frozen_moving import RULE
from backend.core.events import FreezeReported
from tests.support.evidence_made import Made, healthy, movement
from tests.support.rule_checks import clear, fired, first_step, unknown


def looked(begin: int = 3, **changes: Any) -> Made:
    """From an evaluation on something is wrong."""
    return healthy().replace(
        observers=(
            lambda place, step: movement(step, step - 25, **(changes if place >= begin else {})),
        )
    )


def verified(*violations: str, phase: str = "verified") -> FreezeReported:
    return FreezeReported.model_validate(
        {"phase": phase, "strategy": "encoder", "groups": (), "frozen_tensors": 8,
         "violations": violations}
    )  # fmt: skip


def test_a_bit_that_moved() -> None:
    found = fired(RULE, looked(thawed=("encoder.weight", "encoder.bias")))
    assert (found.severity, found.sure) == ("error", "proven")
    assert found.headline == "2 frozen tensors moved, among them encoder.weight"
    assert found.step == 100
    assert first_step(RULE, looked(thawed=("encoder.weight",))) == 100


def test_a_teacher_in_training_mode() -> None:
    found = fired(RULE, looked(thawed=("teacher.norm.running_mean",), training=("teacher",)))
    assert found.headline == "Frozen module in training mode: teacher, and 1 tensor moved"
    assert "batch norm" in found.cause
    found = fired(RULE, looked(training=("teacher.dropout",)))
    assert found.headline == "Frozen module in training mode: teacher.dropout"


def test_only_the_first_names_are_listed() -> None:
    names = tuple(f"encoder.{place}" for place in range(20))
    assert [fact.value for fact in fired(RULE, looked(thawed=names)).evidence] == [
        20.0, *names[:5],
    ]  # fmt: skip


def test_the_check_at_the_end() -> None:
    blind = healthy().replace(observers=())
    found = fired(RULE, blind.replace(extra=(verified("backbone.bn"),)))
    assert "backbone.bn" in found.headline
    clear(RULE, blind.replace(extra=(verified(),)))


def test_healthy_runs_are_clear() -> None:
    clear(RULE, looked())
    clear(RULE, healthy())


def test_without_looks_it_is_not_evaluated() -> None:
    blind = healthy().replace(observers=())
    unknown(RULE, blind, "was not observed")
    unknown(RULE, blind.replace(extra=(verified("x", phase="declared"),)), "was not observed")
