"""The comparison on the label statistics of real photographs: 128 of COCO val2017."""

from pathlib import Path
from typing import Any

import pytest

from backend.analysis.comparison import ComparisonSettings, compare_reports
from tests.support.detections import Truth, detector, evaluation

COCO = Path(__file__).parents[4] / "shared" / "data" / "coco256"


@pytest.fixture(scope="module")
def truth() -> Truth:
    if not COCO.is_dir():
        pytest.skip("../shared/data/coco256 is not here")
    files = sorted((COCO / "labels" / "val2017").glob("*.txt"))
    annotations: list[dict[str, Any]] = []
    for image, file in enumerate(files):
        for line in file.read_text().splitlines():
            label, x, y, w, h = map(float, line.split())
            box = [320 * (x - w / 2), 320 * (y - h / 2), 320 * w, 320 * h]
            annotations.append(
                {"id": len(annotations), "image_id": image, "category_id": int(label), "bbox": box}
            )
    return {
        "images": [{"id": image} for image in range(len(files))],
        "categories": [{"id": label, "name": f"class {label}"} for label in range(80)],
        "annotations": annotations,
    }


def test_real_labels_with_many_rare_classes(truth: Truth, tmp_path: Path) -> None:
    assert len(truth["images"]) > 100
    reports = [
        evaluation(tmp_path / name, truth, detector(truth, seed, found, jitter=0.06, noise=8))
        for name, seed, found in (("old", 1, 0.6), ("again", 2, 0.6), ("new", 3, 0.85))
    ]
    settings = ComparisonSettings(replicates=200, permutations=0)

    equal = compare_reports(reports[0], reports[1], settings=settings)
    better = compare_reports(reports[0], reports[2], settings=settings)

    assert equal.metrics[0].verdict in {"undecided", "equivalent"}
    assert better.metrics[0].verdict == "better"
    assert better.metrics[0].candidate == pytest.approx(reports[2].metrics["mAP50-95"], abs=1e-9)
    defined = [delta for delta in better.per_class if delta.delta is not None]
    shown = {item["category_id"] for item in truth["annotations"]}
    assert len(defined) == len(shown) < 80
