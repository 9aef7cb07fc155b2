"""One report as matrices, two beside each other, and what each expert can do alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backend.analysis.experts.course import Quantity, RouterKind, kinds, mean_of, usage_of
from backend.core.errors import StoreError
from backend.core.experts import ExpertReport

Rows = Literal["classes", "sizes"]
Value = float | None
BESIDE: tuple[Quantity, ...] = ("load_balance", "routing_entropy", "usage_entropy")


@dataclass(frozen=True)
class Matrix:
    """Values by row and column; None is undefined. ``counts`` are the objects of each row, and
    ``owners`` the column of the expert in charge of it (None: nobody in particular)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    counts: tuple[int, ...] = ()
    owners: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Solo:
    """Mean AP of the experts alone: on the classes that each is in charge of, and on others'."""

    own: Value
    others: Value

    @property
    def ratio(self) -> Value:
        """How many times better an expert is at home; None where that is undefined."""
        return self.own / self.others if self.own is not None and self.others else None


@dataclass(frozen=True)
class Change:
    """One number in two reports. ``better`` is None where neither direction is better."""

    name: str
    first: Value
    second: Value
    better: Literal["higher", "lower"] | None = None

    @property
    def delta(self) -> Value:
        """Second minus first."""
        if self.first is None or self.second is None:
            return None
        return self.second - self.first


def class_matrix(report: ExpertReport, rows: Rows = "classes") -> Matrix:
    """Which classes, or object sizes, go to which expert: mean weight on matched objects."""
    affinity = report.classes_to_experts if rows == "classes" else report.sizes_to_experts
    empty = (None,) * len(report.experts)
    return Matrix(
        rows=affinity.rows,
        columns=report.experts,
        values=tuple(row or empty for row in affinity.matrix),
        counts=affinity.objects,
        owners=tuple(_owner(report, name) for name in affinity.rows),
    )


def solo_matrix(report: ExpertReport) -> Matrix | None:
    """AP of each class (columns) when one expert (rows) works alone; None: not measured."""
    if report.solo_ap is None:
        return None
    return Matrix(rows=report.experts, columns=report.classes, values=report.solo_ap)


def solo_by_class(report: ExpertReport) -> Matrix | None:
    """The same with the experts in columns and each class's owner, as in ``class_matrix``."""
    if report.solo_ap is None:
        return None
    values = tuple(zip(*report.solo_ap, strict=True))
    owners = tuple(_owner(report, name) for name in report.classes)
    return Matrix(rows=report.classes, columns=report.experts, values=values, owners=owners)


def solo(report: ExpertReport) -> Solo | None:
    """Is an expert better at what it is in charge of? None where it was not measured."""
    if report.solo_ap is None:
        return None
    own: list[float] = []
    others: list[float] = []
    for row, group in zip(report.solo_ap, report.groups, strict=True):
        for name, value in zip(report.classes, row, strict=True):
            if value is not None:
                (own if name in group else others).append(value)
    return Solo(_mean(own), _mean(others))


def changes(first: ExpertReport, second: ExpertReport) -> tuple[Change, ...]:
    """The numbers of two reports beside each other.

    Raises StoreError if they are of different experts, whose numbers mean different things.
    """
    _same_experts(first, second)
    found = [
        Change("alignment", first.alignment, second.alignment, "higher"),
        Change("specialisation", first.specialisation, second.specialisation),
    ]
    for kind in kinds(second):
        found += _router_changes(first, second, kind)
    for index, name in enumerate(second.experts):
        old, new = (r.losses[index].total if r.losses else None for r in (first, second))
        found.append(Change(f"loss of {name}", old, new, "lower"))
    for name in second.classes:
        pair = (first.per_class.get(name), second.per_class.get(name))
        found.append(Change(f"AP of {name}", *pair, "higher"))
    return tuple(found)


def affinity_change(first: ExpertReport, second: ExpertReport, rows: Rows = "classes") -> Matrix:
    """Second minus first; None where either is undefined. Raises StoreError as ``changes``."""
    _same_experts(first, second)
    old, new = class_matrix(first, rows), class_matrix(second, rows)
    if old.rows != new.rows:
        raise StoreError(f"the reports are of different {rows}: {', '.join(old.rows)} and "
                         f"{', '.join(new.rows)}")  # fmt: skip
    values = tuple(
        tuple(None if a is None or b is None else b - a for a, b in zip(one, two, strict=True))
        for one, two in zip(old.values, new.values, strict=True)
    )
    return Matrix(new.rows, new.columns, values, new.counts, new.owners)


def _router_changes(first: ExpertReport, second: ExpertReport, kind: RouterKind) -> list[Change]:
    found = [
        Change(f"{kind} usage of {name}", old, new)
        for name, old, new in zip(
            second.experts,
            usage_of(first, kind) or (None,) * len(second.experts),
            usage_of(second, kind),
            strict=True,
        )
    ]
    for quantity in BESIDE:
        before, after = (mean_of(report.router(kind), quantity) for report in (first, second))
        found.append(Change(f"{kind} {quantity}", _known(before), _known(after)))
    return found


def _same_experts(first: ExpertReport, second: ExpertReport) -> None:
    if first.experts != second.experts:
        raise StoreError(
            f"the reports are of different experts: {', '.join(first.experts)} and "
            f"{', '.join(second.experts)}"
        )


def _owner(report: ExpertReport, name: str) -> int | None:
    return next((index for index, group in enumerate(report.groups) if name in group), None)


def _known(value: float) -> Value:
    return None if math.isnan(value) else value


def _mean(values: Sequence[float]) -> Value:
    return sum(values) / len(values) if values else None
