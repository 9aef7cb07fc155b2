"""N3, N4, S2: proposals that cover the boxes, tell their class, and are no oracle."""

from collections.abc import Iterator

from backend.core.evidence import DataFinding
from backend.datasets.findings import Level, finding
from backend.datasets.tracking.census import EQUAL, FOUND, coverage
from backend.datasets.tracking.detection_db import DetectionDatabase
from backend.datasets.tracking.expectations import Expectations
from backend.datasets.tracking.records import TrackingSplit

FEW, NONE = 0.5, 0.05
ORACLE = 0.95


def check_recall(split: TrackingSplit) -> Iterator[DataFinding]:
    """N3 and S2, if there are proposals at all."""
    if not any(len(sequence.proposals.scores) for sequence in split.sequences):
        return
    covered = coverage(split)
    recall = covered.recall
    if recall is None:
        return
    numbers = {"recall": recall, "frames": covered.frames, "targets": covered.targets}
    if recall < FEW:
        why = "; their scale, order or resolution must be another" if recall < NONE else ""
        sentence = (
            f"{recall:.1%} of {covered.targets:,} boxes in {covered.frames} sampled frames have a "
            f"proposal at IoU {FOUND}{why}"
        )
        level: Level = "error" if recall < NONE else "warning"
        yield finding("N3", level, split.split, sentence, **numbers)
    share = covered.equal / covered.targets
    if share > ORACLE:
        sentence = (
            f"{share:.1%} of the boxes have a proposal that is equal to them (IoU above {EQUAL}): "
            "what is measured with them holds for oracle boxes, not for a detector's"
        )
        yield finding("S2", "warning", split.split, sentence, share=share)


def check_class_ids(
    split: TrackingSplit, database: DetectionDatabase, wanted: Expectations
) -> Iterator[DataFinding]:
    """N4: proposals without classes, though the model wants them."""
    classes = max(wanted.wanted or 1, len(split.classes))
    if wanted.embeds_classes and classes > 1 and not database.has_classes:
        sentence = (
            f"the detection database tells no classes (its fields are {database.fields}), but "
            f"the data have {classes} and the model reads the class of each detection; add the "
            "classes, or set model.proposal_class: ignore"
        )
        yield finding("N4", "error", split.split, sentence, classes=classes)
