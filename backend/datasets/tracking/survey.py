"""What tracking data are, counted before training for the diagnostics."""

from collections import Counter

from backend.core.evidence import DataSurvey, InputCensus, LabelCensus
from backend.datasets.tracking.check_frames import shared_images
from backend.datasets.tracking.records import UNKNOWN, TrackingSplit
from backend.datasets.tracking.validation import TrackingData

SHOWN = 5


def survey_tracking(data: TrackingData, head: int) -> DataSurvey:
    """Images, labels, findings and numbers of each split; ``head``: classes of the network."""
    shared = shared_images(data.splits)
    return DataSurvey(
        inputs=tuple(_images(split) for split in data.splits),
        labels=tuple(_labels(split, head) for split in data.splits),
        shared={pair: names[:SHOWN] for pair, names in shared.items()},
        tracks=data.census,
        findings=data.findings,
        validated=True,
    )


def _images(split: TrackingSplit) -> InputCensus:
    missing = [
        f"{sequence.name}, frame {number}"
        for sequence in split.sequences
        for number, path in zip(sequence.numbers.tolist(), sequence.images, strict=True)
        if path is None
    ]
    return InputCensus(
        split=split.split,
        what="images",
        expected=split.frames,
        found=split.frames - len(missing),
        searched=str(split.root),
        missing=tuple(missing[:SHOWN]),
        policy="refused",
    )


def _labels(split: TrackingSplit, head: int) -> LabelCensus:
    """Boxes that are to be ignored are no labels."""
    counts: Counter[int] = Counter()
    unknown: Counter[str] = Counter()
    for sequence in split.sequences:
        truth = sequence.truth
        counts.update(truth.labels[truth.targets].tolist())
        strange = truth.marks & (truth.labels == UNKNOWN)
        unknown.update(map(str, truth.class_ids[strange].tolist()))
    return LabelCensus(
        split=split.split,
        units=split.frames,
        labels=counts.total() + unknown.total(),
        counts={name: counts[label] for label, name in enumerate(split.classes)},
        unknown=dict(unknown),
        empty=unknown.total(),
        head=head,
        highest=max(counts, default=None),
    )
