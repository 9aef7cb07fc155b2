"""The evaluation of a checkpoint on a subset, with all that it was made under."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backend.core.errors import CheckpointError, DataError
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, EvalRequest
from backend.core.workdir import write_atomic, write_json
from backend.datasets.temporal import TemporalData, TemporalSplit, TemporalVideo
from backend.scoring.files import settings_of
from backend.scoring.json_files import read_json
from backend.scoring.tasks import save_evidence
from backend.scoring.temporal.soft_nms import Detections
from backend.scoring.temporal.task import TASK, TemporalEvidence, TemporalOptions, match
from backend.trainers.adatad.checkpoint import Facts, Saved, restored
from backend.trainers.adatad.data import SlidingWindows, read_data
from backend.trainers.adatad.inference import Watch, look
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import SPEC, AdaTadConfig

EVALUATION = "evaluation"
PREDICTIONS = "predictions.json"
GROUND_TRUTH = "ground_truth.json"
VIDEOS = "videos.json"

Json = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """What was found in the videos of a split, best first, matched to the truth; ``truth`` and
    ``predictions`` as ActivityNet's files have them."""

    found: Mapping[str, Detections]
    truth: Json
    predictions: Json
    evidence: TemporalEvidence


def judge(
    network: AdaTad,
    split: TemporalSplit,
    windows: SlidingWindows,
    config: AdaTadConfig,
    watches: Sequence[Watch] = (),
) -> Judged:
    """Look at every window of a split's videos and match. Raises DataError as ``look`` does."""
    found = look(network, windows, config, watches)
    truth, predictions = truth_of(split), predictions_of(split, found)
    return Judged(found, truth, predictions, match(truth, predictions, options_of(config)))


def evaluate(saved: Saved, request: EvalRequest, config: AdaTadConfig) -> EvalReport:
    """Score a checkpoint; predictions, truth, videos and evidence are written to ``request.out``.

    Raises DataError, CheckpointError and ConfigError.
    """
    config = saved.fitting(config)
    torch.set_num_threads(config.runner.threads)  # as in training, whatever else runs here
    data = read_subset(saved, request, config)
    (split,) = data.splits
    windows = SlidingWindows(split.usable, config, config.inference.overlap)
    judged = judge(restored(saved, config), split, windows, config)
    out = Path(request.out)
    _write(out, split, judged)
    scores = judged.evidence.scores()
    return EvalReport(
        task=SPEC.task,
        trainer=SPEC.kind,
        checkpoint=request.checkpoint,
        data=request.data,
        split=request.split,
        **dict(_conditions(split, config)),
        classes=split.classes,
        unit=TASK.unit,
        units=scores.units,
        metrics=scores.metrics,
        per_class=scores.per_class,
        predictions=str(out / PREDICTIONS),
        ground_truth=str(out / GROUND_TRUTH),
        evidence=str(out / "evidence.npz"),
        warnings=(*_flags(data), *scores.warnings),
    )


def conditions(facts: Facts, request: EvalRequest, config: AdaTadConfig) -> Conditions:
    """What decides the numbers of ``evaluate`` besides the weights. Raises as that does."""
    config = facts.fitting(config)
    return _conditions(read_subset(facts, request, config).splits[0], config)


def read_subset(facts: Facts, request: EvalRequest, config: AdaTadConfig) -> TemporalData:
    """The data of a request, with the labels of a checkpoint.

    Raises DataError for data that cannot be scored, CheckpointError for actions of classes that
    the checkpoint was not trained on, unless the config's ``classes`` leave them out.
    """
    data = read_data(config, (request.split,), Path(request.data), facts.classes)
    data.refuse()
    (split,) = data.splits
    if not split.usable:
        raise DataError(
            f"{split.source}: no video of '{split.split}' has a file in {split.searched} that can "
            "be used, so there is nothing to score; mend the files or choose another split"
        )
    strangers = _labels(split) - {*facts.classes, *config.ignored}
    if config.classes:
        strangers &= set(config.classes)
    if strangers:
        shown = ", ".join(sorted(strangers)[:5])
        raise CheckpointError(
            f"{split.source}: {len(strangers)} of its classes are none that the checkpoint was "
            f"trained on ({shown}); name the others in 'classes' to leave these out"
        )
    return data


def options_of(config: AdaTadConfig) -> TemporalOptions:
    """How segments are matched."""
    return TemporalOptions(ignore_labels=config.ignored)


def truth_of(split: TemporalSplit) -> Json:
    """The actions of the videos that can be looked at: cleaned and clipped, as trained on."""
    return {"database": {video.name: _annotated(split, video) for video in split.usable}}


def predictions_of(split: TemporalSplit, found: Mapping[str, Detections]) -> Json:
    """Every video that was looked at with what was found in it."""
    return {"results": {name: _predicted(split, one) for name, one in found.items()}}


def _conditions(split: TemporalSplit, config: AdaTadConfig) -> Conditions:
    """``inference.batch`` and what training windows are drawn with play no part. The window and
    the picture that a checkpoint was trained on are its own, as its weights are: two that differ
    in them are compared on the same videos."""
    how = config.inference.model_dump(mode="json", exclude={"batch", "val_overlap"})
    settings = {
        **settings_of(options_of(config)),
        **{name: str(value) for name, value in how.items()},
        "align": str(config.windows.align),
    }
    return Conditions(data_digest=split.digest, evaluator=TASK.evaluator, settings=settings)


def _labels(split: TemporalSplit) -> set[str]:
    """What the annotations call the actions of a subset, whatever became of them."""
    database: Any = read_json(split.source)
    entries = (database["database"][video.name]["annotations"] for video in split.videos)
    return {item["label"] for annotations in entries for item in annotations}


def _annotated(split: TemporalSplit, video: TemporalVideo) -> Json:
    actions = zip(video.labels.tolist(), video.segments.tolist(), strict=True)
    return {
        "subset": split.split,
        "duration": video.duration,
        "annotations": [
            {"label": split.classes[label], "segment": segment} for label, segment in actions
        ],
    }


def _predicted(split: TemporalSplit, found: Detections) -> list[Json]:
    rows = zip(found.labels.tolist(), found.segments.tolist(), found.scores.tolist(), strict=True)
    return [
        {"label": split.classes[label], "segment": segment, "score": score}
        for label, segment, score in rows
    ]


def _write(out: Path, split: TemporalSplit, judged: Judged) -> None:
    """Raises StoreError if a file cannot be written."""
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / GROUND_TRUTH, json.dumps(judged.truth, allow_nan=False))
    write_atomic(out / PREDICTIONS, json.dumps(judged.predictions, allow_nan=False))
    write_json(out / VIDEOS, _videos(split))
    save_evidence(out / "evidence.npz", SPEC.task, judged.evidence)


def _videos(split: TemporalSplit) -> Json:
    """Where the videos are, for those who show them; null where there is no file to use."""
    root = split.searched.absolute()
    return {
        "root": str(root),
        "subset": split.split,
        "classes": list(split.classes),
        "videos": {video.name: _video(video, root) for video in split.videos},
    }


def _video(video: TemporalVideo, root: Path) -> Json:
    file = video.file
    return {
        "path": None if file is None else str(file.path.absolute().relative_to(root)),
        "fps": video.fps,
        "duration": video.duration if math.isfinite(video.duration) else None,
        "size": None if file is None else [file.width, file.height],
    }


def _flags(data: TemporalData) -> tuple[str, ...]:
    """What must stand next to the metrics: why they may mean less than they seem to."""
    return tuple(f"{one.code}: {one.sentence[:1].upper()}{one.sentence[1:]}"
                 for one in data.findings)  # fmt: skip
