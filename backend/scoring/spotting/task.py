"""Fine-grained event spotting: F1 of frames, elements and event types, Edit, strict variants.

An event is a strided frame with a set of elements; its type, or code, is that set. Definitions:
specs/mdfed.md, section 4, after the public F3Set and MD-FED evaluators. F1 is 0 to 1, Edit 0
to 100. For the formats of files see ``backend.scoring.spotting.f3set``.

Known quirks of the published rules: two detections of one event are both right; a wrong label
beside a true event is a miss, but not a false positive; F1 over rare types is noisy; equal
events in a row vanish from Edit. The strict variants and ``duplicate_rate`` have none of these.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from backend.core.errors import DataError
from backend.scoring.evidence import Task
from backend.scoring.spotting.evidence import (
    LEVELS,
    METRICS,
    SpottingEvidence,
    Tally,
    restore,
)
from backend.scoring.spotting.f3set import read_clips
from backend.scoring.spotting.frame_ranking import FrameScores
from backend.scoring.spotting.matching import (
    Bools,
    Clip,
    Events,
    Ints,
    Outcomes,
    TimeLine,
    code_outcomes,
    edit_scores,
    frame_outcomes,
    pairs,
    strict_outcomes,
    unmatched,
)
from backend.scoring.spotting.options import SpottingOptions

__all__ = ["TASK", "Clip", "Events", "SpottingEvidence", "SpottingOptions", "match"]


class _Side:
    """All events of one side on the time line; ``codes`` are -1 for events without elements."""

    def __init__(self, line: TimeLine, events: Sequence[Events]) -> None:
        self.times: Ints = np.concatenate(
            [start + part.frames for start, part in zip(line.starts, events, strict=True)]
        )
        self.elements: Bools = np.concatenate([part.elements for part in events])
        self.codes: Ints = np.full(len(self.times), -1)

    def with_codes(self) -> tuple[Ints, Ints]:
        """Times and codes of the events that have elements."""
        typed = self.codes >= 0
        return self.times[typed], self.codes[typed]


def match(
    elements: Sequence[str],
    clips: Sequence[Clip],
    options: SpottingOptions | None = None,
    warnings: Sequence[str] = (),
) -> SpottingEvidence:
    """Match predicted to true events of each clip, in memory.

    ``Events.from_masks`` makes a clip's events of masks per frame. Raises DataError without
    clips or elements, and for clips of the same name.
    """
    options = options or SpottingOptions()
    names = tuple(clip.name for clip in clips)
    if not clips or not elements:
        raise DataError("spotting needs at least one clip and one element to score")
    if len(set(names)) < len(names):
        raise DataError("spotting: two clips have the same name; every clip needs its own")
    line = TimeLine.of([clip.frames for clip in clips], options.tolerance)
    truth = _Side(line, [clip.truth for clip in clips])
    found = _Side(line, [clip.found for clip in clips])
    codes = _number_codes(truth, found)
    edit = edit_scores(line, truth.with_codes(), found.with_codes())
    return SpottingEvidence(
        units=names,
        elements=tuple(elements),
        truth_digest=_truth_digest(elements, clips),
        settings=f"tolerance {options.tolerance}, rule {options.compat or 'mdfed'}",
        codes=codes,
        tally=_tally(line, truth, found, options.compat == "f3ed"),
        edit=np.array(edit),
        frames=_frame_scores(clips),
        warnings=tuple(warnings),
    )


def read(gt: Path, pred: Path, options: SpottingOptions) -> SpottingEvidence:
    """Score files; see ``backend.scoring.spotting.f3set`` for their formats. Raises DataError."""
    data = read_clips(gt, pred, options)
    return match(data.elements, data.clips, options, data.warnings)


def _number_codes(truth: _Side, found: _Side) -> Bools:
    """Number the sets of elements of both sides; returns them as (types, elements)."""
    bits = np.concatenate([truth.elements, found.elements])
    some = bits.any(axis=1)
    codes, number = np.unique(bits[some], axis=0, return_inverse=True)
    every = np.full(len(bits), -1)
    every[some] = number
    truth.codes, found.codes = every[: len(truth.times)], every[len(truth.times) :]
    return codes


Entry = tuple[str, int, Ints | int, Ints, Ints | int]
"""Level, row, label, the times whose clips it concerns, and what it adds."""


def _tally(line: TimeLine, truth: _Side, found: _Side, f3ed: bool) -> Tally:
    levels, rows, labels, units, values = [], [], [], [], []
    for level, row, label, times, value in _entries(line, truth, found, f3ed):
        levels.append(np.full(len(times), LEVELS.index(level)))
        rows.append(np.full(len(times), row))
        labels.append(np.broadcast_to(label, len(times)))
        units.append(line.units(times))
        values.append(np.broadcast_to(value, len(times)))
    parts = (np.concatenate(part) for part in (levels, rows, labels, units, values))
    return Tally(*(part.astype(np.int32) for part in parts))


def _entries(line: TimeLine, truth: _Side, found: _Side, f3ed: bool) -> Iterator[Entry]:
    yield from _labelled("lcl", frame_outcomes(line, truth.times, found.times, f3ed))
    yield from _one_to_one(line, truth.times, found.times)
    yield "occurs", 0, 0, truth.times, 1
    yield "occurs", 1, 0, found.times, 1
    for element in range(truth.elements.shape[1]):
        true = truth.times[truth.elements[:, element]]
        predicted = found.times[found.elements[:, element]]
        outcomes = frame_outcomes(line, true, predicted, f3ed)
        yield from _labelled("element", outcomes, [element] * 3)
        yield "occurs", 0, element + 1, true, 1
    typed = truth.with_codes(), found.with_codes()
    yield from _labelled("event", *code_outcomes(line, *typed))
    yield from _labelled("event_strict", *strict_outcomes(line, *typed))


def _labelled(
    level: str, outcomes: Outcomes, labels: Sequence[Ints | int] = (0, 0, 0)
) -> Iterator[Entry]:
    for row, (times, label) in enumerate(zip(outcomes, labels, strict=True)):
        yield level, row, label, times, 1


def _one_to_one(line: TimeLine, truth: Ints, found: Ints) -> Iterator[Entry]:
    at, true_at = pairs(line, truth, found)
    rest = found[unmatched(at, len(found))]
    missed = truth[unmatched(true_at, len(truth))]
    yield from _labelled("lcl_strict", Outcomes(found[at], rest, missed))
    yield "timing", 0, 0, rest[line.near(rest, truth) > 0], 1
    yield "timing", 1, 0, found[at], found[at] - truth[true_at]


def _frame_scores(clips: Sequence[Clip]) -> FrameScores | None:
    """The scores of all frames; None unless every clip has them."""
    scores = [clip.scores for clip in clips if clip.scores is not None]
    if len(scores) < len(clips):
        return None
    event = [np.isin(np.arange(clip.frames), clip.truth.frames) for clip in clips]
    units = np.repeat(np.arange(len(clips), dtype=np.int32), [len(part) for part in scores])
    return FrameScores(np.concatenate(scores), units, np.concatenate(event))


def _truth_digest(elements: Sequence[str], clips: Sequence[Clip]) -> str:
    said = [
        list(elements),
        [[clip.name, clip.frames, clip.truth.frames.tolist()] for clip in clips],
    ]
    digest = hashlib.sha256(json.dumps(said).encode())
    for clip in clips:
        digest.update(np.packbits(clip.truth.elements).tobytes())
    return digest.hexdigest()


TASK = Task(
    name="spotting",
    unit="clip",
    primary="f1_event",
    unit_metric="edit",
    evaluator="assay.spotting 1",
    metrics=METRICS,
    options=SpottingOptions,
    read=read,
    restore=restore,
)
