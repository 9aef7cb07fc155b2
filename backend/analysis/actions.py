"""What two action detectors found in the same videos, as the files of their evaluations tell it.

Ground truth and predictions are ActivityNet's (``scoring.temporal.activitynet``); what matches is
decided by the scorer. By falling score each prediction takes its segment, so a score below which
nothing is shown changes no match above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from backend.analysis.action_videos import Films, read_films
from backend.core.comparisons import DataComparison
from backend.core.errors import DataError
from backend.scoring.evidence import Floats
from backend.scoring.files import options_of
from backend.scoring.json_files import read_json
from backend.scoring.temporal.activitynet import (
    Indices,
    Predictions,
    Segments,
    Truth,
    check_predictions,
    check_truth,
    results_of,
)
from backend.scoring.temporal.matching import (
    Flags,
    group_keys,
    rows_of,
    temporal_iou,
    true_positives,
)
from backend.scoring.temporal.task import TASK, TemporalOptions

NONE = -1
Scores = tuple[float, float]
"""The lowest score that counts, of old and of new."""


@dataclass(frozen=True)
class Found:
    """The predictions of one model. ``taken`` is (thresholds, predictions): the position of the
    segment that each takes, ``NONE`` for a false one."""

    predictions: Predictions
    taken: Indices


@dataclass(frozen=True)
class Detection:
    """One predicted segment in seconds. ``action`` is the place of the one that it takes, None
    for a false one; ``iou`` is that with it, or the largest with any of its class."""

    label: str
    start: float
    end: float
    score: float
    iou: float
    action: int | None


@dataclass(frozen=True)
class Action:
    """One annotated segment in seconds. ``old`` and ``new`` are what takes it, None if nothing
    does; ``nearest`` are the largest IoUs with anything of its class that either model shows."""

    label: str
    start: float
    end: float
    old: Detection | None
    new: Detection | None
    nearest: tuple[float, float]

    @property
    def outcome(self) -> str:
        """``both``, ``gained`` (by new only), ``lost`` (by old only) or ``neither``."""
        if self.old is None:
            return "neither" if self.new is None else "gained"
        return "lost" if self.new is None else "both"


@dataclass(frozen=True)
class Timeline:
    """One video: its actions by time, and what each model found at or above its score, best
    first."""

    video: str
    duration: float
    actions: tuple[Action, ...]
    old: tuple[Detection, ...]
    new: tuple[Detection, ...]


@dataclass(frozen=True)
class Changed:
    """How many actions of a video, and of those how many only new (``gained``) or only old
    (``lost``) found."""

    video: str
    actions: int
    gained: int
    lost: int


@dataclass(frozen=True)
class ActionRecording:
    """All videos of an evaluation under both models, matched once."""

    truth: Truth
    old: Found
    new: Found
    thresholds: tuple[float, ...]
    films: Films

    @classmethod
    def read(cls, truth: Path, predictions: Sequence[Path], options: TemporalOptions) -> Self:
        """Raises DataError with one sentence for files that are gone or wrong."""
        results = [results_of(read_json(path), str(path)) for path in predictions]
        listed = check_truth(
            read_json(truth), results[0], options.subset, options.ignore_labels, str(truth)
        )
        old, new = (
            _match(check_predictions(one, listed, str(path)), listed.segments, options.tiou)
            for one, path in zip(results, predictions, strict=True)
        )
        return cls(listed, old, new, options.tiou, read_films(truth.parent))

    @classmethod
    def of(cls, data: DataComparison) -> Self:
        """What a comparison was made of. Raises DataError."""
        reports = (data.baseline_report, data.candidate_report)
        files = [Path(r.predictions) for r in reports if r.predictions]
        if len(files) < 2 or not reports[0].ground_truth:
            raise DataError("these evaluations kept no predictions, so no segment can be shown")
        options = cast(TemporalOptions, options_of(TASK, reports[0].settings))
        return cls.read(Path(reports[0].ground_truth), files, options)

    def film(self, video: str) -> Path:
        """The file of a video. Raises DataError if there is none."""
        return self.films.film(video)

    def duration(self, video: str) -> float:
        """Seconds; until the last annotated end where the ground truth does not tell it."""
        unit, segments = self.truth.units.index(video), self.truth.segments
        known = float(self.truth.durations[unit])
        last = segments.bounds[segments.videos == unit, 1].max(initial=0)
        return known if known < float("inf") else float(last)

    def best_scores(self, threshold: float) -> Scores:
        """For each model the score from which on its F1 over all actions is best."""
        at, number = self._place(threshold), len(self.truth.segments.labels)
        old, new = (_best_score(side, at, number) for side in (self.old, self.new))
        return old, new

    def changes(self, threshold: float, scores: Scores, label: str = "") -> list[Changed]:
        """All videos with an action (of class ``label``), those that changed most first."""
        at, segments = self._place(threshold), self.truth.segments
        old, new = (
            _seen(side, at, score, len(segments.labels))
            for side, score in zip((self.old, self.new), scores, strict=True)
        )
        wanted = self._of_class(segments, label)
        number = len(self.truth.units)
        counts = [
            np.bincount(segments.videos[wanted & chosen], minlength=number).tolist()
            for chosen in (wanted, new & ~old, old & ~new)
        ]
        rows = [
            Changed(name, *row)
            for name, *row in zip(self.truth.units, *counts, strict=True)
            if row[0] or not label
        ]
        return sorted(rows, key=lambda row: (-row.gained - row.lost, -row.actions, row.video))

    def timeline(self, video: str, threshold: float, scores: Scores, label: str = "") -> Timeline:
        """One video, all classes or one. Raises DataError for a video that there is not."""
        if video not in self.truth.units:
            raise DataError(f"no video '{video}' in this evaluation")
        unit, at, segments = self.truth.units.index(video), self._place(threshold), self.truth
        rows = np.flatnonzero(
            (segments.segments.videos == unit) & self._of_class(segments.segments, label)
        )
        rows = rows[np.lexsort(segments.segments.bounds[rows].T[::-1])]
        sides = [
            self._detections(side, (unit, at, label), score, rows)
            for side, score in zip((self.old, self.new), scores, strict=True)
        ]
        actions = tuple(self._action(place, row, sides) for place, row in enumerate(rows.tolist()))
        return Timeline(video, float(self.truth.durations[unit]), actions, sides[0], sides[1])

    def _detections(
        self, side: Found, where: tuple[int, int, str], score: float, rows: NDArray[np.intp]
    ) -> tuple[Detection, ...]:
        """Those of one video, threshold and class, best first; ``rows`` are its actions."""
        unit, at, label = where
        found, truth = side.predictions, self.truth.segments
        chosen = np.flatnonzero(
            (found.segments.videos == unit)
            & (found.scores >= score)
            & self._of_class(found.segments, label)
        )
        chosen = chosen[np.lexsort((found.positions[chosen], -found.scores[chosen]))]
        iou = temporal_iou(found.segments.bounds[chosen], truth.bounds[rows])
        iou[found.segments.labels[chosen][:, None] != truth.labels[rows]] = 0
        places = {row: place for place, row in enumerate(rows.tolist())}
        made = []
        for number, one in enumerate(chosen.tolist()):
            action = places.get(int(side.taken[at, one]))
            best = iou[number].max(initial=0) if action is None else iou[number, action]
            start, end = found.segments.bounds[one].tolist()
            name = self.truth.classes[found.segments.labels[one]]
            made.append(Detection(name, start, end, float(found.scores[one]), float(best), action))
        return tuple(made)

    def _action(self, place: int, row: int, sides: Sequence[Sequence[Detection]]) -> Action:
        truth = self.truth.segments
        label, bounds = self.truth.classes[truth.labels[row]], truth.bounds[row]
        old, new = (next((one for one in side if one.action == place), None) for side in sides)
        nearest = [_nearest(side, label, bounds) for side in sides]
        start, end = bounds.tolist()
        return Action(label, start, end, old, new, (nearest[0], nearest[1]))

    def _place(self, threshold: float) -> int:
        """The position of a threshold of temporal IoU. Raises DataError for any other."""
        if threshold not in self.thresholds:
            known = ", ".join(f"{one:g}" for one in self.thresholds)
            raise DataError(f"temporal IoU {threshold:g} was not evaluated; there is: {known}")
        return self.thresholds.index(threshold)

    def _of_class(self, segments: Segments, label: str) -> Flags:
        if not label:
            return np.ones(len(segments.labels), dtype=np.bool_)
        if label not in self.truth.classes:
            return np.zeros(len(segments.labels), dtype=np.bool_)
        return np.asarray(segments.labels == self.truth.classes.index(label))


def _match(found: Predictions, truth: Segments, tiou: Sequence[float]) -> Found:
    """The scorer says which predictions are right; each took the best segment then free."""
    hits = true_positives(found, truth, np.array(tiou))
    taken = np.full(hits.shape, NONE, dtype=np.int32)
    keys = group_keys(truth.labels, truth.videos)
    wanted = np.unique(keys)
    of_found = rows_of(group_keys(found.segments.labels, found.segments.videos), wanted)
    for ours, theirs in zip(of_found, rows_of(keys, wanted), strict=True):
        ranked = ours[np.lexsort((found.positions[ours], -found.scores[ours]))]
        for right, row in zip(hits[:, ranked], taken, strict=True):
            _take(found.segments.bounds, truth.bounds, (ranked[right], theirs), row)
    return Found(found, taken)


def _take(
    found: Floats,
    truth: Floats,
    rows: tuple[NDArray[np.intp], NDArray[np.intp]],
    taken: NDArray[np.int32],
) -> None:
    """Write to ``taken`` the segment that each of these right predictions takes, in order."""
    right, theirs = rows
    iou = temporal_iou(found[right], truth[theirs])
    for number, prediction in enumerate(right.tolist()):
        place = int(np.argmax(iou[number]))
        taken[prediction] = theirs[place]
        iou[:, place] = -1


def _seen(side: Found, at: int, score: float, segments: int) -> Flags:
    """Which segments are taken by a prediction of at least this score."""
    taken = side.taken[at, side.predictions.scores >= score]
    seen = np.zeros(segments, dtype=np.bool_)
    seen[taken[taken != NONE]] = True
    return seen


def _best_score(side: Found, at: int, segments: int) -> float:
    """The score from which on F1 is best, the highest of equals; 0 without any match."""
    scores = side.predictions.scores
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(side.taken[at, order] != NONE)
    if not right.size or not right[-1]:
        return 0.0
    f1 = 2 * right / (np.arange(1, len(right) + 1) + segments)
    last = np.append(np.diff(scores[order]) != 0, True)  # equal scores stay together
    return float(scores[order][np.argmax(np.where(last, f1, -1))])


def _nearest(found: Sequence[Detection], label: str, bounds: Floats) -> float:
    same = [(one.start, one.end) for one in found if one.label == label]
    if not same:
        return 0.0
    return float(temporal_iou(np.array(same), bounds[None]).max())
