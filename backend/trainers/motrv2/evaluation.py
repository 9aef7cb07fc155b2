"""The evaluation of a checkpoint on a split, with all that it was made under."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backend.core.errors import CheckpointError
from backend.core.events import Event, TracksObserved
from backend.core.evidence import DataFinding, TracksSeen
from backend.core.records import EvalReport
from backend.core.trainer import Conditions, EvalRequest
from backend.core.workdir import write_atomic, write_json
from backend.datasets.tracking.records import TrackingSplit, no_proposals
from backend.datasets.tracking.validation import TrackingData
from backend.scoring.files import settings_of
from backend.scoring.tasks import save_evidence
from backend.scoring.tracking.task import TASK, TrackingOptions
from backend.trainers.motrv2.checkpoint import Facts, Saved, restored
from backend.trainers.motrv2.data_reading import as_input, read_data, same_folder
from backend.trainers.motrv2.evidence import confusion
from backend.trainers.motrv2.judging import Judged, expected_names, judge, refuse_wrong
from backend.trainers.motrv2.spec import SPEC, Motrv2Config
from backend.trainers.motrv2.tracking_files import (
    CONFUSION_FILE,
    GROUND_TRUTH,
    PREDICTIONS,
    SEEN_FILE,
    write_predictions,
    write_truth,
)

EVALUATION = "evaluation"
ORACLE = "S2"
_IDENTITIES = {
    "pseudo": "Identities were linked by overlap, not annotated: HOTA, AssA, IDF1 and IDSW are "
    "those of pseudo identities.",
    "per-box": "Every box has an identity of its own: HOTA, AssA, IDF1 and IDSW mean nothing.",
}


def evaluate(
    saved: Saved, request: EvalRequest, config: Motrv2Config, untrained: Sequence[str] = ()
) -> EvalReport:
    """Score a checkpoint, on data with the classes that it has or had before it was fine-tuned.

    Predictions, ground truth, evidence and what the tracker did go to ``request.out``.
    ``untrained`` as in ``TracksSeen``. Raises DataError, ConfigError and CheckpointError.
    """
    config = saved.fitting(config)
    data = read_split(config, request, saved)
    (split,) = data.splits
    known = conditions(saved, data, config)
    judged = judge(restored(saved, config, split.classes), split, config, untrained)
    out = Path(request.out)
    _write(out, judged)
    found = judged.scores
    return EvalReport(
        task=SPEC.task,
        trainer=SPEC.kind,
        checkpoint=request.checkpoint,
        data=request.data,
        split=split.split,
        **dict(known),
        classes=split.classes,
        unit=TASK.unit,
        units=len(split.sequences),
        metrics=found.metrics,
        per_class=found.per_class,
        predictions=str(out / PREDICTIONS),
        ground_truth=str(out / GROUND_TRUTH),
        evidence=str(out / "evidence.npz"),
        warnings=(*flags(data), *split.notes, *found.warnings),
    )


def read_split(config: Motrv2Config, request: EvalRequest, facts: Facts) -> TrackingData:
    """The data of a request. Raises DataError for what would make its numbers wrong, ConfigError
    if a detection database is wanted and there is none."""
    root = Path(request.data)
    earlier = facts.previous_classes if same_folder(root, config.source) else ()
    names = expected_names(root, earlier or facts.classes)
    data = read_data(config, (request.split,), root, names)
    refuse_wrong(data)
    return data


def conditions(facts: Facts, data: TrackingData, config: Motrv2Config) -> Conditions:
    """What decides the numbers of ``evaluate`` besides the weights.

    Raises CheckpointError if the checkpoint never knew the data's classes.
    """
    (split,) = data.splits
    try:
        view = facts.knows(split.classes)
    except CheckpointError as error:
        raise CheckpointError(f"{split.root}: {error}") from None
    tracker = config.tracker.model_dump(mode="json", exclude={"sweep"})
    settings = {
        **settings_of(TrackingOptions()),
        **{name: str(value) for name, value in tracker.items()},
        "short": str(config.images.short),
        "long": str(config.images.long),
        "detections": _digest(split) if config.det_db.use else "none",
        "view": "own classes" if view == "now" else "classes before fine-tuning",
        "identities": split.identities,
        "proposals": "oracle" if _has(data, ORACLE) else "detector",
    }
    return Conditions(
        data_digest=as_input(_bare(split)).digest, evaluator=TASK.evaluator, settings=settings
    )


def flags(data: TrackingData) -> tuple[str, ...]:
    """What must stand next to the metrics: why they may mean less than they seem to."""
    (split,) = data.splits
    told = [_IDENTITIES[split.identities]] if split.identities in _IDENTITIES else []
    return (*told, *(_sentence(one) for one in data.findings))


def final_events(report: EvalReport, step: int) -> tuple[Event, ...]:
    """What a run tells with the evaluation of its best checkpoint."""
    path = Path(report.predictions).parent / SEEN_FILE
    seen = TracksSeen.model_validate_json(path.read_bytes())
    return (TracksObserved(step=step, split=report.split, seen=seen, final=True),)


def _write(out: Path, judged: Judged) -> None:
    write_predictions(out / PREDICTIONS, judged.followed)
    write_truth(out / GROUND_TRUTH, judged.split, judged.followed)
    save_evidence(out / "evidence.npz", SPEC.task, judged.evidence)
    write_atomic(out / SEEN_FILE, judged.seen.model_dump_json(indent=2) + "\n")
    classes = judged.split.classes
    table = confusion(len(classes), judged.followed)
    write_json(out / CONFUSION_FILE, {"classes": list(classes), "counts": table.tolist()})


def _sentence(found: DataFinding) -> str:
    return f"{found.code}: {found.sentence[:1].upper()}{found.sentence[1:]}"


def _has(data: TrackingData, code: str) -> bool:
    return any(one.code == code for one in data.findings)


def _bare(split: TrackingSplit) -> TrackingSplit:
    """Without proposals: they are no part of what is to be found."""
    nothing = no_proposals()
    return replace(split, sequences=tuple(replace(s, proposals=nothing) for s in split.sequences))


def _digest(split: TrackingSplit) -> str:
    """Sha256 over the proposals of each sequence."""
    digest = hashlib.sha256()
    for sequence in split.sequences:
        digest.update(f"\n{sequence.name}".encode())
        for values in vars(sequence.proposals).values():
            digest.update(f"\0{values.shape}".encode() + values.tobytes())
    return digest.hexdigest()
