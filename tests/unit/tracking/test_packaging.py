"""What a served model is told by default."""

from backend.catalog import CATALOG
from backend.tracking.packaging import CONFIDENCE, confidence


def test_a_model_serves_with_the_threshold_that_it_was_evaluated_with() -> None:
    assert confidence(CATALOG["motrv2"], "tracker: {score_thresh: 0.4}") == 0.4
    assert confidence(CATALOG["mdfed"], "inference: {threshold: 0.6}") == 0.6
    assert confidence(CATALOG["yolo"], "epochs: 1") == CONFIDENCE
