"""What a tracker says frame by frame, collected as the rows of a sequence."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from backend.datasets.tracking.records import Floats, Ints, TrackSequence
from backend.scoring.tracking.boxes import iou
from backend.trainers.motrv2.model.tracker import FrameTracks, TrackSettings

MATCH = 0.5
"""IoU from which a box is an object's."""
NOBODY = -1
"""The label of an object that no query is at."""


@dataclass(frozen=True)
class Rows:
    """Tracked boxes of a sequence, (n,) each: ``boxes`` (n, 4) are left, top, width, height in
    pixels with two decimals, as files have them; ``labels`` count from 0."""

    frames: Ints
    ids: Ints
    boxes: Floats
    scores: Floats
    labels: Ints

    def above(self, threshold: float) -> Self:
        """What is shown at a higher score threshold; a track is there from its first such box."""
        chosen = self.scores > threshold
        return type(self)(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True)
class QueryScores:
    """What all queries said in all frames: ``places`` (n,) of their frames, ``scores`` and
    ``labels`` of their best class; ``first`` is the highest score of the first class."""

    places: Ints
    scores: Floats
    labels: Ints
    first: float


def truth_rows(sequence: TrackSequence) -> Rows:
    """The targets of a sequence: boxes that count, of known classes, by frame."""
    truth = sequence.truth
    wanted = truth.targets
    return Rows(
        frames=truth.frames[wanted],
        ids=truth.ids[wanted],
        boxes=truth.boxes[wanted],
        scores=np.ones(int(wanted.sum())),
        labels=truth.labels[wanted],
    )


_NOTHING = Rows(
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty((0, 4)),
    np.empty(0),
    np.empty(0, np.int64),
)


class BoxCollector:
    """The boxes that one run shows, collected frame by frame."""

    def __init__(self, size: tuple[int, int], settings: TrackSettings) -> None:
        self._size, self._settings = size, settings
        self._parts = [_NOTHING]
        self.born: set[int] = set()

    def add(self, number: int, tracks: FrameTracks) -> None:
        self.born.update(one for one in tracks.ids.tolist() if one >= 0)
        shown = tracks.shown(self._size, self._settings)
        boxes = pixels(shown, self._size)
        self._parts.append(
            Rows(
                frames=np.full(len(boxes), number, np.int64),
                ids=shown.ids.numpy(),
                boxes=boxes.round(2),
                scores=shown.scores.double().numpy(),
                labels=shown.labels.numpy(),
            )
        )

    def rows(self) -> Rows:
        """All of them."""
        return Rows(
            **{
                field.name: np.concatenate([getattr(part, field.name) for part in self._parts])
                for field in fields(Rows)
            }
        )


class QueryCollector:
    """What the queries say, and which of them is at each target, collected frame by frame."""

    def __init__(self, sequence: TrackSequence, size: tuple[int, int]) -> None:
        self._targets, self._size = truth_rows(sequence), size
        none = np.empty(0, np.int64)
        self._parts = [(none, np.empty(0), none)]
        self._first = 0.0
        self.named: list[Ints] = []

    def add(self, place: int, number: int, tracks: FrameTracks) -> None:
        scores, labels = (one.numpy() for one in tracks.class_scores.double().max(-1))
        self._parts.append((np.full(len(scores), place), scores, labels))
        self._first = max([self._first, *tracks.class_scores[:, 0].tolist()])
        first, last = np.searchsorted(self._targets.frames, (number, number + 1))
        surest = _surest(
            self._targets.boxes[first:last], pixels(tracks, self._size), scores, labels
        )
        self.named.append(np.stack([self._targets.labels[first:last], surest], axis=1))

    def queries(self) -> QueryScores:
        """All of them."""
        places, scores, labels = (
            np.concatenate(parts) for parts in zip(*self._parts, strict=True)
        )
        return QueryScores(places, scores, labels, self._first)


def pixels(tracks: FrameTracks, size: tuple[int, int]) -> Floats:
    """Boxes (N, 4) left, top, width, height in an image of ``size``."""
    boxes = tracks.boxes.double().numpy()
    corner = boxes[:, :2] - boxes[:, 2:] / 2
    placed: Floats = np.concatenate([corner, boxes[:, 2:]], axis=1) * np.array([*size, *size])
    return placed


def _surest(targets: Floats, boxes: Floats, scores: Floats, labels: Ints) -> Ints:
    """The label (targets,) of the query of the highest score at each target."""
    if not len(targets) or not len(boxes):
        return np.full(len(targets), NOBODY, np.int64)
    worth = np.where(iou(targets, boxes) >= MATCH, scores, -1.0)
    best = worth.argmax(axis=1)
    there = worth.max(axis=1) >= 0
    return np.where(there, labels[best], NOBODY)
