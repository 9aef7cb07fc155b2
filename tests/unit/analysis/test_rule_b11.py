"""B11: a gradient that explodes."""

import numpy as np
import pytest

from backend.analysis.diagnostics.rules.b11_exploding_gradient import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown


def with_norms(norms: list[float], **plan: float) -> Made:
    """These norms at evaluation after evaluation."""
    return healthy(len(norms)).with_curves(train_grad_norm=norms).planned(**plan)


def jumping(*places: int, height: float = 120.0, count: int = 30) -> Made:
    norms = [1.0] * count
    for place in places:
        norms[place] = height
    return with_norms(norms)


def clipped(
    norm: float, share: float = 1.0, earlier: float | None = None, limit: float = 1.0
) -> Made:
    made = with_norms([earlier or norm] * 20 + [norm] * 20, clip=limit)
    return made.with_curves(train_clipped=np.full(40, share))


def test_three_jumps_within_twenty() -> None:
    found = fired(RULE, jumping(10, 12, 14))
    assert found.severity == "error"
    assert "jumps to 120 from a usual 1" in found.headline
    assert [turn.role for turn in found.advice.change] == ["clip", "lr"]
    clear(RULE, jumping(10, 12))
    clear(RULE, jumping(10, 12, 14, height=90.0))


def test_jumps_far_apart_are_single_bad_batches() -> None:
    clear(RULE, jumping(5, 15, 25))
    assert fired(RULE, jumping(5, 15, 24))


def test_when_it_is_heard_of() -> None:
    assert first_step(RULE, jumping(10, 12, 14)) == 16 * 25
    assert first_step(RULE, healthy()) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number(value: float) -> None:
    made = with_norms([1.0] * 10 + [value] + [1.0] * 3)
    found = fired(RULE, made)
    assert (found.severity, found.step) == ("error", 275)
    assert found.sure == "proven"
    assert f"is {value} at step 275" in found.headline


def test_float16_overflows_now_and_then() -> None:
    norms = [1.0] * 30
    norms[4] = np.inf
    scaled = with_norms(norms).replace(config={"runner.amp": "float16"})
    clear(RULE, scaled)
    assert fired(RULE, scaled.first(10))


def test_a_gradient_that_grew_and_is_only_held_by_its_limit() -> None:
    found = fired(RULE, clipped(12.0, earlier=1.0))
    assert found.severity == "error"
    assert "100% of the steps are clipped, at 12 times" in found.headline
    assert fired(RULE, clipped(12.0, earlier=2.0)).severity == "info"


def test_clipping_all_along_is_a_recipe_of_detection_transformers() -> None:
    found = fired(RULE, clipped(20.0, limit=0.5))
    assert found.severity == "info"
    assert not found.advice.change
    clear(RULE, clipped(9.0))
    clear(RULE, clipped(20.0, share=0.9))
    clear(RULE, clipped(20.0, limit=0.0))


def test_too_little_is_not_evaluated() -> None:
    unknown(RULE, jumping(10).first(3), "fewer than 20 steps")
    unknown(RULE, jumping(10).without("train/grad_norm"), "norm was not logged")
    unknown(RULE, jumping(10).without("train/clipped"), "clipped steps was not logged")
    unknown(RULE, jumping(10).replace(plan=None), "is not known")
    short = healthy(4, every=5).with_curves(train_grad_norm=[1, 1, 1, 1])
    unknown(RULE, short.planned(warmup_steps=0), "fewer than 20 steps")
    assert fired(RULE, jumping(10, 12, 14).without("train/clipped"))


def test_jumps_are_against_the_runs_own_norm() -> None:
    made = jumping(10, 12, 14)
    assert fired(RULE, made.with_curves(train_grad_norm=made.curves["train/grad_norm"] * 1e-6))
