"""Look at a split with a learner: boxes, scores, and what the experts did."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backend.core.experts import ExpertReport
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, EvalRequest
from backend.core.workdir import write_atomic
from backend.datasets.detection import DetectionSplit, Frame
from backend.datasets.export import to_coco
from backend.runner.data import to_device
from backend.scoring.detection import task as detection
from backend.scoring.evidence import Scores
from backend.scoring.tasks import save_evidence
from backend.trainers.moe_rtdetr.answers import Boxes, answers
from backend.trainers.moe_rtdetr.checkpoint import AT_USE
from backend.trainers.moe_rtdetr.data import batches
from backend.trainers.moe_rtdetr.learner import Learner
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig

Result = dict[str, object]


@dataclass(frozen=True)
class Ask:
    """How boxes are asked for. ``only`` is the one expert that query routers may choose."""

    image_size: tuple[int, int]
    batch: int
    conf: float
    most: int
    prompt: str = ""
    only: int | None = None

    @classmethod
    def of(cls, config: MoeRtDetrConfig) -> "Ask":
        """As a config has it."""
        return cls(
            config.model.image_size, config.runner.batch, config.conf, config.max_det,
            config.prompt,
        )  # fmt: skip


def conditions(split: DetectionSplit, config: MoeRtDetrConfig) -> Conditions:
    """What decides the numbers of ``score`` besides the weights."""
    height, width = config.model.image_size
    settings = {
        "image_size": f"{height}x{width}",
        "conf": str(config.conf),
        "max_det": str(config.max_det),
    }
    return Conditions(
        data_digest=split.digest,
        evaluator=detection.EVALUATOR,
        settings=settings | (_prompted(config) if config.prompt else {}),
    )


def _prompted(config: MoeRtDetrConfig) -> dict[str, str]:
    return {"prompt": config.prompt} | {n: str(getattr(config.language, n)) for n in AT_USE}


@torch.no_grad()
def look(
    learner: Learner, split: DetectionSplit, ask: Ask, observer: Observer | None = None
) -> list[Result]:
    """COCO results of a split; an ``observer`` sees what the network does on the way."""
    learner.eval()
    device = next(learner.parameters()).device
    results: list[Result] = []
    for batch, frames in batches(split, ask.image_size, ask.batch):
        batch = to_device(batch, device)
        gate = learner.gate(ask.prompt, len(frames))
        output = learner.network(batch.images, gate=gate, only=ask.only)
        if observer is not None:
            losses = learner.criterion.losses(output, batch.targets)
            observer.update(output, batch.targets, losses)
        sizes = [(frame.height, frame.width) for frame in frames]
        found = answers(output.layers[-1], sizes, ask.most, ask.conf)
        for frame, boxes in zip(frames, found, strict=True):
            results.extend(_rows(frame, boxes))
    return results


def scores_of(split: DetectionSplit, results: list[Result]) -> Scores:
    """COCO's numbers."""
    return detection.evaluate(to_coco(split), results).scores()


def solo_ap(
    learner: Learner, split: DetectionSplit, ask: Ask
) -> tuple[tuple[float | None, ...], ...]:
    """AP of each class (columns) when the query routers may choose one expert (rows) only."""
    rows = []
    for expert in range(len(learner.network.experts)):
        alone = Ask(ask.image_size, ask.batch, ask.conf, ask.most, ask.prompt, expert)
        found = scores_of(split, look(learner, split, alone))
        rows.append(tuple(found.per_class[name]["mAP50-95"] for name in split.classes))
    return tuple(rows)


def score(
    learner: Learner,
    split: DetectionSplit,
    request: EvalRequest,
    config: MoeRtDetrConfig,
    observer: Observer | None = None,
) -> EvalReport:
    """Score a split; predictions, ground truth and evidence are written to ``request.out``."""
    out = Path(request.out)
    out.mkdir(parents=True, exist_ok=True)
    truth = _shown(split)
    results = look(learner, split, Ask.of(config), observer)
    evidence = detection.evaluate(truth, results)
    write_atomic(out / "ground_truth.json", json.dumps(truth, allow_nan=False))
    write_atomic(out / "predictions.json", json.dumps(results, allow_nan=False))
    save_evidence(out / "evidence.npz", SPEC.task, evidence)
    found = evidence.scores()
    return EvalReport(
        task=SPEC.task,
        trainer=SPEC.kind,
        checkpoint=request.checkpoint,
        data=request.data,
        split=split.split,
        **dict(conditions(split, config)),
        classes=split.classes,
        units=len(split.frames),
        metrics=found.metrics,
        per_class=found.per_class,
        predictions=str(out / "predictions.json"),
        ground_truth=str(out / "ground_truth.json"),
        evidence=str(out / "evidence.npz"),
        warnings=(*split.notes, *_misunderstood(learner, config), *found.warnings),
    )


def write_experts(out: Path, report: ExpertReport) -> None:
    """``experts.json`` beside the predictions."""
    write_atomic(out / "experts.json", report.model_dump_json(indent=1))


def _misunderstood(learner: Learner, config: MoeRtDetrConfig) -> tuple[str, ...]:
    if learner.language is None or not config.prompt:
        return ()
    return learner.language.warnings([config.prompt])


def _shown(split: DetectionSplit) -> dict[str, Any]:
    """Ground truth with the images' paths, so that they can be shown."""
    truth = to_coco(split)
    paths = {frame.id: str(frame.path) for frame in split.frames}
    images = [{**image, "path": paths[image["id"]]} for image in truth["images"]]
    return {**truth, "images": images}


def _rows(frame: Frame, boxes: Boxes) -> Iterator[Result]:
    for corners, score, label in zip(boxes.corners, boxes.scores, boxes.labels, strict=True):
        left, top, right, bottom = (float(value) for value in corners)
        yield {
            "image_id": frame.id,
            "category_id": int(label) + 1,
            "bbox": [round(v, 4) for v in (left, top, right - left, bottom - top)],
            "score": float(score),
        }
