"""Figures of how a training converges: curves over steps with what explains them drawn in.

A run keeps its colour. On a chart with both, validation is solid and training dotted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from backend.analysis.diagnostics.views import Gap, Mark
from dashboard.curves import Line
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import number, plain
from dashboard.palette import GREY
from dashboard.trials import log_ticks

HEIGHT, SMALL = 260, 220
MARKERS = 40  # points of a line up to which each is marked
FEW_POWERS, MANY_POWERS = 50, 1e6
ALARM = "#e8590c"
BAND = "rgba(12, 166, 120, 0.13)"
# One lightness from the input of the network to its output, so that both schemes can show it.
DEPTH = ["#0170d9", "#7a6ff0", "#b052d0", "#d0458f", "#e0563f", "#c98a00"]
_DASHES = ("dash", "dot", "dashdot", "longdash")
_SYMBOLS = {
    "checkpoint": ("circle-open", 7),
    "best": ("star", 11),
    "recovery": ("triangle-down", 11),
    "end": ("x-thin", 9),
}


STEPS = {
    "title": {"text": "Step"}, "zeroline": False, "hoverformat": ",d", "rangemode": "tozero",
    "unifiedhovertitle": {"text": "Step %{x:,d}"},
}  # fmt: skip


@dataclass(frozen=True)
class Track:
    """A line and what it is of: a loss on one of two splits, or something that has none."""

    line: Line
    kind: Literal["train", "val", "only"]


@dataclass(frozen=True)
class Timeline:
    """What happened to a run, beside its curves."""

    name: str
    color: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Steps:
    """Places on the step axis of every chart: the end of the warm-up, and findings by their step
    with the rules that fired there first."""

    warm: int = 0
    findings: Mapping[int, str] | None = None


@dataclass(frozen=True)
class Drawn:
    """How a page is drawn: its scheme, the identity that keeps a zoom, and a log axis."""

    scheme: Scheme
    revision: str
    log: bool = False


def curve(
    tracks: Sequence[Track], levels: Mapping[str, float], title: str, at: Steps, how: Drawn
) -> go.Figure:
    """Lines of one quantity with levels to judge them by."""
    figure = go.Figure(layout=_layout(how))
    figure.add_traces(_tracks(tracks))
    _levels(figure, levels, how.log)
    _verticals(figure, at)
    figure.update_yaxes(title={"text": title}, nticks=6)
    if how.log:
        _log_axis(figure)
    elif not any(value for trace in figure.data for value in trace.y):
        figure.update_yaxes(range=[-0.05, 1])  # Plotly would put nothing but zeros into -1 to 1
    return figure


def course(
    losses: Sequence[Track],
    levels: Mapping[str, float],
    rates: Sequence[tuple[str, Line]],
    happened: Sequence[Timeline],
    at: Steps,
    how: Drawn,
) -> go.Figure:
    """Loss, events and learning rates (key and line) over one step axis."""
    figure = curve(losses, levels, "Loss", at, how)
    _words(figure, at.warm, "warm-up ends", GREY)
    strip = 0.05 * max(1, len(happened))
    foot = 0.24 if rates else 0.0
    top = foot + strip + (0.06 if rates else 0.04)
    figure.update_layout(
        height=414 + 16 * max(1, len(happened)),
        hoversubplots="axis",
        yaxis={"domain": [top, 1]},
        xaxis={"anchor": "y3" if rates else "y2"},
        yaxis2={
            "domain": [foot + 0.02, foot + 0.02 + strip], "range": [len(happened) - 0.5, -0.5],
            "showgrid": False, "zeroline": False, "showticklabels": False, "fixedrange": True,
        },
    )  # fmt: skip
    figure.add_traces([one for row, line in enumerate(happened) for one in _happened(line, row)])
    if rates:
        figure.update_layout(
            yaxis3={
                "domain": [0, foot - 0.03], "title": {"text": "Learning rate"}, "nticks": 3,
                "exponentformat": "power", "rangemode": "tozero", "zeroline": False,
                "type": "log" if how.log else "linear",
            }
        )  # fmt: skip
        figure.add_traces([_line(rate, "solid", 1.6) | {"yaxis": "y3", "name": f"{name}, {key}"}
                           for key, rate in rates for name in [rate.style.name]])  # fmt: skip
    return figure


def network(
    lines: Sequence[tuple[str, Sequence[int], Sequence[float]]],
    title: str,
    usual: tuple[float, float] | None,
    limits: Mapping[str, float],
    at: Steps,
    how: Drawn,
) -> go.Figure:
    """A line per part of the network, coloured from its input to its output, on a log axis.

    ``usual`` is shaded; zeros, which a log axis cannot show, are left out.
    """
    figure = go.Figure(layout=_layout(how) | {"showlegend": True, "margin": {"t": 34}})
    if usual:
        figure.add_hrect(y0=usual[0], y1=usual[1], fillcolor=BAND, line_width=0, layer="below")
    colors = depth_colors(len(lines))
    for (name, steps, values), color in zip(lines, colors, strict=True):
        y = np.asarray(values, float)
        figure.add_scatter(
            x=list(steps), y=np.where(y > 0, y, np.nan), name=name, mode=_mode(len(steps)),
            line={"color": color, "width": 1.7}, marker={"size": 4},
            hovertemplate="%{y:.2~e}",
        )  # fmt: skip
    _levels(figure, limits, log=True)
    _verticals(figure, at)
    figure.update_yaxes(title={"text": title})
    _log_axis(figure)
    return figure


def depth_colors(count: int) -> list[str]:
    """Colours of so many parts from the network's input to its output."""
    places = [i / (count - 1) for i in range(count)] if count > 1 else [0.0] * count
    return list(sample_colorscale(DEPTH, places)) if count else []


def gap(
    gaps: Sequence[tuple[str, str, Gap]], explained: Gap | None, at: Steps, how: Drawn
) -> go.Figure:
    """Validation minus training loss of runs (name, colour, gap), and the gap that the labels of
    the two splits alone explain."""
    figure = go.Figure(layout=_layout(how))
    for name, color, one in gaps:
        own = one.own or 0.0
        figure.add_scatter(
            x=one.steps, y=one.gaps, name=name, mode=_mode(len(one.steps)), showlegend=False,
            line={"color": color, "width": 2}, marker={"size": 4.5},
            customdata=[[_percent(r), number(g - own)]
                        for r, g in zip(one.relative, one.gaps, strict=True)],
            hovertemplate="%{y:.4~f} (%{customdata[0]}), unexplained %{customdata[1]}",
        )  # fmt: skip
    levels = {"no gap": 0.0}
    if explained is not None and explained.own is not None:
        levels[f"explained by the labels ({explained.name})"] = explained.own
    _levels(figure, levels, log=False)
    _verticals(figure, at)
    figure.update_yaxes(title={"text": "Validation − training"}, nticks=6)
    return figure


def shares(
    runs: Sequence[tuple[str, str, Sequence[int], Sequence[float]]], title: str, how: Drawn
) -> go.Figure:
    """Shares of one over steps, as percent."""
    figure = go.Figure(layout=_layout(how))
    for name, color, steps, values in runs:
        figure.add_scatter(
            x=list(steps), y=list(values), name=name, mode=_mode(len(steps)),
            line={"color": color, "width": 1.7}, marker={"size": 4},
            hovertemplate="%{y:.1%}",
        )  # fmt: skip
    figure.update_yaxes(title={"text": title}, range=[-0.03, 1.05], tickformat=".0%")
    return figure


def _tracks(tracks: Sequence[Track]) -> list[dict[str, Any]]:
    """Training under validation, runs in the order given."""
    words = {"train": ", training", "val": ", validation", "only": ""}
    found = []
    for track in sorted(tracks, key=lambda track: track.kind != "train"):
        soft = track.kind == "train"
        made = _line(track.line, "dot" if soft else track.line.style.dash, 1.4 if soft else 2)
        made["name"] = f"{track.line.style.name}{words[track.kind]}"
        found.append(made | {"opacity": 0.8 if soft else 1})
    return found


def _line(line: Line, dash: str, width: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "x": line.x.astype(np.float32),
        "y": line.y.astype(np.float32),
        "name": line.style.name,
        "showlegend": False,
        "mode": _mode(line.shown),
        "line": {"color": line.style.color, "width": width, "dash": dash},
        "marker": {"size": 4.5},
        "hovertemplate": "%{y:.4~g}",
    }


def _mode(points: int) -> str:
    return "lines+markers" if points < MARKERS else "lines"


def _happened(line: Timeline, row: int) -> list[dict[str, Any]]:
    kinds = dict.fromkeys(mark.kind for mark in line.marks)
    found = []
    for kind in kinds:
        marks = [mark for mark in line.marks if mark.kind == kind]
        symbol, size = _SYMBOLS[kind]
        found.append({
            "type": "scatter", "mode": "markers", "yaxis": "y2", "name": line.name,
            "showlegend": False,
            "x": [mark.step for mark in marks], "y": [row] * len(marks),
            "customdata": [mark.text for mark in marks],
            "marker": {"symbol": symbol, "size": size, "color": line.color,
                       "line": {"width": 1.5, "color": line.color}},
            "hovertemplate": "%{customdata}",
        })  # fmt: skip
    return found


def _levels(figure: go.Figure, levels: Mapping[str, float], log: bool) -> None:
    """Dashed lines, with their names and values in the legend: in the chart they would stand on
    the curves."""
    edges = [float(x) for trace in figure.data if len(trace.x) for x in (trace.x[0], trace.x[-1])]
    known = [(name, value) for name, value in levels.items() if not log or value > 0]
    for place, (name, value) in enumerate(known if edges else ()):
        figure.add_scatter(
            x=[min(edges), max(edges)], y=[value, value], mode="lines", hoverinfo="skip",
            name=f"{name} {plain(value)}", showlegend=True,
            line={"color": GREY, "width": 1.4, "dash": _DASHES[place % len(_DASHES)]},
        )  # fmt: skip
        figure.update_layout(showlegend=True, margin={"t": 30})


def _verticals(figure: go.Figure, at: Steps) -> None:
    """The end of the warm-up, and the steps at which rules fired first with their names."""
    lines = [(at.warm, GREY, "dot")] if at.warm else []
    lines += [(step, ALARM, "solid") for step in at.findings or {}]
    for step, color, dash in lines:
        figure.add_shape(
            type="line", x0=step, x1=step, yref="paper", y0=0, y1=1, layer="below",
            line={"color": color, "width": 1.2, "dash": dash},
        )  # fmt: skip
    for step, rules in _grouped(at.findings or {}, figure).items():
        _words(figure, step, rules, ALARM)


def _words(figure: go.Figure, step: int, text: str, color: str) -> None:
    """Words over a vertical line, between the chart and its legend."""
    if not step:
        return
    figure.add_annotation(
        x=step, yref="paper", y=1, yanchor="bottom", text=text, showarrow=False,
        font={"color": color, "size": 10},
    )  # fmt: skip
    figure.update_layout(margin={"t": 46}, legend={"y": 1 + 22 / figure.layout.height})


def _grouped(findings: Mapping[int, str], figure: go.Figure) -> dict[int, str]:
    """Rules by step; those too close to have their names side by side share the first one's."""
    last = max((float(trace.x[-1]) for trace in figure.data if len(trace.x)), default=0.0)
    found: dict[int, str] = {}
    for step, rules in sorted(findings.items()):
        before = max(found, default=None)
        if before is not None and step - before < 0.08 * last:
            found[before] += f", {rules}"
        else:
            found[step] = rules
    return found


def _log_axis(figure: go.Figure) -> None:
    """Powers of ten only where there are several; 1, 2, 5 of each where there are not."""
    values = [float(v) for trace in figure.data for v in trace.y if v is not None and v > 0]
    figure.update_yaxes(type="log", exponentformat="power")
    if not values:
        return
    low, high = min(values), max(values)
    if high / low < FEW_POWERS:
        ticks = log_ticks(low, high)
        figure.update_yaxes(tickvals=ticks, ticktext=[plain(tick) for tick in ticks])
    elif high / low < MANY_POWERS:
        figure.update_yaxes(dtick=1)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:+.0%}"


def _layout(how: Drawn) -> dict[str, Any]:
    return {
        "template": template(how.scheme),
        "height": HEIGHT,
        "showlegend": False,
        "uirevision": how.revision,
        "hovermode": "x unified",
        "hoverlabel": {"namelength": 28},
        "margin": {"t": 16},
        "xaxis": STEPS,
    }
