"""B10: a gradient that vanishes on its way back."""

import numpy as np

from backend.analysis.diagnostics.rules.b10_vanishing_gradient import RULE
from tests.support.evidence_made import PARTS, Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import seeing, told


def with_gradients(**sizes: float | list[float]) -> Made:
    """Mean absolute gradients by part, from the sixth evaluation on."""
    made = healthy()
    curves = dict(made.curves)
    for part, size in sizes.items():
        course = curves[f"gradient/{part}/mean_abs"].copy()
        course[5:] = size
        curves[f"gradient/{part}/mean_abs"] = course
    return made.replace(curves=curves)


def test_a_part_without_gradient() -> None:
    found = fired(RULE, with_gradients(encoder=0.9e-7))
    assert found.severity == "error"
    assert "vanished in encoder" in found.headline
    assert "temporal" not in found.headline
    assert found.curves[0].key == "gradient/encoder/mean_abs"
    clear(RULE, with_gradients(encoder=1.1e-7, temporal=1e-5, heads=1e-3))


def test_the_first_part_against_the_last() -> None:
    found = fired(RULE, with_gradients(encoder=0.9e-6, heads=1e-2))
    assert found.severity == "error"
    assert "encoder gets 9.0e-05 of what heads gets" in found.headline
    clear(RULE, with_gradients(encoder=1.1e-6, heads=1e-2))
    clear(RULE, with_gradients(temporal=0.9e-6, heads=1e-2))


def test_three_looks_in_a_row_and_a_second_evaluation() -> None:
    made = with_gradients(encoder=0.0)
    clear(RULE, made.first(7))
    assert fired(RULE, made.first(8))
    assert first_step(RULE, made) == 9 * 25
    assert first_step(RULE, healthy()) is None


def test_no_gradient_anywhere_is_no_fading() -> None:
    found = fired(RULE, with_gradients(encoder=0.0, temporal=0.0, heads=0.0))
    assert "encoder, temporal, heads" in found.headline


def test_looks_at_rate_zero_do_not_count() -> None:
    made = with_gradients(encoder=0.0)
    rate = made.curves["lr/all"].copy()
    rate[5:] = 0.0
    clear(RULE, made.with_curves(lr_all=rate))


def test_one_part_alone_is_judged_by_its_size() -> None:
    made = healthy().without(*(f"gradient/{part}/mean_abs" for part in PARTS[1:]))
    clear(RULE, made)


def test_too_little_is_not_evaluated() -> None:
    made = with_gradients(encoder=0.0)
    unknown(RULE, made.first(2), "fewer than 3 looks")
    unknown(RULE, made.first(8).planned(warmup_steps=175), "fewer than 3 looks")
    unknown(RULE, made.without("lr/all"), "learning rate")
    unknown(RULE, made.without(*(f"gradient/{p}/mean_abs" for p in PARTS)), "no gradients")


def test_a_part_that_was_not_always_looked_at_is_left_out() -> None:
    made = with_gradients(heads=1e3)
    course = made.curves["gradient/heads/mean_abs"].copy()
    course[3] = np.nan
    clear(RULE, made.replace(curves={**made.curves, "gradient/heads/mean_abs": course}))
    assert fired(RULE, made)


def test_what_hands_tracks_on_is_not_blamed_before_there_are_any() -> None:
    """Its gradient is exactly 0 until then (specs/motrv2.md, 3.4)."""
    made = with_gradients(encoder=0.0)
    quiet = made.replace(extra=(told(25, seeing(top=0.3)),))
    clear(RULE, quiet)
    assert fired(RULE, made.replace(extra=(told(25, seeing(top=0.8)),)))
    assert fired(RULE, made.replace(extra=(told(25, seeing(top=0.3, births=1)),)))
    assert fired(RULE, with_gradients(encoder=1e-9).replace(extra=quiet.extra))
    unknown(RULE, with_gradients(encoder=0.0, temporal=0.0, heads=0.0).replace(extra=quiet.extra),
            "fewer than 3 looks")  # fmt: skip
