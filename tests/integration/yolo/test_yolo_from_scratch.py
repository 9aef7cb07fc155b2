"""The training that other tests begin from really is one."""

from tests.support.yolo_runs import Training


def test_from_scratch_it_finds_most_objects(trained: Training) -> None:
    """In about 6 CPU seconds of one core."""
    assert trained.outcome.status == "finished"
    assert (trained.evaluated().report.metrics["mAP50"] or 0) >= 0.6
