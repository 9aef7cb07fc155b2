"""T03: annotated objects do not reach the criterion."""

from typing import Any

from backend.analysis.diagnostics.rules.t03_targets_lost import RULE
from backend.core.evidence import TrackCensus
from tests.support.evidence_made import healthy
from tests.support.rule_checks import clear, fired, unknown
from tests.support.tracks_made import (
    CLASSES,
    EACH,
    always,
    counted,
    refused,
    tracker,
    warned,
)

N8 = refused("N8", "the label filter 'person' drops 1,440 boxes; nothing is left of 3, 4, 5, 6.")


def without(*gone: str, split: str = "train", **changes: Any) -> TrackCensus:
    counts = {name: 0 if name in gone else EACH for name in CLASSES}
    return counted(split, counts=counts, targets=sum(counts.values()), **changes)


def test_a_filter_that_drops_classes_is_the_cause() -> None:
    """The brief's."""
    dropped = CLASSES[2:6]
    found = fired(RULE, tracker().surveyed(tracks=(without(*dropped),), findings=(N8,)))
    assert found.severity == "error"
    assert found.headline.startswith(
        "No target of 4 of 8 classes of 'train' reaches the criterion (Attack, Block, Reception, "
        "Service), out of 720"
    )
    assert found.cause.startswith("N8: the label filter 'person' drops 1,440 boxes")
    assert [fact.name for fact in found.evidence] == [
        f"targets of {n} in 'train'" for n in dropped
    ]


def test_no_target_at_all_needs_no_finding() -> None:
    found = fired(RULE, tracker().surveyed(tracks=(without(*CLASSES),)))
    assert "No target of any class of 'train'" in found.headline
    assert "filtered out" in found.cause
    assert len(found.evidence) == 8


def test_a_mapping_is_named() -> None:
    n6 = refused("N6", "every box is of class Stand, though 8 are declared.")
    found = fired(RULE, tracker().surveyed(tracks=(without(*CLASSES[:7]),), findings=(n6,)))
    assert "7 of 8 classes" in found.headline
    assert found.cause.startswith("N6: every box is of class Stand")


def test_targets_that_the_network_never_got() -> None:
    targets = dict.fromkeys(CLASSES[:4], EACH)
    found = fired(RULE, always(targets=targets))
    assert "4 of 8 classes of 'val'" in found.headline
    assert "between the annotation and the network" in found.cause
    assert "any class" in fired(RULE, always(targets={})).headline


def test_a_rare_class_that_was_not_met_is_no_fault() -> None:
    rare = counted("val", counts={**dict.fromkeys(CLASSES[1:], EACH), CLASSES[0]: 19})
    made = always(targets=dict.fromkeys(CLASSES[1:], EACH)).surveyed(tracks=(rare,))
    clear(RULE, made)
    half = counted("val", frames=320, counts=dict.fromkeys(CLASSES, 39))
    clear(RULE, always(targets={}).surveyed(tracks=(half,)))


def test_a_class_that_is_nowhere_annotated_is_no_fault() -> None:
    n6 = warned("N6", "classes without a box: Stand.")
    clear(RULE, tracker().surveyed(tracks=(without("Stand"),), findings=(n6,)))
    clear(RULE, tracker())


def test_without_a_census_it_is_unknown() -> None:
    unknown(RULE, healthy(), "not observed")
    unknown(RULE, tracker().replace(survey=None), "not counted")
    unknown(RULE, tracker().surveyed(tracks=(counted("val", boxes=0, targets=0),)), "not counted")
    clear(RULE, tracker().surveyed(tracks=(counted("val", frames=0),)))
