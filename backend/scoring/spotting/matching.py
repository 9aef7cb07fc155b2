"""Which predicted events meet which true ones, for all clips at once.

All clips lie on one time line with a gap between any two, so a tolerance never reaches from
one clip into the next. Times below are places on that line, in strided frames, sorted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Events:
    """Events of one clip: strided ``frames`` (events), rising and each once, and their
    ``elements`` (events, elements)."""

    frames: Ints
    elements: Bools

    @classmethod
    def from_masks(cls, event: NDArray[np.generic], elements: NDArray[np.generic]) -> Self:
        """Events of a mask per frame (frames) and of element bits (frames, elements)."""
        frames = np.flatnonzero(event).astype(np.int64)
        return cls(frames, np.asarray(elements)[frames] != 0)


@dataclass(frozen=True)
class Clip:
    """A clip of ``frames`` strided frames: what is true, what was found, p_event of each frame."""

    name: str
    frames: int
    truth: Events
    found: Events
    scores: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class TimeLine:
    """Where clips lie: clip ``i`` has the times from ``starts[i]``, ``lengths[i]`` of them."""

    starts: Ints
    lengths: Ints
    tolerance: int

    @classmethod
    def of(cls, lengths: Sequence[int], tolerance: int) -> Self:
        """Clips one after the other, with gaps as wide as the tolerance, the first included."""
        sizes = np.asarray(lengths, dtype=np.int64)
        ends = np.cumsum(sizes + tolerance)
        return cls(ends - sizes, sizes, tolerance)

    @property
    def span(self) -> int:
        """More than any two times, tolerance included, can be apart."""
        return int(self.starts[-1] + self.lengths[-1]) + 2 * self.tolerance + 1

    def units(self, times: Ints) -> Ints:
        """The clip of each time."""
        return np.searchsorted(self.starts, times, side="right") - 1

    def inside(self, times: Ints) -> Bools:
        """Whether each time lies in a clip and not in a gap."""
        at = self.units(times)
        return np.asarray((at >= 0) & (times < self.starts[at] + self.lengths[at]))

    def near(self, times: Ints, others: Ints) -> Ints:
        """How many of the sorted ``others`` lie within the tolerance of each time."""
        last = np.searchsorted(others, times + self.tolerance, side="right")
        return last - np.searchsorted(others, times - self.tolerance, side="left")


class Outcomes(NamedTuple):
    """Times that count as true positive, false positive and false negative."""

    tp: Ints
    fp: Ints
    fn: Ints


def frame_outcomes(line: TimeLine, truth: Ints, found: Ints, f3ed: bool) -> Outcomes:
    """Predicted frames with one true frame near, with none, and true ones without a predicted.

    A predicted frame near two true ones is neither. With ``f3ed``, the older rule: a miss is
    each unpredicted frame near exactly one true one. Source: public F3Set and MD-FED evaluators.
    """
    near = line.near(found, truth)
    missed = truth[line.near(truth, found) == 0]
    if f3ed:
        reach = np.arange(-line.tolerance, line.tolerance + 1)
        frames = np.unique(truth[:, None] + reach)
        frames = frames[line.inside(frames) & ~np.isin(frames, found)]
        missed = frames[line.near(frames, truth) == 1]
    return Outcomes(found[near == 1], found[near == 0], missed)


def code_outcomes(
    line: TimeLine, truth: tuple[Ints, Ints], found: tuple[Ints, Ints]
) -> tuple[Outcomes, Outcomes]:
    """Outcomes per event code from (times, codes) of both sides; as times, then as their codes.

    A predicted code is right if the same code is near, wrong only if no true code at all is.
    Events without elements have no code: neither side may hold them.
    """
    (true_times, true_codes), (times, codes) = truth, found
    true_keys, keys = true_codes * line.span + true_times, codes * line.span + times
    right = line.near(keys, np.sort(true_keys)) > 0
    wrong = line.near(times, true_times) == 0
    missed = line.near(true_keys, np.sort(keys)) == 0
    return (
        Outcomes(times[right], times[wrong], true_times[missed]),
        Outcomes(codes[right], codes[wrong], true_codes[missed]),
    )


def pairs(line: TimeLine, truth: Ints, found: Ints) -> tuple[Ints, Ints]:
    """One-to-one matches as positions in ``found`` and in ``truth``, the nearest pairs first.

    Both are sorted; of pairs equally far apart the earlier goes first.
    """
    first = np.searchsorted(truth, found - line.tolerance, side="left")
    number = line.near(found, truth)
    left = np.repeat(np.arange(len(found)), number)
    right = np.arange(len(left)) - np.repeat(np.cumsum(number) - number - first, number)
    order = np.lexsort((right, left, np.abs(found[left] - truth[right])))
    free_found, free_truth = [True] * len(found), [True] * len(truth)
    kept = []
    for i, j in zip(left[order].tolist(), right[order].tolist(), strict=True):
        if free_found[i] and free_truth[j]:
            free_found[i] = free_truth[j] = False
            kept.append((i, j))
    matched = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def strict_outcomes(
    line: TimeLine, truth: tuple[Ints, Ints], found: tuple[Ints, Ints]
) -> tuple[Outcomes, Outcomes]:
    """As ``code_outcomes``, but each true event is found once, and only by its own code."""
    (true_times, true_codes), (times, codes) = (_by_code(side) for side in (truth, found))
    at, true_at = pairs(line, true_codes * line.span + true_times, codes * line.span + times)
    rest, missed = unmatched(at, len(times)), unmatched(true_at, len(true_times))
    return (
        Outcomes(times[at], times[rest], true_times[missed]),
        Outcomes(codes[at], codes[rest], true_codes[missed]),
    )


def _by_code(side: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    order = np.lexsort(side)
    return side[0][order], side[1][order]


def unmatched(taken: Ints, size: int) -> Bools:
    """Which of ``size`` events are not among the positions ``taken``."""
    rest = np.ones(size, dtype=np.bool_)
    rest[taken] = False
    return rest


def edit_scores(line: TimeLine, truth: tuple[Ints, Ints], found: tuple[Ints, Ints]) -> list[float]:
    """Edit of each clip, 0 to 100: ``100 (1 - Levenshtein / longer length)`` of the codes in time.

    Equal neighbours count once, with or without background between them. NaN where both
    sequences are empty.
    """
    true, predicted = (_sequences(line, *side) for side in (truth, found))
    scores = []
    for ours, theirs in zip(predicted, true, strict=True):
        longer = max(len(ours), len(theirs))
        scores.append(100 * (1 - _levenshtein(ours, theirs) / longer) if longer else float("nan"))
    return scores


def _sequences(line: TimeLine, times: Ints, codes: Ints) -> list[Ints]:
    units = line.units(times)
    changed = np.ones(len(codes), dtype=np.bool_)
    changed[1:] = (codes[1:] != codes[:-1]) | (units[1:] != units[:-1])
    ends = np.searchsorted(units[changed], np.arange(1, len(line.starts)))
    return np.split(codes[changed], ends)


def _levenshtein(one: Ints, other: Ints) -> int:
    steps = np.arange(len(other) + 1)
    row = steps
    for number, code in enumerate(one.tolist(), start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (other != code))
        row = np.minimum.accumulate(np.append(number, best) - steps) + steps
    return int(row[-1])
