"""Figures of a run's experts over its training. ``reports`` know one router each.

An expert has the colour and dash of its number in every figure.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from backend.analysis.experts import (
    Heat,
    kinds,
    losses_over_time,
    over_time,
    usage_over_time,
    validations,
)
from backend.analysis.experts.course import Loss, RouterKind
from backend.analysis.experts.views import conditions
from backend.core.experts import ExpertReport
from backend.core.records import Series
from dashboard.figures.theme import HEAT, Scheme, template
from dashboard.formatting import cut, number
from dashboard.palette import CATEGORY_COLORS, GREY, expert_style

HEIGHT = 260
ROW = 34  # pixels of height in a heat map
FEW = 8  # validations whose steps all stand on the axis
ROOM = 24  # validations whose shares have room to be written into their cells
MARKERS = 40
BAD = ("dead", "unused")
Reports = Sequence[ExpertReport]
_Line = tuple[str, Sequence[int], Sequence[float], str, str]  # name, steps, values, colour, dash


def usage(reports: Reports, scheme: Scheme, revision: str) -> go.Figure:
    """Each expert's share of the choices at each validation; dead ones are crossed."""
    heat = usage_over_time(reports, _kind(reports[-1]))
    experts, few = list(range(len(heat.experts))), len(heat.steps) <= ROOM
    even = 1 / len(experts)
    top = max(2 * even, *(share for row in heat.values for share in row))
    figure = go.Figure(layout=_layout(heat.steps, scheme, revision))
    figure.add_heatmap(
        x=heat.steps, y=experts, z=heat.values, coloraxis=HEAT, xgap=1 if few else 0, ygap=2,
        customdata=_words(reports, heat), text=_shares(reports, heat) if few else None,
        texttemplate="%{text}" if few else None,
        hovertemplate="%{customdata}: %{z:.1%} of the choices<br>step %{x:,}<extra></extra>",
    )  # fmt: skip
    if not few:
        figure.add_trace(_crosses(reports))
    bar = {"tickvals": [0, even, top], "ticktext": ["0", f"even {even:.0%}", f"{top:.0%}"]}
    figure.update_layout(
        height=76 + ROW * len(experts),
        hovermode="closest",
        margin={"t": 34},
        xaxis={"title": {"standoff": 16}},
        yaxis={
            "tickvals": experts, "ticktext": _names(reports[-1]), "autorange": "reversed",
            "showgrid": False, "zeroline": False, "ticklabelstandoff": 6, "fixedrange": True,
        },
        **{HEAT: {"cmin": 0, "cmax": top, "colorbar": bar}},
    )  # fmt: skip
    return figure


def _kind(report: ExpertReport) -> RouterKind:
    return kinds(report)[0]


def _names(report: ExpertReport) -> list[str]:
    """Experts as a heat map's axis names them: dead ones with a cross and the word."""
    states = conditions(report.routers[0])
    return [
        f"<b>✕ {cut(name)}</b> · {state}" if state in BAD else cut(name)
        for name, state in zip(report.experts, states, strict=True)
    ]


def _words(reports: Reports, heat: Heat) -> list[list[str]]:
    """What the pointer is told: the expert, and what is wrong with it there."""
    columns = [conditions(report.routers[0]) for report in validations(reports)]
    return [
        [f"{name}, {states[row]}" if states[row] else name for states in columns]
        for row, name in enumerate(heat.experts)
    ]


def _shares(reports: Reports, heat: Heat) -> list[list[str]]:
    """What stands in the cells: shares, with a cross where an expert was dead."""
    columns = [conditions(report.routers[0]) for report in validations(reports)]
    return [
        [f"{'✕ ' if states[row] in BAD else ''}{share:.0%}"
         for states, share in zip(columns, shares, strict=True)]
        for row, shares in enumerate(heat.values)
    ]  # fmt: skip


def _crosses(reports: Reports) -> dict[str, Any]:
    """A cross on each cell of an expert that was dead then."""
    cells = [
        (report.step, expert)
        for report in validations(reports)
        for expert, state in enumerate(conditions(report.routers[0]))
        if state in BAD
    ]
    return {
        "type": "scatter", "mode": "markers", "showlegend": False, "hoverinfo": "skip",
        "name": "dead", "x": [x for x, _ in cells], "y": [y for _, y in cells],
        "marker": {"symbol": "x-thin", "size": 6, "line": {"width": 1.5, "color": "#e8590c"}},
    }  # fmt: skip


def entropies(reports: Reports, scheme: Scheme, revision: str) -> go.Figure:
    """Usage, routing and gate entropy under the bounds ln E and ln k."""
    last = reports[-1]
    bound, gate_bound = math.log(len(last.experts)), math.log(last.k)
    kind = _kind(last)
    parts = (("usage", "usage_entropy"), ("routing", "routing_entropy"), ("gate", "gate_entropy"))
    lines: list[_Line] = []
    for i, (name, quantity) in enumerate(parts):
        curve = over_time(reports, kind, quantity)  # type: ignore[arg-type]
        lines.append((name, curve.steps, curve.values, CATEGORY_COLORS[i], "solid"))
    figure = _lines(lines, scheme, revision, "Entropy (nats)")
    _bound(figure, bound, f"ln {len(last.experts)} = {bound:.2f}, the bound")
    if 1 < last.k < len(last.experts):
        _bound(figure, gate_bound, f"ln {last.k} = {gate_bound:.2f}, the bound of the gate")
    figure.update_yaxes(range=[0, 1.16 * bound or 1])
    return figure


def balance(reports: Reports, chosen: str, scheme: Scheme, revision: str) -> go.Figure:
    """The load-balance loss of every router, never pooled; the chosen one stands out.

    ``reports`` know all routers here.
    """
    seen = validations(reports)
    names = [router.name for router in reports[-1].routers]
    lines: list[_Line] = []
    for name in sorted(names, key=lambda name: name == chosen):
        points = [(r.step, x.load_balance) for r in seen for x in r.routers if x.name == name]
        color = CATEGORY_COLORS[0] if name == chosen else GREY
        steps, values = [step for step, _ in points], [value for _, value in points]
        lines.append((router_title(name), steps, values, color, "solid"))
    figure = _lines(lines, scheme, revision, "Load-balance loss")
    for trace in figure.data[:-1]:
        trace.update(line={"width": 1}, opacity=0.55, mode="lines")
    figure.update_layout(showlegend=False)
    _bound(figure, 1.0, "1 = even")
    return figure


def router_title(name: str) -> str:
    """``queries, layer 1`` or ``tokens``; layers count from 0, as everywhere else."""
    kind, _, layer = name.partition("/")
    return f"queries, layer {layer}" if layer.isdigit() else f"{kind}s"


def purpose(reports: Reports, scheme: Scheme, revision: str) -> go.Figure:
    """Alignment over chance, and specialisation."""
    seen, lines = validations(reports), []
    for i, name in enumerate(("alignment", "specialisation")):
        points = [(r.step, value) for r in seen if (value := getattr(r, name)) is not None]
        steps, values = [step for step, _ in points], [value for _, value in points]
        lines.append((name, steps, values, CATEGORY_COLORS[i], "solid"))
    figure = _lines(lines, scheme, revision, "Share of 1")
    chance = 1 / len(reports[-1].experts)
    _bound(figure, chance, f"alignment by chance: {chance:.2f}")
    figure.update_yaxes(range=[-0.02, 1.05])
    return figure


def losses(reports: Reports, which: Loss, scheme: Scheme, revision: str) -> go.Figure:
    """Each expert's detection loss."""
    curves = losses_over_time(reports, which)
    experts = reports[-1].experts
    lines = [
        (cut(name), curve.steps, curve.values, *expert_style(experts.index(name)))
        for name, curve in curves.items()
    ]
    title = "Loss per object" if which == "per_object" else "Loss (parts of the whole)"
    figure = _lines(lines, scheme, revision, title)
    figure.update_layout(showlegend=False)
    figure.update_yaxes(rangemode="tozero")
    return figure


def headline(
    series: Series, metric: str, dense: tuple[str, float] | None, scheme: Scheme, revision: str
) -> go.Figure:
    """The run's own measure over its training; ``dense`` is the twin's name and best value."""
    line = ("experts", series.steps, series.values, CATEGORY_COLORS[0], "solid")
    figure = _lines([line], scheme, revision, metric)
    figure.update_layout(showlegend=False)
    if dense:
        _bound(figure, dense[1], f"dense: {number(dense[1])} at its best")
        figure.update_yaxes(rangemode="tozero")
    return figure


def _lines(lines: Sequence[_Line], scheme: Scheme, revision: str, title: str) -> go.Figure:
    steps = max((line[1] for line in lines), key=len, default=())
    figure = go.Figure(layout=_layout(steps, scheme, revision))
    for name, x, y, color, dash in lines:
        figure.add_scatter(
            x=x, y=y, name=name, mode="lines+markers" if len(x) < MARKERS else "lines",
            line={"color": color, "dash": dash, "width": 1.8}, marker={"size": 5},
            hovertemplate="%{y:.4~g}",
        )  # fmt: skip
    figure.update_yaxes(title={"text": title}, nticks=6)
    return figure


def _bound(figure: go.Figure, value: float, text: str) -> None:
    figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=value, y1=value,
                     line={"color": GREY, "width": 1, "dash": "dash"})  # fmt: skip
    figure.add_annotation(
        xref="paper", x=1, xanchor="right", y=value, yanchor="bottom", text=text, showarrow=False
    )


def _layout(steps: Sequence[int], scheme: Scheme, revision: str) -> dict[str, Any]:
    return {
        "template": template(scheme),
        "height": HEIGHT,
        "uirevision": revision,
        "hovermode": "x unified",
        "margin": {"t": 30},
        "xaxis": {"title": {"text": "Step"}, "tickvals": ticks(steps), "zeroline": False},
    }


def ticks(steps: Sequence[int]) -> list[int] | None:
    """Where the axis is marked: at each step while they are few, else where Plotly likes."""
    return list(steps) if len(steps) <= FEW else None
