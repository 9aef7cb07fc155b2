"""A temporal split in numbers."""

from collections import Counter

import numpy as np

from backend.core.records import Record
from backend.datasets.temporal.records import TemporalSplit

QUANTILES = (0.05, 0.5, 0.95)


class TemporalCensus(Record):
    """``hours`` of video, of which ``in_action`` is the share that some action covers.

    ``counts`` and ``medians``: class to its actions and to their median length in seconds.
    ``lengths``: quantiles ("0.05", "0.5", "0.95") of the actions' lengths in seconds. ``odd``:
    what was left out or clipped, to how often. ``usable`` of the ``videos`` can be decoded;
    ``empty`` have no action.
    """

    split: str
    videos: int
    usable: int
    empty: int
    hours: float | None
    annotated: int
    actions: int
    counts: dict[str, int]
    medians: dict[str, float]
    lengths: dict[str, float]
    in_action: float | None
    overlapping: int
    rates: dict[str, int]
    odd: dict[str, int]


def census(split: TemporalSplit) -> TemporalCensus:
    """Count a split; its hours are None where a video's duration is not known."""
    labels = np.concatenate([video.labels for video in split.videos])
    lengths = np.concatenate([np.diff(video.segments)[:, 0] for video in split.videos])
    counts = np.bincount(labels, minlength=len(split.classes)).tolist()
    seconds = sum(video.duration for video in split.videos)
    covered = sum(_covered(video.segments) for video in split.videos)
    rates = Counter(f"{video.fps:g}" if video.fps else "unknown" for video in split.videos)
    return TemporalCensus(
        split=split.split,
        videos=len(split.videos),
        usable=len(split.usable),
        empty=sum(not len(video.labels) for video in split.videos),
        hours=seconds / 3600 if np.isfinite(seconds) else None,
        annotated=split.annotated,
        actions=len(labels),
        counts=dict(zip(split.classes, counts, strict=True)),
        medians={
            name: float(np.median(lengths[labels == label]))
            for label, name in enumerate(split.classes)
            if counts[label]
        },
        lengths={f"{q:g}": float(np.quantile(lengths, q)) for q in QUANTILES if len(lengths)},
        in_action=covered / seconds if np.isfinite(seconds) and seconds else None,
        overlapping=sum(_overlapping(video.segments) for video in split.videos),
        rates=dict(rates.most_common()),
        odd={what: sum(of.values()) for what, of in sorted(split.odd.items())},
    )


def _covered(segments: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
    """Seconds in which there is an action; segments rise by start."""
    if not len(segments):
        return 0.0
    reached = np.maximum.accumulate(segments[:, 1])
    before = np.append(-np.inf, reached[:-1])
    return float(np.clip(segments[:, 1] - np.maximum(segments[:, 0], before), 0, None).sum())


def _overlapping(segments: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> int:
    """Actions that start before an earlier one has ended."""
    if not len(segments):
        return 0
    return int((segments[1:, 0] < np.maximum.accumulate(segments[:, 1])[:-1]).sum())
