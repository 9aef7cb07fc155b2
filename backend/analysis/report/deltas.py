"""Differences as tables."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from backend.analysis import text
from backend.analysis.report.blocks import Block, bullets, cell, table
from backend.core.comparisons import DataComparison, Family, MetricDelta


class _Column(NamedTuple):
    """A column that is left out where no row has anything for it."""

    head: str
    show: Callable[[MetricDelta], str]
    always: bool = True


def metrics(deltas: Sequence[MetricDelta], confidence: float, first: str = "metric") -> str:
    """One row for each metric or class, candidate minus baseline."""
    columns = [
        _Column(first, lambda d: cell(d.name)),
        _Column("old", lambda d: text.number(d.baseline, text.digits_of(d.unit))),
        _Column("new", lambda d: text.number(d.candidate, text.digits_of(d.unit))),
        _Column("difference", lambda d: text.signed(d.delta, text.digits_of(d.unit))),
        _Column(
            f"{text.level(confidence)} interval",
            lambda d: text.interval(d, text.digits_of(d.unit)),
        ),
        _Column("p", lambda d: text.p_value(d.p_value), always=False),
        _Column("new wins", lambda d: text.share(d.wins)),
        _Column(
            "margin", lambda d: f"±{text.plain(d.margin)}" if d.margin else text.ABSENT, False
        ),
        _Column("verdict", lambda d: "not present" if d.delta is None else d.verdict),
        _Column("units needed", lambda d: f"{d.needed:,}" if d.needed else text.ABSENT, False),
    ]
    shown = [c for c in columns if c.always or any(c.show(d) != text.ABSENT for d in deltas)]
    rows = [[column.show(delta) for column in shown] for delta in deltas]
    return table([column.head for column in shown], rows, left=1)


def errors(data: DataComparison, confidence: float) -> list[Block]:
    """What each kind of error costs either side."""
    if not data.errors:
        return []
    note = (
        "How much AP at IoU 0.5 each side would gain if one kind of error were mended, all else "
        "as it is (TIDE); less is better."
    )
    return ["### Kinds of error", note, metrics(data.errors, confidence, "error")]


def units(data: DataComparison) -> list[Block]:
    """The units that gained or lost most."""
    if not data.per_unit:
        return []
    note = (
        f"The {data.unit}s that changed most"
        f"{f', by {cell(data.unit_metric)}' if data.unit_metric else ''}, the largest gain first; "
        "as they were picked for that, they show where to look and prove nothing."
    )
    rows = [
        (
            cell(unit.unit),
            text.number(unit.baseline),
            text.number(unit.candidate),
            text.signed(unit.delta),
        )
        for unit in data.per_unit
    ]
    return ["### What changed most", note, table((data.unit, "old", "new", "difference"), rows, 1)]


def family(found: Family | None) -> list[Block]:
    """All candidates that were compared with the baseline at once."""
    if found is None:
        return []
    note = (
        f"{text.plural(len(found.members), 'candidate')} against {cell(found.baseline)} in "
        f"{cell(found.metric)}, with intervals that hold for all at once and p-values adjusted "
        "for their number (max-statistic)."
    )
    rows = [
        (
            cell(member.label),
            text.number(found.baseline_value),
            text.number(member.value),
            text.signed(member.delta),
            text.bounds(member.low, member.high),
            text.p_value(member.p_value),
            member.verdict,
        )
        for member in found.members
    ]
    level = f"{text.level(found.confidence)} interval"
    head = ("candidate", "old", "new", "difference", level, "p", "verdict")
    blocks: list[Block] = ["## All candidates", note, table(head, rows, left=1)]
    return [*blocks, *([bullets(map(cell, found.warnings))] if found.warnings else [])]
