"""Curves over the validations of one run. Values of the query routers are means over layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backend.core.errors import StoreError
from backend.core.events import Envelope, ExpertsObserved
from backend.core.experts import ExpertReport, RouterReport

RouterKind = Literal["token", "query"]
Quantity = Literal[
    "load_balance", "routing_entropy", "usage_entropy", "gate_entropy", "z_loss", "max_violation"
]
Loss = Literal["val", "train", "per_object"]


@dataclass(frozen=True)
class Line:
    """A curve over optimizer steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Heat:
    """A value for each expert (rows) at each step (columns)."""

    experts: tuple[str, ...]
    steps: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Entropies:
    """Entropies in nats at each step; ``bound`` is ln E, the largest that either can be.

    ``routing`` is the mean over tokens of the router's own entropy: how undecided it is for one
    token. ``usage`` is the entropy of the experts' shares: how evenly they are used together.
    """

    steps: tuple[int, ...]
    routing: tuple[float, ...]
    usage: tuple[float, ...]
    bound: float

    def share(self, values: Sequence[float]) -> tuple[float, ...]:
        """Entropies as shares of the bound; 0 where one expert leaves nothing to choose."""
        return tuple(value / self.bound if self.bound else 0.0 for value in values)


def reports_of(envelopes: Sequence[Envelope]) -> tuple[ExpertReport, ...]:
    """As ``RunStore.experts`` has them: a step that a resume repeated counts once."""
    steps: dict[int, ExpertReport] = {}
    final: tuple[ExpertReport, ...] = ()
    for envelope in envelopes:
        event = envelope.event
        if isinstance(event, ExpertsObserved) and event.final:
            final = (event.report,)
        elif isinstance(event, ExpertsObserved):
            steps[event.report.step] = event.report
    return (*(steps[step] for step in sorted(steps)), *final)


def final_of(reports: Sequence[ExpertReport]) -> ExpertReport | None:
    """The report of the final evaluation: it comes last and looks back at an earlier step."""
    if len(reports) > 1 and reports[-1].step <= reports[-2].step:
        return reports[-1]
    return None


def validations(reports: Sequence[ExpertReport]) -> list[ExpertReport]:
    """The reports of a run without that of its final evaluation, in step order."""
    return list(reports[:-1] if final_of(reports) else reports)


def at_step(reports: Sequence[ExpertReport], step: int | None = None) -> ExpertReport:
    """The validation at a step; None: the final evaluation, or else the last validation.

    Raises StoreError that names the steps there are.
    """
    if not reports:
        raise StoreError("nothing is known of experts: no validation has reported any")
    if step is None:
        return reports[-1]
    seen = validations(reports)
    found = [report for report in seen if report.step == step]
    if not found:
        known = [str(report.step) for report in seen]
        some = known if len(known) < 9 else [*known[:4], "...", *known[-4:]]
        raise StoreError(f"no validation at step {step}; there is: {', '.join(some)}")
    return found[-1]


def kinds(report: ExpertReport) -> tuple[RouterKind, ...]:
    """The kinds of routers that a report knows."""
    every: tuple[RouterKind, ...] = ("token", "query")
    return tuple(kind for kind in every if report.router(kind))


def usage_of(report: ExpertReport, kind: RouterKind) -> tuple[float, ...]:
    """Each expert's share of the choices; sums to 1. Empty without routers of that kind."""
    return _mean([router.usage for router in report.router(kind)])


def usage_over_time(reports: Sequence[ExpertReport], kind: RouterKind) -> Heat:
    """Usage of each expert at each validation."""
    seen = [report for report in validations(reports) if report.router(kind)]
    columns = [usage_of(report, kind) for report in seen]
    return Heat(
        experts=seen[-1].experts if seen else (),
        steps=tuple(report.step for report in seen),
        values=tuple(zip(*columns, strict=True)),
    )


def over_time(reports: Sequence[ExpertReport], kind: RouterKind, quantity: Quantity) -> Line:
    """One quantity of the routers at each validation."""
    seen = [report for report in validations(reports) if report.router(kind)]
    return Line(
        tuple(report.step for report in seen),
        tuple(mean_of(report.router(kind), quantity) for report in seen),
    )


def entropies(reports: Sequence[ExpertReport], kind: RouterKind) -> Entropies:
    """Both entropies with their bound at each validation."""
    routing = over_time(reports, kind, "routing_entropy")
    usage = over_time(reports, kind, "usage_entropy")
    experts = len(reports[-1].experts) if reports else 1
    return Entropies(routing.steps, routing.values, usage.values, math.log(experts))


def losses_over_time(reports: Sequence[ExpertReport], which: Loss = "val") -> dict[str, Line]:
    """Each expert's loss at each validation that knows it.

    ``val`` and ``train`` add up to the detection loss; ``per_object`` is the validation's, divided
    by the objects of the expert's own classes.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for report in validations(reports):
        for name, value in zip(report.experts, _losses(report, which), strict=False):
            if value is not None:
                found.setdefault(name, []).append((report.step, value))
    return {
        name: Line(tuple(step for step, _ in points), tuple(value for _, value in points))
        for name, points in found.items()
    }


def train_losses_at(reports: Sequence[ExpertReport], step: int) -> tuple[float, ...]:
    """Each expert's training loss when the validation at a step was made; the final evaluation
    looks back at it and has none of its own."""
    found = [report.train_losses for report in reports if report.step == step]
    return next((losses for losses in found if losses), ())


def mean_of(routers: Sequence[RouterReport], quantity: Quantity) -> float:
    """A quantity over the layers of one kind."""
    values: list[float] = [getattr(router, quantity) for router in routers]
    return sum(values) / len(values) if values else math.nan


def _losses(report: ExpertReport, which: Loss) -> tuple[float | None, ...]:
    if which == "train":
        return report.train_losses
    return tuple(loss.total if which == "val" else loss.per_object for loss in report.losses)


def _mean(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
