"""Where a training began, how far it came, and when it was validated and saved."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from backend.analysis import text
from backend.analysis.report.blocks import Block, cell, code, facts
from backend.analysis.report.course import Course
from backend.core.records import Run


def blocks(run: Run, course: Course, imported: bool) -> list[Block]:
    """The course of a training as facts."""
    epochs, begun = course.epochs, run.tags.get("resumed_from", "")
    resumed = [] if imported else resumptions(course)
    rows = [
        ("status", f"{run.status}{f': {cell(run.reason)}' if run.reason else ''}"),
        ("epochs planned", str(course.planned or "")),
        ("epochs with values", f"{epochs[0]} to {epochs[-1]}" if epochs else "none"),
        ("how many these are", f"{len(epochs):,}" if epochs else ""),
        ("before that", _missing(epochs, resumed)),
        ("resumed from epoch", ", ".join(map(str, resumed))),
        ("epochs before are of run", code(origin(run))),
        ("begins with the state of", code(begun) if begun else ""),
        ("validated at epochs", spans(course.curves.get(course.headline, {}))),
        ("first and last validation", _ends(course)),
        ("checkpoints saved at epochs", spans(sorted({saved.epoch for saved in course.saved}))),
        ("checkpoints ranked by", code(course.headline)),
        ("imported from", code(run.tags.get("source", "")) if imported else ""),
    ]
    return ["## Course of the training", facts(rows)]


def resumptions(course: Course) -> list[int]:
    """The epochs that it went on from. An importer starts again at each go, which is none."""
    return [start.resumed_from for start in course.starts if start.resumed_from is not None]


def origin(run: Run) -> str:
    """The key of the run whose state at some epoch this one began with; empty if there is none."""
    return run.tags.get("resumed_from", "").partition("@")[0]


def _missing(epochs: Sequence[int], resumed: Sequence[int]) -> str:
    if not epochs or epochs[0] <= 1 or resumed:
        return ""
    return f"epochs 1 to {epochs[0] - 1} are not in this record"


def _ends(course: Course) -> str:
    """The headline where it was measured first and last; a change takes more than these two."""
    curve = course.finite(course.headline)
    if len(curve) < 2:
        return ""
    ends = (min(curve), max(curve))
    said = (f"{text.number(curve[epoch], 4)} (epoch {epoch})" for epoch in ends)
    return f"{cell(course.headline)} {', '.join(said)}"


def spans(found: Iterable[int]) -> str:
    """``1 to 20``, or each one where they are few or spread."""
    epochs = list(found)
    if not epochs:
        return ""
    steps = {late - early for early, late in pairwise(epochs)}
    if len(epochs) > 2 and len(steps) == 1:
        every = steps.pop()
        return f"{epochs[0]} to {epochs[-1]}" + (f", every {every}" if every > 1 else "")
    return ", ".join(map(str, epochs))
