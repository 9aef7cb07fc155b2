"""T01: not one of the detector's boxes reaches the tracker."""

from typing import Any

from backend.analysis.diagnostics.rules.t01_no_proposals import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, unknown
from tests.support.tracks_made import always, counted, refused, tracker, tracking_survey

PLAIN: dict[str, Any] = {
    "fields": "",
    "proposals": None,
    "proposals_per_frame": None,
    "recall": None,
}


def test_a_split_without_a_hit_is_named_with_its_numbers() -> None:
    made = tracker().surveyed(tracks=(counted("train", 4), counted("val", proposals=0)))
    found = fired(RULE, made)
    assert found.severity == "error"
    assert found.headline == "No proposal of 'val' reaches the model: 0 in 160 frames."
    assert "keys or its order of fields" in found.cause
    assert found.sure == "likely"


def test_the_finding_of_the_data_is_the_cause() -> None:
    splits = (counted("train", 4, proposals=0), counted("val", proposals=0))
    n1 = refused("N1", "no frame has a key: looked for as a/1, the database has b/1.")
    found = fired(RULE, tracker().surveyed(tracks=splits, findings=(n1,)))
    assert "'train' and 'val' reaches the model: 0 in 800 frames" in found.headline
    assert found.cause == "N1: no frame has a key: looked for as a/1, the database has b/1"
    assert found.sure == "proven"


def test_a_database_that_could_not_be_read_counts() -> None:
    splits = (counted("train", 4, **PLAIN), counted("val", **PLAIN))
    n2 = refused("N2", "line 3 has 7 fields.", split="")
    found = fired(RULE, tracker().surveyed(tracks=splits, findings=(n2,)))
    assert found.cause == "N2: line 3 has 7 fields"


def test_proposals_that_are_lost_on_the_way() -> None:
    found = fired(RULE, always(proposals=0))
    assert "'val'" in found.headline
    assert "the database has 900: they are lost on the way" in found.cause
    foreign = fired(RULE, always(proposals=0).replace(survey=None))
    assert foreign.headline == "No proposal of 'val' reaches the model."
    assert foreign.sure == "likely"


def test_a_sound_run_is_clear() -> None:
    clear(RULE, tracker())
    clear(RULE, tracker().replace(survey=None))
    clear(RULE, tracker().first(0))


def test_what_has_no_proposals_by_its_nature_is_not_judged() -> None:
    unknown(RULE, healthy(), "not observed")
    plain = tracking_survey(tracks=(counted("train", 4, **PLAIN), counted("val", **PLAIN)))
    unknown(RULE, always(proposals=0).replace(survey=plain), "no detector's boxes")
