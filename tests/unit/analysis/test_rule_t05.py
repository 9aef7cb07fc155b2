"""T05: a track's score is read from the first class alone."""

from typing import Any

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.rules.t05_one_class_scored import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, unknown
from tests.support.tracks_made import CLASSES, always, tracker

BLIND: dict[str, Any] = {"top": 0.8, "first_class": 0.02, "births": 0, "lengths": {}, "short": 0}


def test_scores_that_suffice_and_no_track() -> None:
    found = fired(RULE, always(**BLIND))
    assert found.severity == "error"
    assert found.headline == (
        "Nothing is tracked in 160 frames, although scores reach 0.82 and a track begins at 0.5: "
        "those of the first of 8 classes reach 0.02 only."
    )
    assert "not by the highest of all classes" in found.cause


def test_it_comes_before_the_threshold() -> None:
    """Row 5 before row 6, where both hold."""
    scores = {"0.5": 0.02, "0.99": 0.2, "0.999": 0.45, "1": 0.8}
    said = diagnose(always(**BLIND, scores=scores).evidence())
    assert said.findings[0].rule == "T05"
    assert "T06" in said.findings[0].silenced


def test_each_other_case_is_clear() -> None:
    clear(RULE, always(**BLIND | {"births": 3}))
    clear(RULE, always(**BLIND | {"first_class": 0.5}))
    clear(RULE, always(**BLIND | {"highest": {"1": 0.49}}))
    clear(RULE, always(**BLIND | {"targets": {CLASSES[0]: 90}}))
    fired(RULE, always(**BLIND | {"highest": {"1": 0.5}}))
    clear(RULE, tracker())


def test_without_observation_it_is_unknown() -> None:
    unknown(RULE, healthy(), "not observed")
    clear(RULE, always(**BLIND | {"highest": {}}))
