"""T07: tracks begin, and none of them lasts."""

from typing import Any

import pytest

from backend.analysis.diagnostics.rules.t07_short_tracks import RULE
from backend.core.evidence import DataFinding
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import always, counted, refused, seeing, tracker

BROKEN: dict[str, Any] = {"births": 700, "short": 700, "lengths": {"0.5": 1.0, "1": 2.0}}
N7 = refused("N7", "ids are per box, not per object.", median_length=1)


def test_tracks_of_one_frame() -> None:
    found = fired(RULE, always(**BROKEN))
    assert found.severity == "error"
    assert found.headline == "700 of 700 tracks in 160 frames are shown in fewer than 3 frames."
    assert "query interaction is broken or not trained" in found.cause
    assert found.sure == "likely"
    numbers = {fact.name: fact.value for fact in found.evidence}
    assert numbers["frames of the longest track"] == 2
    assert numbers["frames of an annotated track"] == 36


@pytest.mark.parametrize(
    ("findings", "identities", "cause"),
    [((N7,), "file", "N7: ids are per box"), ((), "per-box", "an id per box")],
)
def test_ids_per_box_are_the_cause(
    findings: tuple[DataFinding, ...], identities: str, cause: str
) -> None:
    split = counted("val", identities=identities, track_length=None)
    found = fired(RULE, always(**BROKEN).surveyed(tracks=(split,), findings=findings))
    assert cause in found.cause
    assert found.sure == "proven"
    assert "Give objects their identity" in found.advice.text


def test_tracks_that_are_never_shown_are_too_small() -> None:
    found = fired(RULE, always(**BROKEN | {"lengths": {"0.5": 0.0, "1": 0.0}}))
    assert "smaller than the least area" in found.cause
    assert found.sure == "proven"
    assert "least area" in found.advice.text


def test_a_few_long_tracks_are_chance_and_more_are_none() -> None:
    fired(RULE, always(**BROKEN | {"short": 665}))
    clear(RULE, always(**BROKEN | {"short": 664}))
    clear(RULE, always(births=4, short=4))
    fired(RULE, always(births=5, short=5))
    clear(RULE, tracker())


def test_nothing_to_say_of_still_images() -> None:
    made = always(**BROKEN).surveyed(tracks=(counted("val", frames=11, sequences=4),))
    unknown(RULE, made, "fewer than 3")
    fired(RULE, made.surveyed(tracks=(counted("val", frames=12, sequences=4),)))
    unknown(RULE, healthy(), "not observed")


def test_it_waits_for_scores_that_rise_and_needs_no_survey() -> None:
    running = always(**BROKEN).replace(survey=None, end="")
    assert first_step(RULE, running) == 80
    rising = tracker(lambda share: seeing(top=0.5 + 0.4 * share, **BROKEN), 5, end="")
    clear(RULE, rising.first(4))
    fired(RULE, rising.first(4).replace(end="finished"))
