"""T02: the detector's boxes are somewhere else than the objects."""

from backend.analysis.diagnostics.rules.t02_proposal_recall import RULE
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, unknown
from tests.support.tracks_made import counted, refused, tracker


def test_the_lowest_recall_speaks() -> None:
    made = tracker().surveyed(
        tracks=(counted("train", 4, recall=0.04), counted("val", recall=0.004))
    )
    found = fired(RULE, made)
    assert found.severity == "error"
    assert found.headline == ("0.4 % of the objects of 'val' have a proposal at IoU 0.5, in 160 "
                              "sampled frames with 5.6 proposals each.")  # fmt: skip
    assert "scale, order or resolution" in found.cause
    assert found.evidence[0].value == 0.004


def test_the_finding_of_the_data_is_the_cause() -> None:
    n3 = refused("N3", "0.0% of 900 boxes have a proposal.")
    n2 = refused("N2", "the boxes look like corners.")
    made = tracker().surveyed(tracks=(counted("train", recall=0.0),), findings=(n3, n2))
    assert fired(RULE, made).cause == "N2: the boxes look like corners"


def test_a_detector_that_finds_half_is_clear() -> None:
    clear(RULE, tracker().surveyed(tracks=(counted("train", recall=0.05),)))
    clear(RULE, tracker())


def test_without_proposals_or_their_recall_it_is_unknown() -> None:
    unknown(
        RULE, tracker().surveyed(tracks=(counted("train", recall=0.0, proposals=0),)), "counted"
    )
    unknown(RULE, tracker().surveyed(tracks=(counted("train", recall=None),)), "not counted")
    unknown(RULE, healthy(), "not counted")
