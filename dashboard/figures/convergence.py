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
from dashboard.figures.judging import Steps, levels_in, log_axis, steps_in, words_over
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import number
from dashboard.palette import DASHES, GREY

HEIGHT, SMALL = 260, 220
MARKERS = 40  # points of a line up to which each is marked
BAND = "rgba(12, 166, 120, 0.13)"
# One lightness from the input of the network to its output, so that both schemes can show it.
DEPTH = ["#0170d9", "#7a6ff0", "#b052d0", "#d0458f", "#e0563f", "#c98a00"]
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
    levels_in(figure, levels, how.log)
    steps_in(figure, at)
    figure.update_yaxes(title={"text": title}, nticks=6)
    if how.log:
        log_axis(figure)
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
    words_over(figure, at.warm, "warm-up ends", GREY)
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
    levels_in(figure, limits, log=True)
    steps_in(figure, at)
    figure.update_yaxes(title={"text": title})
    log_axis(figure)
    return figure


def thresholds(
    lines: Sequence[tuple[str, Sequence[int], Sequence[float]]], title: str, at: Steps, how: Drawn
) -> go.Figure:
    """A metric at several thresholds, a line each, from the easiest to the strictest."""
    figure = go.Figure(layout=_layout(how) | {"showlegend": True, "margin": {"t": 34}})
    for place, ((name, steps, values), color) in enumerate(
        zip(lines, depth_colors(len(lines)), strict=True)
    ):
        figure.add_scatter(
            x=list(steps), y=list(values), name=name, mode=_mode(len(steps)),
            line={"color": color, "width": 1.7, "dash": DASHES[place % len(DASHES)]},
            marker={"size": 4.5}, hovertemplate="%{y:.4~f}",
        )  # fmt: skip
    steps_in(figure, at)
    return figure.update_yaxes(title={"text": title}, rangemode="tozero", nticks=6)


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
    levels_in(figure, levels, log=False)
    steps_in(figure, at)
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
