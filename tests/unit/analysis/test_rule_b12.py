"""B12: parameters that were planned to train and do not move."""

from typing import Any

import numpy as np

from backend.analysis.diagnostics.rules.b12_not_moving import RULE
from backend.core.events import Event
from tests.support.evidence_made import Made, healthy, movement
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import seeing, told


def observed(begin: int = 0, every: int = 25, **changes: Any) -> Made:
    """The encoder is as given from an evaluation on."""
    made = healthy(every=every)

    def look(place: int, step: int) -> Event:
        seen = movement(step, step - every)
        if place < begin:
            return seen
        first, *others = seen.groups
        return seen.model_copy(update={"groups": (first.model_copy(update=changes), *others)})

    return made.replace(observers=(look,)).planned(steps_per_epoch=25)


def test_what_has_no_gradient_by_mistake() -> None:
    found = fired(RULE, observed(requires_grad=0, in_optimizer=0))
    assert (found.severity, found.sure) == ("error", "proven")
    assert "cannot: encoder" in found.headline
    assert "requires_grad" in found.cause
    assert [fact.value for fact in found.evidence] == [8.0, 0.0, 0.0]
    assert first_step(RULE, observed(requires_grad=0)) == 25


def test_what_the_optimizer_does_not_know() -> None:
    found = fired(RULE, observed(in_optimizer=7))
    assert "optimizer" in found.cause


def test_what_stood_still_for_an_epoch() -> None:
    for changes in ({"changed": 0, "change": 0.0}, {"changed": 8, "change": 0.9e-9}):
        found = fired(RULE, observed(**changes))
        assert "did not move from step 575 to 600: encoder" in found.headline
        assert found.severity == "error"
        assert found.curves[0].key == "update/encoder"
    clear(RULE, observed(changed=8, change=1.1e-9))
    assert first_step(RULE, observed(begin=4, changed=0, change=0.0)) == 125


def test_a_frozen_part_may_stand_still() -> None:
    clear(RULE, observed(planned="frozen", requires_grad=0, in_optimizer=0, changed=0, change=0.0))
    clear(RULE, healthy())


def test_at_a_rate_of_nothing_nothing_moves() -> None:
    clear(RULE, observed(changed=0, change=0.0, rate=0.09))
    assert fired(RULE, observed(changed=0, change=0.0, rate=0.1))


def test_an_epoch_may_be_several_looks() -> None:
    made = observed(begin=20, every=10, changed=0, change=0.0)
    clear(RULE, made.first(22))
    assert fired(RULE, made.first(23))


def test_too_little_is_not_evaluated() -> None:
    unknown(RULE, observed(changed=0).replace(observers=()), "was not observed")
    unknown(RULE, observed(every=10, changed=0, change=0.0).first(2), "less than an epoch")
    unknown(RULE, observed(change=None, changed=None).first(3), "less than an epoch")


def test_a_part_of_no_tensors_is_no_part() -> None:
    clear(RULE, observed(tensors=0, requires_grad=0, in_optimizer=0, changed=0, change=0.0))


def test_what_hands_tracks_on_is_not_blamed_before_there_are_any() -> None:
    """Its gradient is exactly 0 until then (specs/motrv2.md, 3.4)."""
    made = observed(changed=0, change=0.0)
    made = made.replace(curves={**made.curves, "gradient/encoder/mean_abs": np.zeros(24)})
    clear(RULE, made.replace(extra=(told(25, seeing(top=0.3)),)))
    fired(RULE, made.replace(extra=(told(25, seeing(top=0.8)),)))
    fired(RULE, made)


def test_a_head_warm_up_holds_the_rest_still() -> None:
    still = observed(changed=0, change=0.0)
    assert first_step(RULE, still.planned(held=25)) == 50
    unknown(RULE, still.planned(held=600), "less than an epoch")
