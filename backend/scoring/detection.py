"""Detection metrics. pycocotools is the judge; what it leaves undefined is None, never -1.

AP and AR are COCO's: 101-point interpolated precision, IoU 0.50 to 0.95, at most 100
detections per image and class. Source: Lin et al. 2014 and cocodataset.org/#detection-eval.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from backend.core.records import Record
from backend.scoring.coco import (
    Box,
    CocoDict,
    ImageId,
    Truth,
    check_ground_truth,
    check_predictions,
    load_ground_truth,
    load_predictions,
)

__all__ = [
    "EVALUATOR",
    "METRICS",
    "ClassMatches",
    "DetectionScores",
    "Matches",
    "load_ground_truth",
    "load_predictions",
    "match",
    "score",
]

EVALUATOR = f"assay.detection 1, pycocotools {version('pycocotools')}"
"""What ``EvalReport.evaluator`` says of reports made with this module."""

_COCO_STATS = (
    *("mAP50-95", "mAP50", "mAP75", "mAP-small", "mAP-medium", "mAP-large"),
    *("AR1", "AR10", "AR100"),
)
METRICS = (*_COCO_STATS, "precision", "recall", "f1")
MAX_DETECTIONS = 100


class DetectionScores(Record):
    """Metrics of one model on one set of images; None where a metric is undefined.

    ``precision``, ``recall`` and ``f1`` are micro-averaged over all classes at IoU 0.5, at the
    one ``confidence`` that maximises F1 on these very images: an optimistic choice, fit for
    comparing models, not for promising a working point. ``per_class`` holds mAP50-95, mAP50
    and instances (ground-truth boxes without crowds).
    """

    metrics: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    confidence: float | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassMatches:
    """The detections of one class, by falling score (ties: by image, as pycocotools has it).

    ``scores`` and ``images`` have one entry per detection, ``matched`` and ``ignored`` are
    (10 IoU thresholds, detections). A detection is a true positive if matched and not ignored.
    ``truths`` is the number of ground-truth boxes in each image, crowds left out.
    """

    name: str
    scores: NDArray[np.float64]
    images: NDArray[np.intp]
    matched: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    truths: NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """What each image adds to the metrics, so that images can be re-weighted, not re-matched."""

    image_ids: tuple[ImageId, ...]
    thresholds: NDArray[np.float64]
    classes: tuple[ClassMatches, ...]


def score(ground_truth: CocoDict, predictions: Sequence[CocoDict]) -> DetectionScores:
    """Score COCO results against COCO ground truth.

    Without ground-truth boxes every metric is None; without predictions AP and recall are 0
    and precision is None; both are warned of. Raises DataError with one sentence for unknown
    images or categories, duplicate ids and boxes that are not finite or have a negative size.
    """
    truth = check_ground_truth(ground_truth)
    boxes = check_predictions(predictions, truth)
    judge = _judge(truth, boxes)
    with contextlib.redirect_stdout(io.StringIO()):
        judge.accumulate()
        judge.summarize()
    matches = _collect(judge, truth)
    metrics = {
        name: _defined(value) for name, value in zip(_COCO_STATS, judge.stats, strict=False)
    }
    point, confidence = _working_point(matches)
    return DetectionScores(
        metrics=metrics | point,
        per_class=_per_class(judge.eval["precision"], matches),
        confidence=confidence,
        warnings=_warnings(truth, boxes),
    )


def match(ground_truth: CocoDict, predictions: Sequence[CocoDict]) -> Matches:
    """Match detections to ground truth at the ten IoU thresholds, over all box sizes.

    The flags are pycocotools' own. Raises DataError as ``score`` does.
    """
    truth = check_ground_truth(ground_truth)
    boxes = check_predictions(predictions, truth)
    return _collect(_judge(truth, boxes, sizes=1), truth)


def _judge(truth: Truth, boxes: Sequence[Box], sizes: int = 4) -> Any:
    """A pycocotools evaluator that has matched; ``sizes`` 1 leaves small to large out."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(_coco(truth, truth.boxes), _coco(truth, boxes), "bbox")
        judge.params.areaRng = judge.params.areaRng[:sizes]
        judge.params.areaRngLbl = judge.params.areaRngLbl[:sizes]
        judge.evaluate()
    return judge


def _coco(truth: Truth, boxes: Sequence[Box]) -> Any:
    coco = COCO()
    coco.dataset = {
        "images": [{"id": position} for position in range(len(truth.image_ids))],
        "categories": [{"id": position} for position in range(len(truth.class_ids))],
        "annotations": [
            {
                "id": number,
                "image_id": box.image,
                "category_id": box.label,
                "bbox": list(box.bbox),
                "area": box.area,
                "iscrowd": int(box.crowd),
                "score": box.score,
            }
            for number, box in enumerate(boxes, start=1)
        ],
    }
    coco.createIndex()
    return coco


def _collect(judge: Any, truth: Truth) -> Matches:
    images, sizes = len(truth.image_ids), len(judge.params.areaRng)
    classes = []
    for label, name in enumerate(truth.names):
        start = label * sizes * images
        found = judge.evalImgs[start : start + images]
        classes.append(_class_matches(name, found, len(judge.params.iouThrs)))
    return Matches(truth.image_ids, np.asarray(judge.params.iouThrs), tuple(classes))


def _class_matches(name: str, found: Sequence[Any], thresholds: int) -> ClassMatches:
    truths = np.zeros(len(found), dtype=np.int64)
    scores, images = [np.zeros(0)], [np.zeros(0, dtype=np.intp)]
    matched = [np.zeros((thresholds, 0), dtype=np.bool_)]
    ignored = [np.zeros((thresholds, 0), dtype=np.bool_)]
    for image, result in enumerate(found):
        if result is None:
            continue
        truths[image] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
        scores.append(np.asarray(result["dtScores"], dtype=np.float64))
        images.append(np.full(len(result["dtScores"]), image, dtype=np.intp))
        matched.append(np.asarray(result["dtMatches"]) > 0)
        ignored.append(np.asarray(result["dtIgnore"], dtype=np.bool_))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return ClassMatches(
        name=name,
        scores=np.concatenate(scores)[order],
        images=np.concatenate(images)[order],
        matched=np.concatenate(matched, axis=1)[:, order],
        ignored=np.concatenate(ignored, axis=1)[:, order],
        truths=truths,
    )


def _working_point(matches: Matches) -> tuple[dict[str, float | None], float | None]:
    """Precision, recall and F1 at IoU 0.5 over all classes, at the best confidence."""
    truths = int(sum(found.truths.sum() for found in matches.classes))
    if truths == 0:
        return {"precision": None, "recall": None, "f1": None}, None
    counted = [~found.ignored[0] for found in matches.classes]
    scores = np.concatenate([f.scores[c] for f, c in zip(matches.classes, counted, strict=True)])
    hits = np.concatenate([f.matched[0][c] for f, c in zip(matches.classes, counted, strict=True)])
    if scores.size == 0:
        return {"precision": None, "recall": 0.0, "f1": 0.0}, None
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], hits[order].cumsum()
    last = np.append(scores[1:] != scores[:-1], True)  # a threshold keeps all of equal score
    kept = (np.flatnonzero(last) + 1).astype(np.float64)
    right = hits[last].astype(np.float64)
    f1 = 2 * right / (kept + truths)
    best = int(f1.argmax())
    point: dict[str, float | None] = {
        "precision": float(right[best] / kept[best]),
        "recall": float(right[best] / truths),
        "f1": float(f1[best]),
    }
    return point, float(scores[last][best])


def _per_class(
    precision: NDArray[np.float64], matches: Matches
) -> dict[str, dict[str, float | None]]:
    """``precision`` is pycocotools' (IoU, recall, class, size, detections), -1 if undefined."""
    table: dict[str, dict[str, float | None]] = {}
    for label, found in enumerate(matches.classes):
        table[found.name] = {
            "mAP50-95": _defined(precision[:, :, label, 0, -1].mean()),
            "mAP50": _defined(precision[0, :, label, 0, -1].mean()),
            "instances": float(found.truths.sum()),
        }
    return table


def _defined(value: float) -> float | None:
    return None if value < 0 else float(value)


def _warnings(truth: Truth, boxes: Sequence[Box]) -> tuple[str, ...]:
    warnings = []
    if not any(not box.crowd for box in truth.boxes):
        warnings.append("The ground truth has no boxes: every metric is undefined.")
    if not boxes:
        warnings.append("There are no predictions at all.")
    flat = sum(1 for box in truth.boxes if box.bbox[2] * box.bbox[3] == 0)
    if flat:
        warnings.append(f"{flat} ground-truth boxes have no area, so no detection can match them.")
    counts = Counter((box.image, box.label) for box in boxes)
    beyond = sum(max(0, count - MAX_DETECTIONS) for count in counts.values())
    if beyond:
        warnings.append(
            f"{beyond} detections beyond the {MAX_DETECTIONS} most confident of an image and "
            "class were left out, as COCO does."
        )
    return tuple(warnings)
