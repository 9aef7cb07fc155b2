"""B06: a value is no number."""

import numpy as np
import pytest

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.rules.b06_nonfinite import RULE
from backend.core.events import NonfiniteSeen
from tests.support.evidence_made import Made, healthy, quality, zeros
from tests.support.rule_checks import clear, fired, first_step, unknown


def seen(*events: NonfiniteSeen) -> Made:
    return healthy().replace(extra=events)


def test_where_it_arose_and_in_whose_step() -> None:
    later = NonfiniteSeen(step=60, where="parameter", name="encoder.weight")
    first = NonfiniteSeen(step=37, where="gradient", name="encoder", samples=("clip3", "clip7"))
    found = fired(RULE, seen(later, first))
    assert (found.severity, found.step, found.sure) == ("stop", 37, "proven")
    assert "the gradient 'encoder' is no number, in the step of clip3, clip7" in found.headline
    assert found.advice.change[0].role == "lr"


def test_it_is_certain_at_once_even_in_the_warm_up() -> None:
    early = seen(NonfiniteSeen(step=3, where="loss", name="lcl_loss")).planned(warmup_steps=500)
    assert first_step(RULE, early) == 25


def test_an_input_that_is_no_number_is_the_cause() -> None:
    found = fired(RULE, seen(NonfiniteSeen(step=1, where="input", name="joints")))
    assert "D02" in found.cause
    assert not found.advice.change
    damaged = seen(NonfiniteSeen(step=1, where="loss", name="lcl_loss"))
    damaged = damaged.surveyed(quality=(quality("train", 160, nonfinite=1),))
    assert "D02" in fired(RULE, damaged).cause


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_metric_that_was_logged(value: float) -> None:
    loss = healthy().curves["val/loss"].copy()
    loss[7] = value
    found = fired(RULE, healthy().with_curves(val_loss=loss))
    assert (found.step, found.severity) == (200, "stop")
    assert "val/loss is" in found.headline


def test_a_scaler_that_leaves_out_too_many_steps() -> None:
    """The first 200 steps are the scaler's own search."""
    steps = np.arange(25, 601, 25)
    settled = np.minimum(steps, 200) * 0.5
    clear(RULE, healthy().with_curves(train_steps_left_out=settled))
    few = settled + np.clip(steps - 200, 0, None) * 0.05
    clear(RULE, healthy().with_curves(train_steps_left_out=few))
    many = settled + np.clip(steps - 200, 0, None) * 0.06
    found = fired(RULE, healthy().with_curves(train_steps_left_out=many))
    assert "6.0 % of the steps after step 200" in found.headline
    assert found.severity == "stop"


def test_it_explains_everything_else() -> None:
    made = zeros().replace(extra=(NonfiniteSeen(step=5, where="loss", name="lcl_loss"),))
    said = diagnose(made.evidence())
    assert [f.rule for f in said.findings] == ["B06"]
    assert {"D01", "D02", "B01", "B03"} <= set(said.findings[0].silenced)


def test_finite_numbers_are_clear_and_nothing_is_unknown() -> None:
    clear(RULE, healthy())
    unknown(RULE, healthy().first(0), "nothing was logged")
    unknown(RULE, evidence_of([]), "nothing was logged")


def test_a_validation_without_a_number_stops_the_run() -> None:
    loss = healthy().curves["val/loss"].copy()
    loss[3] = np.nan
    assert fired(RULE, healthy().with_curves(val_loss=loss)).severity == "stop"
