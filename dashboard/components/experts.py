"""The parts of *Experts* that are words and tables: facts, findings, a row per expert."""

import math
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.analysis.experts import Change, DenseTwin, Judgement, changes, judge
from backend.analysis.experts.keys import EXPERTS
from backend.analysis.experts.twin import command as twin_command
from backend.analysis.experts.views import (
    TopKPoint,
    conditions,
    has_experts,
)
from backend.core.errors import StoreError
from backend.core.experts import ExpertReport, RouterReport
from backend.core.records import Run, StudyRecord
from dashboard.components.cards import command, empty, facts, panel, state_link
from dashboard.figures.top_k import title
from dashboard.formatting import count, number, percent, signed
from dashboard.palette import expert_style
from dashboard.view import View

PATH = "/experts"
_GRAVE = ("dead", "collapsed")
CONFIG = "configs/train/moe_rtdetr.yaml"
TRAIN = f"assay train {CONFIG}"


def no_experts(runs: Sequence[Run], wanted: str, view: View) -> Any:
    """Why there is nothing to see, and what to do about it."""
    trained = [run for run in runs if has_experts(run)]
    links = [
        state_link(run.name or run.key, PATH, view, "button-link quiet", run=run.key, step="")
        for run in trained[:6]
    ]
    others = [html.Div(links, className="chips")] if links else []
    named = next((run for run in runs if wanted in (run.key, run.name)), None)
    if wanted and named is None:
        return empty("No such run", f"No run of this store is called '{wanted}'.", *others)
    if named and has_experts(named):
        text = "Experts are looked at in each validation, and the first has not ended yet."
        return empty(f"{named.name} has not been validated", text, *others)
    if named:
        text = "It was trained without a mixture. These runs have one:" if links else (
            "It was trained without a mixture. This trains one:"
        )  # fmt: skip
        return empty(f"{named.name} has no experts", text, *(others or [command(TRAIN)]))
    none = f"None of the {count(len(runs), 'run')} here has" if runs else "There are no runs with"
    return empty(
        "No run with experts yet",
        f"{none} a mixture of experts. This trains RT-DETR with routed experts:",
        command(TRAIN),
    )


def summary(run: Run, report: ExpertReport) -> list[Any]:
    """The run in a line."""
    letter = run.params.get(EXPERTS, "")
    parts = [
        f"configuration {letter}" if letter else "",
        f"{count(len(report.experts), 'expert')}, {report.k} per choice",
        "router supervised by class group" if report.supervised else "router not supervised",
        run.status,
    ]
    return [html.Span(part) for part in parts if part]


def key_facts(run: Run, report: ExpertReport, router: RouterReport, twin: DenseTwin | None) -> Any:
    """The moment in numbers; nothing is called good or bad by an entropy alone."""
    n = len(report.experts)
    even = report.k >= n
    dead = [report.experts[e] for e, state in enumerate(conditions(router))
            if state in ("dead", "unused")]  # fmt: skip
    chance = f"by chance {1 / n:.2f}"
    emergent = "" if report.supervised else ", emergent"
    items: list[tuple[str, Any]] = [
        (f"{run.headline}, best checkpoint", _big(number(run.best.get(run.headline)))),
        ("Dense model of the same cost", _dense(run, twin)),
        ("Experts chosen", _big(f"{report.k} of {n}", _gflops(report))),
        ("Usage entropy", _big("not informative", "k = E: even by construction") if even
         else _entropy(router.usage_entropy, n)),
        ("Routing entropy", _entropy(router.routing_entropy, n)),
        ("Load balance", _big(number(router.load_balance, 3), "1 is even")),
        ("Alignment", _big(number(report.alignment, 2), chance + emergent)),
        ("Specialisation", _big(number(report.specialisation, 2), "of 1: an expert per class")),
        ("Dead experts", _big(", ".join(dead) or "none", warn=bool(dead))),
    ]  # fmt: skip
    return facts(items)


def _gflops(report: ExpertReport) -> str:
    if report.gflops is None:
        return ""
    return f"{number(report.gflops, 3)} GFLOPs, dense {number(report.dense_gflops, 3)}"


def _big(text: str, small: str = "", *, warn: bool = False) -> Any:
    parts = [html.Span(text, className="big warn" if warn else "big")]
    if small:
        parts.append(html.Span(small, className="fact-note"))
    return html.Span(parts)


def _entropy(nats: float, experts: int) -> Any:
    bound = math.log(experts)
    share = f"{nats / bound:.0%} of ln {experts} = {bound:.2f}" if bound else "one expert"
    return _big(f"{nats:.2f} nats", share)


def _dense(run: Run, twin: DenseTwin | None) -> Any:
    if twin is None or twin.run is None:
        return _big("not trained")
    value = number(twin.run.best.get(run.headline))
    return _big(value, twin.run.name if twin.fair else f"{twin.run.name}, other settings")


def findings(run: Run, report: ExpertReport, twin: DenseTwin | None) -> Any:
    """What is wrong with the use of the experts, and how they stand against the dense model."""
    items: list[Any] = [_finding(judgement) for judgement in judge(report)]
    if not report.supervised:
        items.append(html.Li("The router was not taught the class groups (route_sup 0): alignment "
                             "is what emerged by itself."))  # fmt: skip
    if twin is not None and twin.fair:
        items.append(html.Li(twin.said))
    elif twin is not None:
        said = twin.said.rpartition(": ")[0]
        items.append(html.Li([f"{said}: ", command(twin_command(run))]))
    return html.Ul(items, className="findings") if items else None


def _finding(judgement: Judgement) -> Any:
    """A sentence; one that begins with an expert's name keeps it as it is written."""
    said = judgement.said if judgement.experts else judgement.said[0].upper() + judgement.said[1:]
    return html.Li(f"{said}.", className="warn" if judgement.rule in _GRAVE else "")


def expert_table(report: ExpertReport, router: RouterReport) -> Any:
    """A row per expert, which is also the legend of the colours."""
    names = ("Expert", "In charge of", "Usage", "Mean weight", "Objects", "Loss",
             "Loss per object", "AP of its classes")  # fmt: skip
    head = [html.Th(name, scope="col", className="num" if i > 2 else "")
            for i, name in enumerate(names)]  # fmt: skip
    states = conditions(router)
    top = max(router.usage) or 1.0
    rows = [_expert_row(report, router, e, states[e], top) for e in range(len(report.experts))]
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
        className="scroll-x",
        tabIndex=0,
    )


def _expert_row(
    report: ExpertReport, router: RouterReport, expert: int, state: str, top: float
) -> Any:
    name, group = report.experts[expert], report.groups[expert]
    loss = report.losses[expert] if expert < len(report.losses) else None
    label: list[Any] = [expert_mark(expert), html.Span(name)]
    if state:
        label.append(html.Span(state, className=f"tag {state}"))
    share = router.usage[expert]
    bar = html.Span(className="bar", style={"width": f"{share / top:.1%}"})
    cells = [
        number(router.importance[expert], 3),
        f"{loss.objects:,}" if loss else "–",
        number(loss.total) if loss else "–",
        number(loss.per_object) if loss else "–",
        number(_own_ap(report, group), 3),
    ]
    return html.Tr(
        [
            html.Th(html.Span(label, className="run-cell"), scope="row"),
            html.Td(", ".join(group) or html.Span("no class", className="dim")),
            html.Td(html.Span([html.Span(percent(share), className="share"),
                               html.Span(bar, className="track")], className="usage")),
            *(html.Td(cell, className="num") for cell in cells),
        ]
    )  # fmt: skip


def _own_ap(report: ExpertReport, group: Sequence[str]) -> float | None:
    known = [ap for name in group if (ap := report.per_class.get(name)) is not None]
    return sum(known) / len(known) if known else None


def expert_mark(expert: int) -> Any:
    """The colour and dash of an expert."""
    color, dash = expert_style(expert)
    return html.Span(className="stroke", style={"borderTop": f"3px {_CSS[dash]} {color}"},
                     **{"aria-hidden": "true"})  # fmt: skip


_CSS = {"solid": "solid", "dash": "dashed", "dot": "dotted", "dashdot": "double"}


def change_table(left: ExpertReport, right: ExpertReport) -> Any:
    """Two reports number by number, or why they cannot be held against each other."""
    try:
        found = changes(left, right)
    except StoreError as error:
        said = str(error)
        return dmc.Text(f"No difference: {said}.", size="sm", c="dimmed", mt="sm")
    head = [html.Th(name, scope="col", className="num" if i else "")
            for i, name in enumerate(("", "Left", "Right", "Right − left"))]  # fmt: skip
    rows = [html.Tr([html.Th(one.name.replace("_", " "), scope="row"), *_change_cells(one)])
            for one in found]  # fmt: skip
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
        className="scroll-x limited",
        tabIndex=0,
    )


def _change_cells(one: Change) -> list[Any]:
    tone = ""
    if one.better and one.delta:
        tone = "good" if (one.delta > 0) == (one.better == "higher") else "bad"
    return [
        html.Td(number(one.first), className="num"),
        html.Td(number(one.second), className="num"),
        html.Td(html.Span(signed(one.delta), className=f"delta {tone}"), className="num"),
    ]


def study_table(points: Sequence[TopKPoint], study: StudyRecord, view: View) -> Any:
    """The trials of a study over top-k, the best value first."""
    names = ("Configuration", "k", study.metric, "GFLOPs of one image", "Run")
    head = [html.Th(n, scope="col", className="num" if 0 < i < 4 else "")
            for i, n in enumerate(names)]  # fmt: skip
    ordered = sorted(points, key=lambda p: p.value, reverse=study.direction == "maximize")
    rows = [html.Tr([
        html.Th(title(p.configuration), scope="row"),
        html.Td(p.k, className="num"),
        html.Td(number(p.value), className="num"),
        html.Td(number(p.gflops, 3), className="num"),
        html.Td(state_link(f"trial {p.trial}", "/compare", view, "rival", runs=(p.run,),
                           baseline="", comparison="")),
    ]) for p in ordered]  # fmt: skip
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
        className="scroll-x limited",
        tabIndex=0,
    )


def no_study() -> Any:
    """What to do for a study over top-k."""
    return panel(
        "Top-k against computing",
        dmc.Text("No study over top-k is stored yet. This one trains the configurations A, B and "
                 "C and the dense model at top-k 1, 2 and 3:", size="sm", mb="sm"),
        command(f"assay study run moe_top_k --config {CONFIG}"),
    )  # fmt: skip
