"""Evidence of detections: kept, joined, and told image by image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.core.errors import DataError
from backend.scoring.detection.task import TASK, DetectionEvidence, DetectionOptions, evaluate
from backend.scoring.evidence import Column, Evidence
from backend.scoring.tasks import load_evidence, save_evidence
from tests.support.detections import Results, Truth, detector, ground_truth


def found(seed: int = 1, truth: Truth | None = None, **options: Any) -> DetectionEvidence:
    truth = truth or ground_truth(images=12, classes=3, crowds=0.1)
    predictions = detector(truth, seed, noise=2, jitter=0.15)
    return evaluate(truth, predictions, DetectionOptions(**options))


def drawn(evidence: Evidence, replicates: int = 20) -> Any:
    return np.random.default_rng(0).poisson(1, (replicates, len(evidence.units))).astype(np.uint16)


def test_evidence_comes_back_from_its_file(tmp_path: Path) -> None:
    evidence = found()

    save_evidence(tmp_path / "evidence.npz", "detection", evidence)
    again = load_evidence(tmp_path / "evidence.npz", "detection")

    assert isinstance(again, DetectionEvidence)
    assert again.scores() == evidence.scores()
    assert (again.units, again.columns, again.point, again.truth_digest) == (
        evidence.units, evidence.columns, evidence.point, evidence.truth_digest,
    )  # fmt: skip
    counts = drawn(evidence)
    np.testing.assert_array_equal(again.table(counts), evidence.table(counts))
    np.testing.assert_array_equal(again.errors.table(counts), evidence.errors.table(counts))


@pytest.mark.parametrize("predictions", [[], None])
def test_evidence_of_nothing_comes_back_too(predictions: Results | None) -> None:
    truth = ground_truth(images=3, boxes=0 if predictions is None else 3)
    evidence = evaluate(truth, detector(truth) if predictions is None else predictions)

    assert TASK.restore(evidence.arrays()).scores() == evidence.scores()


def test_one_row_of_ones_is_the_scores() -> None:
    evidence = found()
    scores = evidence.scores()

    row = evidence.table(np.ones((1, 12), dtype=np.uint16))[0]

    said = {
        **{(name, ""): value for name, value in scores.metrics.items()},
        **{(m, name): v for name, of in scores.per_class.items() for m, v in of.items()},
    }
    assert len(row) == len(evidence.columns) == len(said) - len(scores.per_class)
    for column, value in zip(evidence.columns, row, strict=True):
        assert said[column] == (None if np.isnan(value) else value)
    assert TASK.unit_metric in scores.per_unit[evidence.units[0]]


def test_joined_evidence_holds_either_side() -> None:
    old, new = found(seed=1), found(seed=2)
    both, counts = old.joined(new), drawn(old)
    none = np.zeros_like(counts)

    assert both.units == old.units + new.units
    for side, shown in ((old, [counts, none]), (new, [none, counts])):
        np.testing.assert_allclose(both.table(np.hstack(shown)), side.table(counts), atol=1e-12)
        np.testing.assert_allclose(
            both.errors.table(np.hstack(shown)), side.errors.table(counts), atol=1e-12
        )


def test_a_mix_of_joined_units_is_the_mixed_predictions() -> None:
    truth = ground_truth(images=12, classes=3, crowds=0.1)
    sides = [detector(truth, seed, noise=2) for seed in (1, 2)]
    taken = np.random.default_rng(4).integers(0, 2, 12)
    mixed = [p for side in (0, 1) for p in sides[side] if taken[p["image_id"] - 1] == side]
    options = DetectionOptions(confidence=0.3)
    old, new = (evaluate(truth, side, options) for side in sides)

    row = old.joined(new).table(np.concatenate([1 - taken, taken])[None].astype(np.uint16))[0]

    expected = evaluate(truth, mixed, options).table(np.ones((1, 12), dtype=np.uint16))[0]
    np.testing.assert_allclose(row, expected, atol=1e-12)


def test_evidence_of_other_classes_or_settings_cannot_be_joined() -> None:
    evidence = found()
    with pytest.raises(DataError, match="different classes"):
        evidence.joined(found(truth=ground_truth(images=2, classes=2)))
    with pytest.raises(DataError, match="different settings"):
        evidence.joined(found(iou=0.75))


def test_carrying_counts_images_with_ground_truth() -> None:
    truth = ground_truth(images=4, classes=2, boxes=0)
    small, medium = [0, 0, 20, 20], [50, 50, 40, 40]
    places = [(1, 1, small, 0), (1, 1, medium, 0), (2, 1, medium, 0), (3, 2, medium, 1)]
    truth["annotations"] = [
        {"id": n, "image_id": image, "category_id": label, "bbox": bbox, "iscrowd": crowd}
        for n, (image, label, bbox, crowd) in enumerate(places)
    ]
    evidence = evaluate(truth, [])

    carried = dict(zip(evidence.columns, evidence.carrying().tolist(), strict=True))

    sizes = [Column(f"mAP-{size}") for size in ("small", "medium", "large")]
    assert carried[Column("mAP50-95")] == carried[Column("f1")] == 2
    assert [carried[column] for column in sizes] == [1, 2, 0]
    assert [carried[Column("mAP50", f"class {label}")] for label in (1, 2)] == [2, 0]


def test_an_image_is_told_by_its_f1() -> None:
    truth = ground_truth(images=4, classes=1, boxes=0)
    here, there = [0, 0, 20, 20], [100, 100, 20, 20]
    truth["annotations"] = [
        {"id": n, "image_id": image, "category_id": 1, "bbox": bbox}
        for n, (image, bbox) in enumerate([(1, here), (1, there), (2, here)])
    ]
    found = [(1, here, 0.9), (2, there, 0.8), (3, here, 0.7), (1, there, 0.2)]
    predictions = [
        {"image_id": image, "category_id": 1, "bbox": bbox, "score": score}
        for image, bbox, score in found
    ]

    per_unit = evaluate(truth, predictions, DetectionOptions(confidence=0.5)).scores().per_unit

    keys = ("f1", "true positives", "false positives", "missed")
    assert {unit: tuple(row[key] for key in keys) for unit, row in per_unit.items()} == {
        "1": (pytest.approx(2 / 3), 1, 0, 1),
        "2": (0, 0, 1, 1),
        "3": (0, 0, 1, 0),
        "4": (1, 0, 0, 0),
    }


def test_the_digest_is_of_the_ground_truth_and_not_of_its_order() -> None:
    truth = ground_truth(images=5)
    digest = found(truth=truth).truth_digest

    turned = truth | {name: truth[name][::-1] for name in ("images", "annotations", "categories")}
    assert evaluate(turned, []).truth_digest == digest
    fewer = truth | {"annotations": truth["annotations"][1:]}
    assert evaluate(fewer, []).truth_digest != digest
    renamed = truth | {"categories": [{"id": n, "name": f"n{n}"} for n in (1, 2, 3)]}
    assert evaluate(renamed, []).truth_digest != digest
