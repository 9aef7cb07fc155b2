"""Events that a run outlived, and a run that is judged again and again as it grows."""

import math

import numpy as np
import pytest

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.memory import Memory
from backend.analysis.diagnostics.rule import Clear, Fired
from backend.analysis.diagnostics.rules.b06_nonfinite import RULE as B06
from backend.analysis.diagnostics.rules.b11_exploding_gradient import RULE as B11
from backend.core.events import (
    DataSurveyed,
    Event,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    NonfiniteSeen,
    RunFinished,
    RunStarted,
)
from tests.support.evidence_made import Made, healthy, zeros

BROKEN = NonfiniteSeen(step=310, where="gradient", name="encoder")


def resumed(made: Made, epoch: int | None) -> RunStarted:
    start = made.events()[0]
    assert isinstance(start, RunStarted)
    return start.model_copy(update={"resumed_from": epoch})


@pytest.mark.parametrize("epoch", [None, 8, 12])
def test_what_was_no_number_before_a_resume_does_not_stop_the_run_again(epoch: int | None) -> None:
    made = healthy()
    first = made.first(14).events()
    lost = MetricsLogged(step=310, epoch=13, metrics={"train/loss": math.nan})
    assert isinstance(B06.judge(evidence_of([*first, BROKEN])), Fired)
    assert isinstance(B06.judge(evidence_of([*first, lost])), Fired)
    again = resumed(made, epoch)
    assert not isinstance(B06.judge(evidence_of([*first, BROKEN, lost, again])), Fired)
    later = made.events()[2:]
    assert B06.judge(evidence_of([*first, BROKEN, lost, again, *later])) == Clear()
    seen = evidence_of([*first, again, BROKEN])
    assert isinstance(B06.judge(seen), Fired), "it is no number still"


def test_a_norm_of_an_earlier_attempt_is_not_told_of_again() -> None:
    made = healthy()
    lost = MetricsLogged(step=301, epoch=13, metrics={"train/grad_norm": math.inf})
    first = [*made.first(12).events(), lost]
    assert isinstance(B11.judge(evidence_of(first)), Fired)
    assert not isinstance(B11.judge(evidence_of([*first, resumed(made, 13)])), Fired)


def test_steps_that_a_resume_takes_again_are_replaced() -> None:
    made = healthy()
    seen = evidence_of([*made.events(), RunFinished(status="stopped"), resumed(made, 10)])
    assert seen.step == 250
    assert seen.evaluations[-1] == 250
    assert max(look.step for look in seen.movements) == 250
    assert [probe.step for probe in seen.probes] == [150]
    assert seen.survey is not None
    assert seen.finished is None


def test_a_run_that_begins_anew_keeps_nothing_but_its_data() -> None:
    made = healthy()
    seen = evidence_of([*made.events(), resumed(made, None)])
    assert not seen.all(MetricsLogged)
    assert not seen.all(MovementObserved)
    assert not seen.all(InputProbed)
    assert len(seen.all(DataSurveyed)) == 1


@pytest.mark.parametrize("made", [healthy(), zeros()], ids=["healthy", "zeros"])
def test_with_a_memory_each_diagnosis_is_the_same(made: Made) -> None:
    memory, events = Memory(), made.events()
    for place in range(0, len(events) + 1, 7):
        remembered = diagnose(evidence_of(events[:place], memory=memory))
        assert remembered == diagnose(evidence_of(events[:place]))


def test_a_memory_of_another_run_is_lost() -> None:
    memory = Memory()
    diagnose(evidence_of(zeros().events(), memory=memory))
    other = healthy()
    assert diagnose(evidence_of(other.events(), memory=memory)) == diagnose(other.evidence())


def test_a_value_that_comes_late_or_again_takes_its_place() -> None:
    told: list[Event] = [
        MetricsLogged(step=step, epoch=1, metrics={"train/loss": value})
        for step, value in ((10, 1.0), (30, 3.0), (20, 2.0), (30, 4.0), (40, math.inf))
    ]
    curve = evidence_of(told).curves["train/loss"]
    assert np.array_equal(curve.steps, [10, 20, 30])
    assert np.array_equal(curve.values, [1.0, 2.0, 4.0])
    assert evidence_of(told).broken == {(40, "train/loss"): math.inf}
    assert evidence_of(told).until(30).broken == {}


def test_nothing_has_a_beginning_too() -> None:
    assert evidence_of(()).until(5).events == ()
    assert evidence_of(()).until(5).until(3).curves == {}
