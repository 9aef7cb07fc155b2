"""T08: there are tracks, and the metric does not see them."""

import numpy as np

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.rules.t08_scored_wrong import RULE
from tests.support.evidence_made import Made, healthy
from tests.support.rule_checks import clear, fired, first_step, unknown
from tests.support.tracks_made import always, tracker


def scored(hota: float = 0.0, over: float = 0.0, named: float = 0.91) -> Made:
    """Twenty-two tracks, and what the metrics make of them."""
    return always().with_curves(
        val_HOTA=np.full(10, hota), val_cls_HOTA=np.full(10, over),
        val_class_accuracy=np.full(10, named),
    )  # fmt: skip


def test_classes_that_are_written_from_zero() -> None:
    found = fired(RULE, scored(hota=0.48))
    assert found.severity == "error"
    assert found.headline == (
        "22 tracks in 160 frames are shown, and their mean HOTA over classes 0.000 is zero, and "
        "HOTA whatever the class 0.480."
    )
    assert "the class column" in found.cause
    assert found.sure == "likely"
    assert "counted from 1" in found.advice.text


def test_frames_or_boxes_that_are_elsewhere() -> None:
    found = fired(RULE, scored())
    assert "their HOTA 0.000 is zero." in found.headline
    assert "the frames' numbers or the boxes' scale" in found.cause
    assert {fact.name for fact in found.evidence} >= {"tracks", "val/HOTA", "val/cls_HOTA"}


def test_a_network_that_sees_little_itself_leaves_it_open() -> None:
    assert fired(RULE, scored(named=0.3)).sure == "likely"
    assert fired(RULE, scored(named=0.29)).sure == "possible"
    assert fired(RULE, scored().without("val/class_accuracy")).sure == "possible"
    alone = fired(RULE, scored().without("val/class_accuracy", "val/cls_HOTA"))
    assert "their HOTA 0.000 is zero." in alone.headline


def test_any_score_is_clear_and_so_are_few_tracks() -> None:
    clear(RULE, scored(hota=0.01, over=0.01))
    fired(RULE, scored(hota=0.009, over=0.009))
    clear(RULE, tracker())
    clear(RULE, scored().replace(observers=always(births=4).observers))
    fired(RULE, scored().replace(observers=always(births=5).observers))


def test_without_hota_or_observation_it_is_unknown() -> None:
    unknown(RULE, healthy(), "not observed")
    unknown(RULE, scored().without("val/HOTA"), "not logged")


def test_it_has_patience() -> None:
    assert first_step(RULE, scored().replace(end="")) == 80
    unknown(RULE, scored().replace(end="").first(1), "a fifth")


def test_it_explains_the_zeros() -> None:
    said = diagnose(scored().evidence())
    assert said.findings[0].rule == "T08"
