"""Two checkpoints of one run: with intervals where both were scored unit by unit, else not."""

from collections.abc import Iterable, Sequence

from backend.analysis import text
from backend.analysis.epochs import EpochComparison, compare_epochs
from backend.analysis.report import deltas, outlook
from backend.analysis.report.blocks import Block, cell, table
from backend.analysis.report.course import Course
from backend.core.comparisons import Comparison
from backend.core.records import Checkpoint, Run

Pair = tuple[int, int]
"""Epochs, the old one first."""


def blocks(
    run: Run,
    course: Course,
    kept: Sequence[Checkpoint],
    comparisons: Sequence[Comparison],
    asked: Pair | None,
) -> list[Block]:
    """The metrics of both with their differences; nothing for a run with one checkpoint.

    Without ``asked``: those that were compared last, else the last two that are kept, else the
    last two that were validated. Raises ComparisonError if nothing was measured at both asked for.
    """
    within = [found for found in comparisons if pair_of(run, found) is not None]
    if asked is not None:
        within = [found for found in within if pair_of(run, found) == asked]
    if within:
        return _compared(within[0])
    pair = asked or _default(course, kept)
    return _measured(run, course, kept, pair) if pair else []


def pair_of(run: Run, comparison: Comparison) -> Pair | None:
    """The epochs, if both sides are checkpoints of the run."""
    old, new = comparison.baseline.checkpoint, comparison.candidate.checkpoint
    return (old.epoch, new.epoch) if old.run == new.run == run.key else None


def _default(course: Course, kept: Sequence[Checkpoint]) -> Pair | None:
    validated = list(course.finite(course.headline))
    still = sorted({checkpoint.epoch for checkpoint in kept} & set(validated))
    chosen = still if len(still) > 1 else validated
    return (chosen[-2], chosen[-1]) if len(chosen) > 1 else None


def _compared(found: Comparison) -> list[Block]:
    old, new = found.baseline.checkpoint.epoch, found.candidate.checkpoint.epoch
    return [
        f"## Epoch {new} against epoch {old}",
        f"{outlook.verdict(found)} Intervals are over {cell(found.target.unit)}s.",
        deltas.metrics(found.target.metrics, found.confidence),
    ]


def _measured(run: Run, course: Course, kept: Sequence[Checkpoint], pair: Pair) -> list[Block]:
    """From the curves alone. Raises ComparisonError."""
    keys = list(dict.fromkeys((course.headline, *course.keys(losses=False, split="val/"))))
    found = compare_epochs(
        {key: course.finite(key) for key in keys},
        {key: course.direction(key) for key in keys},
        pair,
        headline=course.headline,
        run=run.key,
    )
    return [
        f"## Epoch {pair[1]} against epoch {pair[0]}",
        f"{_no_interval()} {_how(run, kept, pair)}",
        _table(found, keys),
    ]


def _no_interval() -> str:
    return (
        "From the curves: one number per metric and epoch, so no difference here has an interval "
        "and none decides anything by itself."
    )


def _how(run: Run, kept: Sequence[Checkpoint], pair: Pair) -> str:
    if {checkpoint.epoch for checkpoint in kept} >= set(pair):
        return f"Intervals: `assay compare {run.key}@{pair[0]} {run.key}@{pair[1]}`."
    return "Intervals need the predictions of both, and their checkpoints are not kept here."


def _table(found: EpochComparison, keys: Iterable[str]) -> str:
    shown = {change.name: change for change in found.metrics if change.delta is not None}
    rows = [
        (
            cell(change.name),
            text.number(change.first, 4),
            text.number(change.second, 4),
            text.signed(change.delta, 4),
            text.number(change.limit, 4),
            "against the headline" if change.against else "",
        )
        for key in keys
        if (change := shown.get(key)) is not None
    ]
    scatter = "two epochs of its scatter differ by"
    head = ("metric", f"epoch {found.first}", f"epoch {found.second}", "difference", scatter, "")
    return table(head, rows, left=1)
