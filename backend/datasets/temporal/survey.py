"""What temporal data are, counted before training for the diagnostics."""

from collections import Counter

from backend.core.evidence import DataSurvey, InputCensus, LabelCensus
from backend.datasets.temporal.records import TemporalSplit
from backend.datasets.temporal.validation import TemporalData, shared_videos

SHOWN = 5


def survey_temporal(data: TemporalData, head: int) -> DataSurvey:
    """Videos, labels and findings of each split; ``head``: classes of the network."""
    shared = shared_videos(data.splits)
    return DataSurvey(
        inputs=tuple(_videos(split) for split in data.splits),
        labels=tuple(
            _labels(split, one.counts, head)
            for split, one in zip(data.splits, data.census, strict=True)
        ),
        shared={pair: names[:SHOWN] for pair, names in shared.items()},
        shared_counts={pair: len(names) for pair, names in shared.items()},
        findings=data.findings,
        validated=True,
    )


def _videos(split: TemporalSplit) -> InputCensus:
    missing = [
        f"{video.name} ({video.problem or 'no file'})"
        for video in split.videos
        if video.file is None
    ]
    return InputCensus(
        split=split.split,
        what="videos",
        expected=len(split.videos),
        found=len(split.usable),
        searched=str(split.searched),
        missing=tuple(missing[:SHOWN]),
        formats=dict(Counter(v.path.suffix.lower() for v in split.usable if v.path)),
        policy="left out",
    )


def _labels(split: TemporalSplit, counts: dict[str, int], head: int) -> LabelCensus:
    """Units are videos, labels their actions."""
    examples = {
        field: tuple(split.odd[what])[:SHOWN]
        for field, what in (("past_end", "clipped"), ("unknown", "unknown"))
        if what in split.odd
    }
    unknown = sum(split.odd.get("unknown", {}).values())
    past = sum(sum(split.odd.get(what, {}).values()) for what in ("clipped", "outside"))
    met = [label for label, count in enumerate(counts.values()) if count]
    return LabelCensus(
        split=split.split,
        units=len(split.videos),
        labels=split.actions + unknown,
        counts=counts,
        empty=unknown,
        head=head,
        highest=max(met, default=None),
        past_end=past,
        examples=examples,
    )
