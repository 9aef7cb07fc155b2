"""The part of a training's report that is about its experts."""

import math

from backend.analysis import text
from backend.analysis.experts import (
    DenseTwin,
    Matrix,
    class_matrix,
    judge,
    kinds,
    solo,
    solo_by_class,
    usage_of,
)
from backend.analysis.report.blocks import Block, bullets, cell, table
from backend.core.experts import ExpertReport


def blocks(report: ExpertReport | None, dense: DenseTwin | None) -> list[Block]:
    """Who did what at the checkpoint in question, and the dense model beside it; empty for a run
    without experts."""
    if report is None:
        return []
    said = [f"{found.rule}: {cell(found.said)}." for found in judge(report)]
    beside = [cell(dense.said)] if dense else []
    return [
        "## Experts",
        _about(report),
        *([bullets([*said, *beside])] if said or beside else []),
        _experts(report),
        "Mean weight of each expert on the objects that were found; * marks the one in charge.",
        _matrix("class", class_matrix(report)),
        _matrix("size", class_matrix(report, "sizes")),
        *_alone(report),
    ]


def _about(report: ExpertReport) -> str:
    count, split = len(report.experts), cell(report.split)
    routing = "supervised" if report.supervised else "not supervised"
    return (
        f"{text.plural(count, 'expert')}, top-k {report.k}, routing {routing}, at step "
        f"{report.step} on {text.scored_on(report.images, 'image', split)}. Alignment "
        f"{text.number(report.alignment)} ({text.number(1 / count, 2)} is chance), "
        f"specialisation {text.number(report.specialisation)}. Entropies of the routers in nats, "
        f"at most ln {count} = {text.number(math.log(count))}: {_entropies(report)}."
    )


def _entropies(report: ExpertReport) -> str:
    return ", ".join(
        f"{router.name} routing {text.number(router.routing_entropy, 2)} and usage "
        f"{text.number(router.usage_entropy, 2)}"
        for router in report.routers
    )


def _experts(report: ExpertReport) -> str:
    shown = kinds(report)
    rows = []
    for index, name in enumerate(report.experts):
        loss = report.losses[index] if report.losses else None
        rows.append(
            (
                *(cell(name), cell(", ".join(report.groups[index]))),
                *(text.percent(usage_of(report, kind)[index], 1) for kind in shown),
                text.number(loss.total if loss else None),
                text.number(loss.per_object if loss else None),
                str(loss.objects) if loss else text.ABSENT,
            )
        )
    head = ("expert", "in charge of", *(f"use ({kind} router)" for kind in shown), "val loss",
            "loss per object", "objects")  # fmt: skip
    return table(head, rows, left=2)


def _matrix(corner: str, matrix: Matrix) -> str:
    rows = [
        (
            cell(name),
            *([str(matrix.counts[row])] if matrix.counts else []),
            *(
                text.number(value, 2) + ("\\*" if matrix.owners[row] == column else "")
                for column, value in enumerate(matrix.values[row])
            ),
        )
        for row, name in enumerate(matrix.rows)
    ]
    head = (corner, *(["objects"] if matrix.counts else []), *map(cell, matrix.columns))
    return table(head, rows, left=1)


def _alone(report: ExpertReport) -> list[Block]:
    matrix, both = solo_by_class(report), solo(report)
    if matrix is None or both is None:
        return []
    said = (
        f"AP when one expert works alone: {text.number(both.own)} on the classes it is in charge "
        f"of, {text.number(both.others)} on others."
    )
    return [said, _matrix("class", matrix)]
