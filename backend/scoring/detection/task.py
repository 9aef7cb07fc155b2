"""Detection metrics: COCO's, matched by pycocotools, of any multiset of images.

AP and AR are COCO's: 101-point interpolated precision, IoU 0.50 to 0.95, at most 100
detections per image and class. Source: Lin et al. 2014 and cocodataset.org/#detection-eval.
What pycocotools leaves undefined is None, never -1.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from backend.config.schema import Section
from backend.core.errors import DataError
from backend.core.records import MetricSpec
from backend.scoring.detection.coco import (
    Boxes,
    CocoDict,
    Truth,
    check_ground_truth,
    check_predictions,
    load_ground_truth,
    load_predictions,
)
from backend.scoring.detection.errors import errors
from backend.scoring.detection.evidence import (
    METRICS,
    DetectionEvidence,
    Point,
    Recalled,
    Truths,
)
from backend.scoring.detection.matching import (
    MAX_DETECTIONS,
    THRESHOLDS,
    Matching,
    counted_truths,
    match_boxes,
)
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.scoring.detection.yolo_truth import first_category, load_yolo_truth
from backend.scoring.evidence import Scores, Task

__all__ = [
    "COCO_NAMES",
    "EVALUATOR",
    "METRICS",
    "TASK",
    "DetectionEvidence",
    "DetectionOptions",
    "evaluate",
    "load_ground_truth",
    "load_predictions",
    "load_truth",
    "read",
    "score",
]

EVALUATOR = f"assay.detection 2, pycocotools {version('pycocotools')}"
"""What ``EvalReport.evaluator`` says of reports made with this module."""

COCO_NAMES: Mapping[str, str] = {
    "mAP50-95": "AP", "mAP50": "AP50", "mAP75": "AP75", "mAP-small": "APs", "mAP-medium": "APm",
    "mAP-large": "APl", "AR1": "AR1", "AR10": "AR10", "AR100": "AR100",
    "precision": "precision", "recall": "recall", "f1": "f1",
}  # fmt: skip
"""Our names of the metrics to those of COCO and Detectron2."""


class DetectionOptions(Section):
    """How detections are scored.

    ``split`` and ``first_category`` are for a ground truth that is a YOLO data.yaml.
    """

    confidence: float | None = Field(
        None,
        ge=0,
        description="The confidence at which precision, recall and F1 are taken; none: the one "
        "that maximises F1 on these very images, an optimistic choice.",
    )
    iou: float = Field(0.5, description="The IoU from which on such a detection is right.")
    split: str = Field("val", description="The split of a data.yaml.")
    first_category: Literal[0, 1] | None = Field(
        None,
        description="The category id of a data.yaml's first class in the predictions; none: "
        "found out, 1 is what Ultralytics writes.",
    )

    @field_validator("iou")
    @classmethod
    def _of_coco(cls, iou: float) -> float:
        if not np.isclose(THRESHOLDS, iou).any():
            raise ValueError("choose one of COCO's thresholds: 0.5, 0.55, ... 0.95")
        return iou


DEFAULTS = DetectionOptions()


def read(gt: Path, pred: Path, options: DetectionOptions = DEFAULTS) -> DetectionEvidence:
    """Score COCO results against COCO ground truth, or against a split of a YOLO data.yaml.

    Raises DataError with one sentence for files that cannot be used.
    """
    predictions = load_predictions(pred)
    try:
        return evaluate(load_truth(gt, predictions, options), predictions, options)
    except DataError as error:
        raise DataError(f"{pred} against {gt}: {error}") from None


def load_truth(
    gt: Path, predictions: Sequence[CocoDict], options: DetectionOptions = DEFAULTS
) -> dict[str, Any]:
    """COCO ground truth in a JSON file, or the split of a data.yaml, its category ids counted
    as the predictions count them. Raises DataError."""
    if gt.suffix.lower() not in {".yaml", ".yml"}:
        return load_ground_truth(gt)
    names = len(read_datafile(gt).names)
    first = first_category(predictions, names, options.first_category)
    return load_yolo_truth(gt, options.split, first)


def score(ground_truth: CocoDict, predictions: Sequence[CocoDict]) -> Scores:
    """The metrics of ``evaluate``."""
    return evaluate(ground_truth, predictions).scores()


def evaluate(
    ground_truth: CocoDict,
    predictions: Sequence[CocoDict],
    options: DetectionOptions = DEFAULTS,
) -> DetectionEvidence:
    """Match COCO results to COCO ground truth.

    Without ground-truth boxes every metric is undefined; without predictions AP and recall are
    0 and precision is undefined; both are warned of. Raises DataError with one sentence for
    unknown images or categories, duplicate ids and boxes that are not finite or have a
    negative size.
    """
    truth = check_ground_truth(ground_truth)
    boxes = check_predictions(predictions, truth)
    matching = match_boxes(truth, boxes)
    counted = counted_truths(truth.boxes)
    rule = int(np.abs(THRESHOLDS - options.iou).argmin())
    point = Point(options.iou, options.confidence, options.confidence)
    if options.confidence is None:
        confidence = _best_confidence(matching, rule, int(counted[0].sum()))
        point = point._replace(confidence=confidence)
    right, kept = _at_point(matching, rule, point, len(truth.image_ids))
    return DetectionEvidence(
        units=tuple(str(key) for key in truth.image_ids),
        classes=truth.names,
        truth_digest=truth.digest,
        point=point,
        ranked=matching.ranked,
        truths=Truths(truth.boxes.labels, truth.boxes.images, counted),
        recalled=_recalled(matching),
        right=right,
        kept=kept,
        errors=errors(truth, boxes, matching),
        warnings=_warnings(truth, boxes),
    )


def _best_confidence(matching: Matching, rule: int, truths: int) -> float | None:
    """The confidence with the highest F1 over all classes; the higher of equals."""
    ranked = matching.ranked
    counted = ranked.counted[0] >> rule & 1 > 0
    if not truths or not counted.any():
        return None
    order = np.argsort(-ranked.scores[counted], kind="stable")
    scores = ranked.scores[counted][order]
    right = (ranked.hits[0] >> rule & 1)[counted][order].cumsum(dtype=np.int64)
    last = np.append(scores[1:] != scores[:-1], True)  # a threshold keeps all of equal score
    kept = np.flatnonzero(last) + 1
    return float(scores[last][(2 * right[last] / (kept + truths)).argmax()])


def _at_point(
    matching: Matching, rule: int, point: Point, images: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """True positives and detections of each image at the working point."""
    ranked = matching.ranked
    sure = ranked.scores >= (np.inf if point.confidence is None else point.confidence)
    right, kept = (
        np.bincount(ranked.images[sure & (bits[0] >> rule & 1 > 0)], minlength=images)
        for bits in (ranked.hits, ranked.counted)
    )
    return right, kept


def _recalled(matching: Matching) -> Recalled:
    ranked = matching.ranked
    found = np.flatnonzero(ranked.hits[0])
    times = np.bitwise_count(ranked.hits[0, found]).astype(np.int32)
    among = matching.ranks[found] < np.array([[1], [10], [MAX_DETECTIONS]])
    return Recalled(ranked.labels[found], ranked.images[found], times * among)


def _warnings(truth: Truth, boxes: Boxes) -> tuple[str, ...]:
    warnings = []
    if truth.boxes.crowds.all():
        warnings.append("The ground truth has no boxes: every metric is undefined.")
    if not len(boxes):
        warnings.append("There are no predictions at all.")
    flat = int((truth.boxes.corners[:, 2:] == 0).any(axis=1).sum())
    if flat:
        warnings.append(f"{flat} ground-truth boxes have no area, so no detection can match them.")
    counts = np.bincount(boxes.images * len(truth.names) + boxes.labels)
    beyond = int(np.maximum(counts - MAX_DETECTIONS, 0).sum())
    if beyond:
        warnings.append(
            f"{beyond} detections beyond the {MAX_DETECTIONS} most confident of an image and "
            "class were left out, as COCO does."
        )
    return tuple(warnings)


def _metrics() -> tuple[MetricSpec, ...]:
    about = {
        "mAP50-95": "mean AP over the classes and IoU 0.50 to 0.95",
        "mAP50": "mean AP at IoU 0.50",
        "mAP75": "mean AP at IoU 0.75",
        "mAP-small": "mAP50-95 of objects smaller than 32 x 32 pixels",
        "mAP-medium": "mAP50-95 of objects from 32 x 32 to 96 x 96 pixels",
        "mAP-large": "mAP50-95 of objects larger than 96 x 96 pixels",
        "AR1": "mean recall with one detection per image and class",
        "AR10": "mean recall with ten detections per image and class",
        "AR100": "mean recall with a hundred detections per image and class",
        "precision": "share of right detections at the confidence",
        "recall": "share of objects found at the confidence",
        "f1": "harmonic mean of precision and recall",
    }
    return tuple(
        MetricSpec(name=name, direction="maximize", description=text)
        for name, text in about.items()
    )


TASK = Task(
    name="detection",
    unit="image",
    primary="mAP50-95",
    unit_metric="f1",
    evaluator=EVALUATOR,
    metrics=_metrics(),
    options=DetectionOptions,
    read=read,
    restore=DetectionEvidence.restore,
    published=COCO_NAMES,
)
