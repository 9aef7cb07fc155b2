"""The figure of *Hardware*: small charts on top of each other over one time axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.curves import Line
from dashboard.figures.theme import Scheme, template

ROW, GAP, STRIP = 70, 27, 18  # pixels: a chart, the words above it, a line of recoveries
TOP, BOTTOM = 12, 44
RECOVERY = {"symbol": "triangle-down", "size": 11}


@dataclass(frozen=True)
class Track:
    """A line of a chart with its words; ``rest`` follows the value where one points at it."""

    line: Line
    name: str
    color: str
    dash: str = "solid"
    rest: str = ""


@dataclass(frozen=True)
class Level:
    """What there is of something, or what was requested."""

    value: float
    color: str


@dataclass(frozen=True)
class Row:
    """A small chart of ``key``. ``steps``: a setting, which holds its value until it changes.
    ``top`` is the end of its axis, where it has one."""

    key: str
    title: str
    tracks: Sequence[Track]
    levels: Sequence[Level] = ()
    digits: int = 0
    steps: bool = False
    top: float | None = None


@dataclass(frozen=True)
class Marks:
    """The recoveries of a run: where, and in words."""

    name: str
    color: str
    x: Sequence[float]
    texts: Sequence[str]


def hardware(
    rows: Sequence[Row], marks: Sequence[Marks], unit: str, scheme: Scheme, revision: str
) -> go.Figure:
    """Rows from top to bottom; recoveries stand above them and go through them as lines.

    Of one run, pointing at a moment tells of all rows; of several, of the row pointed at.
    """
    strip = STRIP * len(marks)
    height = strip + len(rows) * (ROW + GAP)
    figure = go.Figure(layout=_layout(scheme, revision, unit, height))
    runs = {track.line.style.key for row in rows for track in row.tracks}
    figure.update_layout(hoversubplots="axis" if len(runs) == 1 else "overlaying")
    for place, row in enumerate(rows):
        foot = 1 - (strip + (place + 1) * (ROW + GAP)) / height
        _draw(figure, row, place + 1, (foot, foot + ROW / height))
    if marks:
        _recoveries(figure, marks, len(rows) + 1, 1 - strip / height)
    figure.update_layout(xaxis={"anchor": _axis(len(rows))})
    return figure


def _draw(figure: go.Figure, row: Row, number: int, domain: tuple[float, float]) -> None:
    axis = _axis(number)
    figure.update_layout({
        axis.replace("y", "yaxis"): {
            "domain": [max(0.0, domain[0]), domain[1]], "rangemode": "tozero", "nticks": 4,
            "fixedrange": True, "zeroline": False,
            "range": [0, 1.04 * row.top] if row.top else None,
        }
    })  # fmt: skip
    figure.add_annotation(
        text=row.title, xref="paper", x=0, xanchor="left", yref="paper", y=domain[1],
        yanchor="bottom", yshift=3, showarrow=False,
    )  # fmt: skip
    figure.add_traces([_line(track, row) | {"yaxis": axis} for track in row.tracks])
    edges = [float(x) for track in row.tracks for x in track.line.x[[0, -1]]]
    for level in row.levels:
        figure.add_scatter(
            x=[min(edges), max(edges)], y=[level.value] * 2, yaxis=axis, mode="lines",
            line={"color": level.color, "width": 1.2, "dash": "dash"}, opacity=0.75,
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip


def _line(track: Track, row: Row) -> dict[str, Any]:
    shape = "hv" if row.steps else "linear"
    return {
        "type": "scatter",
        "x": track.line.x.astype(np.float32),
        "y": track.line.y.astype(np.float32),
        "name": track.name,
        "showlegend": False,
        "mode": "lines" if track.line.shown > 1 else "markers",
        "line": {"color": track.color, "width": 2 if row.steps else 1.4, "dash": track.dash,
                 "shape": shape},
        "hovertemplate": f"%{{y:,.{row.digits}f}}{track.rest}",
    }  # fmt: skip


def _recoveries(figure: go.Figure, marks: Sequence[Marks], number: int, foot: float) -> None:
    axis = _axis(number)
    figure.update_layout({
        axis.replace("y", "yaxis"): {
            "domain": [foot, 1], "range": [len(marks) - 0.5, -0.5], "showgrid": False,
            "zeroline": False, "showticklabels": False, "fixedrange": True,
        }
    })  # fmt: skip
    for place, run in enumerate(marks):
        figure.add_scatter(
            x=list(run.x), y=[place] * len(run.x), yaxis=axis, mode="markers", name=run.name,
            customdata=list(run.texts), hovertemplate="%{customdata}", showlegend=False,
            marker=RECOVERY | {"color": run.color},
        )  # fmt: skip
        for x in run.x:
            figure.add_shape(
                type="line", x0=x, x1=x, yref="paper", y0=0, y1=1, layer="below",
                line={"color": run.color, "width": 1.2, "dash": "dot"},
            )  # fmt: skip


def _axis(number: int) -> str:
    return "y" if number == 1 else f"y{number}"


def _layout(scheme: Scheme, revision: str, unit: str, height: int) -> dict[str, Any]:
    return {
        "template": template(scheme),
        "height": height + TOP + BOTTOM,
        "showlegend": False,
        "uirevision": f"{revision} {unit}",
        "hovermode": "x unified",
        "hoverlabel": {"namelength": 40},
        "margin": {"t": TOP, "b": BOTTOM},
        "xaxis": {
            "title": {"text": f"Time since start ({unit})"}, "zeroline": False,
            "rangemode": "tozero", "hoverformat": ".4~g",
            "unifiedhovertitle": {"text": f"%{{x:.4~g}} {unit}"},
        },
    }  # fmt: skip
