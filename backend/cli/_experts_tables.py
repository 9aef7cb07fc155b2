"""What ``assay experts`` prints: tables as wide as the terminal, and sentences."""

import json
import math
import sys
from collections.abc import Sequence

from rich.console import Console, Group

from backend.analysis import text
from backend.analysis.experts import (
    DenseTwin,
    Matrix,
    at_step,
    class_matrix,
    dense_twin,
    final_of,
    is_dense,
    judge,
    kinds,
    solo,
    solo_by_class,
    train_losses_at,
    usage_of,
)
from backend.cli._common import table
from backend.cli._experts_source import Observed
from backend.core.errors import StoreError
from backend.core.experts import ExpertReport

Drawn = str | Group
PIPE = 140
LEAST_AP = 0.01  # below it a ratio is noise
CELL = len("0.12*")


def pages(observed: Observed, step: int | None) -> list[Drawn]:
    """All that is to be printed. Raises StoreError for a step without a validation."""
    head = f"{observed.title}: {observed.state}"
    things: list[Drawn] = [head, *observed.notes]
    if not observed.reports:
        return [*things, *_nothing(observed), *_dense_lines(observed)]
    report = at_step(observed.reports, step)
    final = report is final_of(observed.reports)
    return [
        *things,
        _about(report, final=final),
        "",
        _expert_table(report, train_losses_at(observed.reports, report.step)),
        "",
        _router_table(report),
        *_judged(report),
        "",
        *_matrices(report),
        *_dense_lines(observed),
    ]


def as_json(observed: Observed, step: int | None) -> str:
    """The same for programs."""
    report = at_step(observed.reports, step) if observed.reports else None
    twin = _twin(observed)
    found = {
        "run": observed.title,
        "state": observed.state,
        "over": observed.over,
        "steps": [one.step for one in observed.reports],
        "report": report.model_dump(mode="json") if report else None,
        "findings": [
            {"rule": j.rule, "routers": j.routers, "experts": j.experts, "said": j.said}
            for j in (judge(report) if report else ())
        ],
        "dense": None if twin is None else {
            "run": twin.run.key if twin.run else None, "differs": twin.differs,
            "experts_better": twin.better, "said": twin.said,
        },
    }  # fmt: skip
    return json.dumps(found, indent=2)


def width() -> int:
    """Of the terminal; a pipe is wide."""
    return Console().width if sys.stdout.isatty() else PIPE


def _nothing(observed: Observed) -> list[str]:
    """Why there is nothing to see. Raises StoreError if there never will be."""
    if not observed.over:
        return ["No validation has told of experts yet; --watch waits for the first."]
    if observed.run and is_dense(observed.run):
        raise StoreError(f"{observed.title} is the dense model, which has no experts; compare it "
                         "with a run that has: assay compare")  # fmt: skip
    kind = f" ({observed.run.trainer})" if observed.run else ""
    raise StoreError(f"{observed.title}{kind} is over and told nothing of experts: it has none, "
                     "or ended before its first validation")  # fmt: skip


def _about(report: ExpertReport, *, final: bool) -> str:
    when = "final evaluation of" if final else "validation at"
    supervised = "supervised routing" if report.supervised else "routing not supervised"
    cost = "" if report.gflops is None else f", {text.number(report.gflops, 2)} GFLOP per image"
    on = text.scored_on(report.images, "image", report.split)
    return (
        f"{when} step {report.step}, epoch {report.epoch}, on {on}\n"
        f"{len(report.experts)} experts, top-k {report.k}, {supervised}{cost}"
    )


def _expert_table(report: ExpertReport, trained: Sequence[float]) -> Group:
    """Who does how much, and how well; ``!`` marks the dead."""
    shown = kinds(report)
    dead = {name for found in judge(report) if found.rule == "dead" for name in found.experts}
    rows = []
    for index, name in enumerate(report.experts):
        loss = report.losses[index] if report.losses else None
        train = trained[index] if trained else None
        rows.append(
            (
                *(str(index + 1), f"{name} !" if name in dead else name),
                *(text.percent(usage_of(report, kind)[index], 1) for kind in shown),
                text.number(loss.total if loss else None),
                text.number(loss.per_object if loss else None),
                text.number(train),
                str(loss.objects) if loss else text.ABSENT,
            )
        )
    even = text.percent(1 / len(report.experts), 1)
    title = f"experts: share of each router's choices (even: {even}), and losses, which add up"
    columns = ("#", "expert", *shown, "val loss", "per object", "train", "objects")
    return table(title, columns, rows)


def _router_table(report: ExpertReport) -> Group:
    """How surely and how evenly each router chooses."""
    bound = math.log(len(report.experts))

    def of_bound(value: float) -> str:
        return f"{text.number(value, 2)} {text.percent(value / bound if bound else None):>5}"

    rows = [
        (
            router.name,
            of_bound(router.routing_entropy),
            of_bound(router.usage_entropy),
            text.number(router.load_balance),
            text.number(router.max_violation, 2),
            text.number(router.z_loss, 2),
            f"{router.tokens:,}",
        )
        for router in report.routers
    ]
    title = (
        f"routers: entropies in nats, at most ln {len(report.experts)} = {text.number(bound)}; "
        "balance 1 is even"
    )
    columns = ("router", "routing", "usage", "balance", "violation", "z-loss", "tokens")
    return table(title, columns, rows)


def _judged(report: ExpertReport) -> list[str]:
    return (
        ["", *(f"{found.rule}: {found.said}" for found in judge(report))] if judge(report) else []
    )


def _matrices(report: ExpertReport) -> list[Drawn]:
    classes = class_matrix(report)
    averages = {name: text.number(value) for name, value in report.per_class.items()}
    title = "classes to experts: mean weight on found objects; * the expert in charge"
    things: list[Drawn] = [
        _matrix(title, "class", classes, averages),
        _aligned(report),
        "",
        _matrix("object sizes to experts", "size", class_matrix(report, "sizes"), {}),
    ]
    alone, both = solo_by_class(report), solo(report)
    if alone is None or both is None:
        return [*things, "AP of each expert alone is measured in the final evaluation"]
    shown = both.ratio is not None and both.own is not None and both.own >= LEAST_AP
    ratio = f", {both.ratio:.1f} times as much" if shown else ""
    return [
        *(*things, ""),
        _matrix("AP when one expert works alone", "class", alone, {}),
        f"alone at home {text.number(both.own)}, elsewhere {text.number(both.others)}{ratio}",
    ]


def _aligned(report: ExpertReport) -> str:
    chance = text.number(1 / len(report.experts), 2)
    emergent = "" if report.supervised else " (emergent: nothing supervised it)"
    micro = text.number(report.alignment_micro)
    return (
        f"alignment {text.number(report.alignment)}{emergent}, {micro} over objects, {chance} by "
        f"chance; specialisation {text.number(report.specialisation)}"
    )


def _matrix(title: str, corner: str, matrix: Matrix, averages: dict[str, str]) -> Group:
    """A matrix, in as many parts as the width asks for."""
    counts = [str(count) for count in matrix.counts]
    before = [matrix.rows, *([counts] if counts else [])]
    before += [[averages.get(name, text.ABSENT) for name in matrix.rows]] if averages else []
    head = (corner, *(["objects"] if counts else []), *(["AP"] if averages else []))
    taken = sum(
        max(map(len, (name, *cells))) + 3 for name, cells in zip(head, before, strict=True)
    )
    parts: list[Group] = []
    for columns in _parts(matrix, width() - taken):
        rows = [
            (*(cells[index] for cells in before), *(_weight(matrix, index, c) for c in columns))
            for index in range(len(matrix.rows))
        ]
        parts.append(table("" if parts else title, (*head, *columns.values()), rows))
    return Group(*parts)


def _parts(matrix: Matrix, room: int) -> list[dict[int, str]]:
    """Columns that fit beside each other, with their headings: numbers where names do not fit."""
    names = dict(enumerate(matrix.columns))
    if sum(max(len(name), CELL) + 3 for name in names.values()) <= room:
        return [names]
    numbers = [(index, f"#{index + 1}") for index in names]
    most = max(1, room // (CELL + 3))
    return [dict(numbers[i : i + most]) for i in range(0, len(numbers), most)]


def _weight(matrix: Matrix, row: int, column: int) -> str:
    own = bool(matrix.owners) and matrix.owners[row] == column
    return text.number(matrix.values[row][column], 2) + ("*" if own else "")


def _twin(observed: Observed) -> DenseTwin | None:
    return dense_twin(observed.run, observed.others) if observed.run else None


def _dense_lines(observed: Observed) -> list[str]:
    """The dense comparison, whoever wins; why there is none where the run has no record."""
    twin = _twin(observed)
    if twin is not None:
        return ["", twin.said]
    if observed.run is not None:
        return []
    return ["", "This run is not in the home's MLflow, so no dense run could be looked up; "
            "assay replay brings it in."]  # fmt: skip
