"""Made ground truth and made detectors, for tests of scoring and comparison."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from backend.core.comparisons import Contender
from backend.core.records import Checkpoint, EvalReport
from backend.scoring.detection.task import EVALUATOR, evaluate, score
from backend.scoring.tasks import save_evidence

Truth = dict[str, Any]
Results = list[dict[str, Any]]


def ground_truth(
    images: int = 20, classes: int = 3, boxes: float = 3.0, seed: int = 0, crowds: float = 0.0
) -> Truth:
    """Scenes of 200 x 200 pixels with a Poisson number of boxes each."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        for _ in range(rng.poisson(boxes)):
            width, height = rng.uniform(12, 90, 2)
            x, y = rng.uniform(0, 200 - width), rng.uniform(0, 200 - height)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, classes + 1)),
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": int(rng.random() < crowds),
                }
            )
    return {
        "images": [{"id": i, "width": 200, "height": 200} for i in range(1, images + 1)],
        "categories": [{"id": c, "name": f"class {c}"} for c in range(1, classes + 1)],
        "annotations": annotations,
    }


def detector(
    truth: Truth, seed: int = 0, found: float = 0.8, jitter: float = 0.08, noise: float = 1.0
) -> Results:
    """Results of a detector that misses, jitters and invents boxes.

    ``found`` is the chance that a box is detected, ``jitter`` its relative position error,
    ``noise`` the mean number of invented boxes per image.
    """
    rng = np.random.default_rng(seed)
    labels = [c["id"] for c in truth["categories"]]
    results: Results = []
    for item in truth["annotations"]:
        if rng.random() < found:
            x, y, w, h = item["bbox"]
            dx, dy = rng.normal(0, jitter, 2) * (w, h)
            dw, dh = np.exp(rng.normal(0, jitter, 2))
            results.append(
                {
                    "image_id": item["image_id"],
                    "category_id": item["category_id"],
                    "bbox": [float(x + dx), float(y + dy), float(w * dw), float(h * dh)],
                    "score": float(rng.beta(4, 2)),
                }
            )
    for image in truth["images"]:
        for _ in range(rng.poisson(noise)):
            w, h = rng.uniform(12, 90, 2)
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": int(rng.choice(labels)),
                    "bbox": [*map(float, rng.uniform(0, 110, 2)), float(w), float(h)],
                    "score": float(rng.beta(2, 4)),
                }
            )
    return results


def evaluation(folder: Path, truth: Truth, predictions: Results, **changes: Any) -> EvalReport:
    """A report with ground truth and predictions, but without evidence, in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"ground_truth": truth, "predictions": predictions}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    scores = score(truth, predictions)
    report = EvalReport(
        task="detection",
        trainer="made",
        checkpoint=str(folder / "best.safetensors"),
        data="/data/made/data.yaml",
        split="holdout",
        data_digest="d" * 64,
        evaluator=EVALUATOR,
        settings={"imgsz": "200", "conf": "0.001"},
        classes=tuple(c["name"] for c in truth["categories"]),
        units=len(truth["images"]),
        metrics=scores.metrics,
        per_class=scores.per_class,
        warnings=scores.warnings,
        **{name: str(folder / f"{name}.json") for name in files},
    )
    return report.model_copy(update=changes)


def with_evidence(folder: Path, truth: Truth, predictions: Results) -> EvalReport:
    """A report with its evidence as well, as a trainer leaves it in ``folder``."""
    report = evaluation(folder, truth, predictions)
    save_evidence(folder / "evidence.npz", "detection", evaluate(truth, predictions))
    return report.model_copy(update={"evidence": str(folder / "evidence.npz")})


def contender(label: str, **params: str) -> Contender:
    """One side, with a digest of its own."""
    digest = label.encode().hex().ljust(64, "0")[:64]
    checkpoint = Checkpoint(path=f"/runs/{label}.safetensors", sha256=digest, step=9, epoch=3)
    return Contender(label=label, checkpoint=checkpoint, trainer="made", params=params)
