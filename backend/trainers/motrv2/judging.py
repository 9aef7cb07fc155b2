"""Tracked sequences matched to the truth: at the thresholds of the config, and swept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backend.core.evidence import ThresholdSwept, TracksSeen
from backend.datasets.tracking.mot_folder import CLASSES_FILE
from backend.datasets.tracking.records import TrackingSplit
from backend.datasets.tracking.validation import TrackingData
from backend.scoring.evidence import Scores
from backend.scoring.tracking import motchallenge
from backend.scoring.tracking.evidence import TrackingEvidence
from backend.scoring.tracking.task import match
from backend.trainers.motrv2.collecting import Rows, truth_rows
from backend.trainers.motrv2.evidence import class_accuracy, tracks_seen
from backend.trainers.motrv2.inference import Followed, follow_split
from backend.trainers.motrv2.model.network import Motr
from backend.trainers.motrv2.spec import Motrv2Config

STOPPING = ("N1", "N2", "N3", "N5", "N9")
"""Errors of data that make numbers wrong; others only keep from training on them."""
NEVER_NONE = ("cls_HOTA", "HOTA")
"""These are 0 where they are not defined: a run that tracks nothing is the worst of a study."""


@dataclass(frozen=True)
class Judged:
    """What was tracked in a split, matched to the truth. ``extra`` are the metrics beside those
    of the evidence."""

    split: TrackingSplit
    followed: tuple[Followed, ...]
    evidence: TrackingEvidence
    seen: TracksSeen
    extra: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> Scores:
        """The evidence's metrics and the others; of classes, how long their tracks are too."""
        found = self.evidence.scores()
        metrics = {**found.metrics, **self.extra}
        metrics |= {name: metrics.get(name) or 0.0 for name in NEVER_NONE}
        return found.model_copy(
            update={
                "metrics": _with_lengths(metrics),
                "per_class": {name: _with_lengths(row) for name, row in found.per_class.items()},
                "warnings": (*self.notes, *found.warnings),
            }
        )


def judge(
    network: Motr, split: TrackingSplit, config: Motrv2Config, untrained: Sequence[str] = ()
) -> Judged:
    """Track a split and match it. ``untrained`` are tensors that came from no checkpoint and are
    frozen. The network must be in evaluation mode. Raises DataError."""
    followed = tuple(follow_split(network, split, config))
    swept = sweep(split, followed, config.tracker.sweep)
    seen = tracks_seen(split, followed, config.tracker.score_thresh)
    return Judged(
        split=split,
        followed=followed,
        evidence=matched(split, [(one, one.shown) for one in followed]),
        seen=seen.model_copy(update={"swept": swept, "untrained": tuple(untrained)}),
        extra=_best(swept) | class_accuracy(followed),
        notes=_piled(followed, config.tracker.max_track_queries),
    )


def matched(split: TrackingSplit, shown: Iterable[tuple[Followed, Rows]]) -> TrackingEvidence:
    """Boxes of each sequence against its targets; classes count from 1, in the split's order."""
    return match([scored(one, rows) for one, rows in shown], names_of(split))


def expected_names(root: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """The names that data without class names of their own are to be read with: those of a
    checkpoint, if it knows them."""
    known = all(classes) and not (root / CLASSES_FILE).is_file()
    return tuple(classes) if known else ()


def refuse_wrong(data: TrackingData) -> None:
    """Raise DataError with the first error that would make numbers wrong, if there is one."""
    replace(data, findings=tuple(f for f in data.findings if f.code in STOPPING)).refuse()


def names_of(split: TrackingSplit) -> dict[int, str]:
    """Class names by the number that files of an evaluation have."""
    return dict(enumerate(split.classes, start=1))


def scored(followed: Followed, rows: Rows) -> motchallenge.Sequence:
    """A sequence as the evaluator takes it."""
    sequence = followed.sequence
    return motchallenge.Sequence(
        name=sequence.name,
        length=None,  # frames are called as their files, whatever seqinfo.ini says
        truth=_tracks(truth_rows(sequence), str(sequence.folder)),
        predictions=_tracks(rows, f"predictions of {sequence.name}"),
    )


def sweep(
    split: TrackingSplit, followed: Sequence[Followed], thresholds: Sequence[float]
) -> tuple[ThresholdSwept, ...]:
    """What there would be at each score threshold, from stored scores.

    A lower threshold never has fewer boxes: where another run would, those of the next threshold
    count.
    """
    found: list[ThresholdSwept] = []
    for threshold in sorted(thresholds, reverse=True):
        rows = [one.above(threshold) for one in followed]
        if found and sum(len(one.ids) for one in rows) <= found[-1].boxes:
            found.append(found[-1].model_copy(update={"threshold": threshold}))
        else:
            found.append(_swept(split, followed, rows, threshold))
    return tuple(reversed(found))


def _swept(
    split: TrackingSplit, followed: Sequence[Followed], rows: Sequence[Rows], threshold: float
) -> ThresholdSwept:
    metrics = matched(split, zip(followed, rows, strict=True)).scores().metrics
    return ThresholdSwept(
        threshold=threshold,
        boxes=sum(len(one.ids) for one in rows),
        tracks=sum(len(np.unique(one.ids)) for one in rows),
        hota=metrics["HOTA"],
        cls_hota=metrics["cls_HOTA"],
    )


def _best(swept: Sequence[ThresholdSwept]) -> dict[str, float]:
    """The best HOTA and, if there is any, its lowest threshold."""
    if not swept:
        return {}
    best = max(swept, key=lambda one: one.hota or 0.0)
    if not best.hota:
        return {"swept_HOTA": 0.0}
    return {"swept_HOTA": best.hota, "best_thresh": best.threshold}


def _piled(followed: Sequence[Followed], limit: int) -> tuple[str, ...]:
    frames = sum(one.piled for one in followed)
    if not frames:
        return ()
    return (
        f"In {frames} frames there were {limit} track queries, as many as max_track_queries "
        "allows: false positives pile up.",
    )


def _tracks(rows: Rows, source: str) -> motchallenge.Tracks:
    return motchallenge.Tracks(rows.frames, rows.ids, rows.boxes, rows.labels + 1, source)


def _with_lengths(row: dict[str, float | None]) -> dict[str, float | None]:
    """With the mean frames of a track, predicted and true."""
    lengths = {
        name: boxes / ids
        for name, side in (("track_length", "pred"), ("gt_track_length", "gt"))
        if (boxes := row.get(f"{side}_dets")) is not None and (ids := row.get(f"{side}_ids"))
    }
    return {**row, **lengths}
