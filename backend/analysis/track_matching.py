"""Which boxes of a tracker are right, frame by frame: what the counts of CLEAR are made of.

The rule is trackeval's (Bernardin and Stiefelhagen 2008): a pair of the frame before is kept while
it overlaps enough, the rest is assigned by the largest sum of IoU. So the marks that one sees in a
frame add up to the numbers of the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from backend.analysis.tracks import Boxes, TrackedSequence
from backend.scoring.tracking.boxes import iou
from backend.scoring.tracking.motchallenge import UNKNOWN, Tracks

Kind = Literal["switch", "missed", "false", "class"]
KINDS: tuple[Kind, ...] = ("switch", "missed", "false", "class")
_KEPT = 1000.0  # what a pair of the frame before is worth more than any IoU
_TINY = float(np.finfo("float").eps)


class Pair(NamedTuple):
    """A true box and its match: rows of both sides; ``before`` is the id it had, if another."""

    truth: int
    found: int
    before: int | None = None


@dataclass(frozen=True)
class FrameMatch:
    """One frame: pairs of rows, and the rows of truth and predictions without a partner."""

    number: int
    pairs: tuple[Pair, ...] = ()
    missed: tuple[int, ...] = ()
    false: tuple[int, ...] = ()


class Mistake(NamedTuple):
    """What is wrong in a frame. ``about`` is equal for the same mistake of another tracker."""

    kind: Kind
    about: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class Judged:
    """One sequence under both models: frame number to what each got wrong, empty frames left out.

    ``differences`` maps a kind of mistake to the places in ``tracked.numbers`` of the frames in
    which only one of both makes it.
    """

    tracked: TrackedSequence
    old: Mapping[int, list[Mistake]]
    new: Mapping[int, list[Mistake]]
    differences: Mapping[Kind, list[int]]


def judge(tracked: TrackedSequence, threshold: float = 0.5) -> Judged:
    """What both models got wrong in each frame, and where they differ."""
    old, new = (
        {
            number: mistakes(match, tracked.truth, side)
            for number, match in match_frames(tracked.truth.rows, side.rows, threshold).items()
        }
        for side in (tracked.old, tracked.new)
    )
    differences: dict[Kind, list[int]] = {kind: [] for kind in KINDS}
    for place, number in enumerate(tracked.numbers):
        for kind in differing(old.get(number, ()), new.get(number, ())):
            differences[kind].append(place)
    return Judged(tracked, old, new, differences)


def match_frames(
    truth: Tracks, predictions: Tracks, threshold: float = 0.5
) -> dict[int, FrameMatch]:
    """Every frame that has a box, by its number; rows are sorted by frame on both sides."""
    last: dict[int, int] = {}  # true id to the id that it was matched with most recently
    previous: dict[int, int] = {}  # the same, in the frame before only
    found: dict[int, FrameMatch] = {}
    for number, true, seen in _frames(truth, predictions):
        if not len(true) or not len(seen):
            found[number] = FrameMatch(number, (), tuple(true.tolist()), tuple(seen.tolist()))
            continue
        overlap = iou(truth.boxes[true], predictions.boxes[seen])
        kept = np.array([previous.get(one, -1) for one in truth.ids[true].tolist()])
        worth = overlap + _KEPT * (predictions.ids[seen][None] == kept[:, None])
        worth[overlap < threshold - _TINY] = 0
        rows, columns = linear_sum_assignment(-worth)
        right = worth[rows, columns] > _TINY
        pairs, previous = [], {}
        for row, column in zip(true[rows[right]], seen[columns[right]], strict=True):
            one, now = int(truth.ids[row]), int(predictions.ids[column])
            before = last.get(one, now)
            pairs.append(Pair(int(row), int(column), None if before == now else before))
            last[one] = previous[one] = now
        missed = np.setdiff1d(true, true[rows[right]]).tolist()
        false = np.setdiff1d(seen, seen[columns[right]]).tolist()
        found[number] = FrameMatch(number, tuple(pairs), tuple(missed), tuple(false))
    return found


def mistakes(match: FrameMatch, truth: Boxes, found: Boxes) -> list[Mistake]:
    """What is wrong in a frame, in words."""
    ids, seen = truth.rows.ids, found.rows.ids
    wrong: list[Mistake] = []
    for pair in match.pairs:
        one, name = int(ids[pair.truth]), truth.label(pair.truth)
        if pair.before is not None:
            text = f"id switch {pair.before} → {seen[pair.found]}{_of(name)}"
            wrong.append(Mistake("switch", (one,), text))
        labels = truth.rows.classes[pair.truth], found.rows.classes[pair.found]
        if UNKNOWN not in labels and labels[0] != labels[1]:
            text = f"{seen[pair.found]} {found.label(pair.found)} is {name}"
            wrong.append(Mistake("class", (one, int(labels[1])), text))
    wrong += [
        Mistake("missed", (int(ids[row]),), f"missed {truth.label(row) or ids[row]}")
        for row in match.missed
    ]
    wrong += [
        Mistake("false", (at,), f"false {seen[row]} {found.label(row)}".rstrip())
        for at, row in enumerate(match.false)
    ]
    return sorted(wrong, key=lambda one: KINDS.index(one.kind))


def differing(old: Sequence[Mistake], new: Sequence[Mistake]) -> set[Kind]:
    """The kinds of mistake that one tracker makes in a frame and the other does not."""
    sides = [{(one.kind, one.about) for one in side} for side in (old, new)]
    return {kind for kind, _ in sides[0] ^ sides[1]}


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _frames(truth: Tracks, predictions: Tracks) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each frame's number with its rows of both sides."""
    numbers = np.union1d(truth.frames, predictions.frames)
    ends = [
        (np.searchsorted(side.frames, numbers), np.searchsorted(side.frames, numbers, "right"))
        for side in (truth, predictions)
    ]
    for at, number in enumerate(numbers.tolist()):
        true, seen = (np.arange(first[at], last[at]) for first, last in ends)
        yield number, true, seen
