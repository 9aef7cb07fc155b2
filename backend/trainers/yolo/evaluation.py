"""Score a checkpoint on a split, and keep what the scores were computed from."""

from pathlib import Path
from typing import Any

from backend.core.records import EvalReport
from backend.core.trainer import Conditions, EvalRequest
from backend.scoring.detection import task as detection
from backend.scoring.tasks import save_evidence
from backend.trainers.yolo.capture import capture, join_classes, write_json
from backend.trainers.yolo.dataset import Split
from backend.trainers.yolo.device import resolve_device
from backend.trainers.yolo.predictor import Detector, Settings
from backend.trainers.yolo.spec import SPEC, YoloConfig


def settings_of(config: YoloConfig) -> Settings:
    """How boxes are asked for."""
    return Settings(config.imgsz, config.conf, config.iou, config.max_det)


def conditions(split: Split, config: YoloConfig) -> Conditions:
    """What decides the numbers of ``score`` besides the weights."""
    settings = settings_of(config)
    return Conditions(
        data_digest=split.digest,
        evaluator=detection.EVALUATOR,
        settings={key: str(getattr(settings, key)) for key in ("imgsz", "conf", "iou", "max_det")},
    )


def score(
    network: Any, names: tuple[str, ...], split: Split, request: EvalRequest, config: YoloConfig
) -> EvalReport:
    """Predict a split, score it, and write predictions, ground truth and evidence to
    ``request.out``.

    Raises DataError if the checkpoint's classes ``names`` and the split's have none in common.
    """
    classes = join_classes(names, split)
    detector = Detector(network, resolve_device(config.device), config.batch)
    settings = settings_of(config)
    truth, results = capture(detector, split, classes, settings)
    truth_file = Path(request.out) / "ground_truth.json"
    results_file = Path(request.out) / "predictions.json"
    evidence_file = Path(request.out) / "evidence.npz"
    write_json(truth_file, truth)
    write_json(results_file, results)
    evidence = detection.evaluate(truth, results)
    save_evidence(evidence_file, "detection", evidence)
    scores = evidence.scores()
    return EvalReport(
        task=SPEC.task,
        trainer=SPEC.kind,
        checkpoint=request.checkpoint,
        data=request.data,
        split=split.split,
        **dict(conditions(split, config)),
        classes=split.names,
        units=len(split.examples),
        metrics=scores.metrics,
        per_class=scores.per_class,
        predictions=str(results_file),
        ground_truth=str(truth_file),
        evidence=str(evidence_file),
        warnings=(*split.notes, *classes.warnings, *scores.warnings),
    )
