"""The panels of *Experts* that hold charts. ``drawn`` are figures by the names they go by."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import html

from backend.analysis.experts import against_dense, solo
from backend.analysis.experts.views import TopKPoint
from backend.core.experts import ExpertReport
from backend.core.records import Run, StudyRecord
from dashboard import ids
from dashboard.components.cards import panel, state_link
from dashboard.components.experts import study_table
from dashboard.components.graph import graph
from dashboard.figures.top_k import top_k
from dashboard.formatting import number
from dashboard.view import View

Figures = dict[str, go.Figure]
ROOMY = 7  # columns of a heat map whose numbers are legible on a phone
_NOTES = {
    "entropy": ("Entropies", "Usage: how evenly the experts are used together. Routing: how "
                "undecided the router is for one token; gate: how it shares the chosen. None "
                "is good or bad by itself."),
    "balance": ("Load balance", "What the balance loss sees: 1 is even, the number of experts is "
                "one expert for all. Thin lines: the other routers, which are never pooled."),
    "purpose": ("Do experts follow their classes?", "Alignment: weight of the expert in charge on "
                "its objects. Specialisation: what the class tells about the expert."),
    "headline": ("Is it worth it?", "The run's measure, and the dense model of the same cost."),
    "val": ("Loss of each expert, validation", "Each expert's class columns and targets; the "
            "parts add up to the detection loss."),
    "train": ("Loss of each expert, training", "Mean over the epoch so far; the parts add up to "
              "the detection loss."),
}  # fmt: skip


def graph_id(group: str, name: str, *runs: Run) -> dict[str, object]:
    """The id of a chart: other runs make another chart."""
    return ids.graph(group, " ".join([name, *(run.key for run in runs)]))


def _heat(id_: object, figure: go.Figure, label: str) -> Any:
    """A heat map, which tells the stylesheet whether its numbers need a wide window."""
    cramped = len(figure.data[0].x) > ROOMY
    return html.Div(graph(id_, figure, label), className="cramped" if cramped else "")


def course_cards(drawn: Figures, run: Run, loss_control: Any) -> Any:
    """The usage heat map, then the curves."""
    asides = {"val": loss_control}
    heat = panel(
        "Usage over time",
        _heat(graph_id(ids.COURSE, "usage", run), drawn["usage"], f"usage {run.name}"),
        note="Share of all choices that each expert got in a validation. A cross: dead, less than "
        "a tenth of an even share. Click a column to go to its step.",
    )
    cards = [_chart(name, drawn[name], run, asides.get(name)) for name in _NOTES if name in drawn]
    curves = panel("Over the training", html.Div(cards, className="charts"))
    return html.Div([heat, curves], className="stack")


def _chart(name: str, figure: go.Figure, run: Run, aside: Any) -> Any:
    title, note = _NOTES[name]
    return html.Div(
        [
            html.Div([dmc.Title(title, order=4, className="chart-title"), aside],
                     className="chart-head spread"),
            dmc.Text(note, size="xs", c="dimmed"),
            graph(graph_id(ids.COURSE, name, run), figure, f"{title} {run.name}"),
        ],
        className="chart",
    )  # fmt: skip


def matrix_panels(drawn: Figures, run: Run, other: Run) -> Any:
    """Which class, and which size of object, goes to which expert."""

    def chart(name: str, title: str, note: str) -> Any:
        id_ = graph_id(ids.MOMENT, name, run, other)
        return panel(title, _heat(id_, drawn[name], f"{title} {run.name}"), note=note)

    return html.Div(
        [
            chart("classes", "Class to expert", "Mean weight of each expert (columns) on the "
                  "objects of each class (rows, with their number); rows sum to 1. Framed: the "
                  "expert in charge."),
            chart("sizes", "Size to expert", "The same by object size, as COCO counts it: small "
                  "below 32², large above 96² pixels."),
        ],
        className="two-columns",
    )  # fmt: skip


def side_by_side(drawn: Figures, run: Run, other: Run) -> list[Any]:
    """Two class matrices, and their difference if they have one."""
    titles = {"left": "Left", "right": "Right: as chosen above", "change": "Right − left"}
    return [
        html.Div(
            [
                dmc.Title(title, order=4, className="chart-title"),
                _heat(graph_id(ids.MOMENT, name, run, other), drawn[name], title),
            ],
            className="chart",
        )
        for name, title in titles.items()
        if name in drawn
    ]


def solo_panel(drawn: Figures, run: Run, final: ExpertReport | None) -> Any:
    """What each expert can do alone, as the final evaluation measured it."""
    title = "Experts alone"
    if final is None or "alone" not in drawn:
        text = ("AP of each expert alone is measured once, in the final evaluation (analyze: "
                "final); there is none yet.")  # fmt: skip
        return panel(title, dmc.Text(text, size="sm", c="dimmed"))
    found = solo(final)
    said = ""
    if found and found.ratio is not None:
        said = (f" At home {number(found.own, 3)}, elsewhere {number(found.others, 3)}: "
                f"{found.ratio:.1f} times better at home.")  # fmt: skip
    return panel(
        title,
        _heat(graph_id(ids.COURSE, "alone", run), drawn["alone"], "AP of experts alone"),
        note="AP of each class (columns) when the query routers may use one expert only (rows). "
        f"Framed: its own classes.{said}",
    )


def study_panel(study: StudyRecord, points: Sequence[TopKPoint], view: View, scheme: str) -> Any:
    """A study over top-k: its chart and its table."""
    costed = [point for point in points if point.gflops is not None]
    body: list[Any] = [dmc.Text("No trial is finished yet.", size="sm", c="dimmed")]
    if points:
        body = [study_table(points, study, view)]
    if costed:
        id_ = ids.graph(ids.STUDY, f"top-k {study.name}")
        figure = top_k(points, study.metric, scheme, study.name)
        body.insert(0, graph(id_, figure, f"top-k study {study.name}"))
    note = "One training per mark: differences of a few thousandths may be chance."
    if len(costed) < len(points):
        note += f" {len(points) - len(costed)} without a known cost are in the table only."
    link = state_link(study.name, "/studies", view, "button-link quiet", study=study.name)
    costs = {point.run: point.gflops for point in points if point.gflops is not None}
    said = [html.Li(f"{text}.") for text in against_dense(study, costs)]
    return panel(
        "Top-k against computing",
        html.Div(body, className="two-columns"),
        html.Ul(said, className="findings") if said else None,
        aside=link,
        note=note,
    )
