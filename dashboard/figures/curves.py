"""One chart: one metric of several runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboard.curves import Chart, Floats, Line, Zoom
from dashboard.figures.theme import Scheme, template
from dashboard.palette import GREY

COLORED = 30  # lines; beyond that Plotly is slow and colours say nothing
HEIGHT = 250


def curve_figure(
    chart: Chart, unit: str, log: bool, scheme: Scheme, zoom: Zoom | None = None
) -> go.Figure:
    """The lines of one metric. A zoom holds as long as its axes stay what they were."""
    figure = go.Figure(layout=_layout(chart.x_title, unit, log, scheme))
    figure.add_traces(traces(chart.lines))
    if zoom and zoom.x and zoom.x_title == chart.x_title:
        figure.update_xaxes(range=zoom.x)
    if zoom and zoom.y and zoom.log == log:
        figure.update_yaxes(range=zoom.y)
    return figure


def traces(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """All runs too many for a colour, faint raw lines, then the lines; the first run on top."""
    colored, rest = lines[:COLORED][::-1], lines[COLORED:]
    faint = [_faint(line) for line in colored if line.raw is not None]
    marks = [_marks(line) for line in colored if line.marks is not None]
    return _merged(rest) + faint + [_line(line) for line in colored] + marks


def _line(line: Line) -> dict[str, Any]:
    style = line.style
    few = line.shown < 40
    return {
        "type": "scatter",
        "x": _packed(line.x),
        "y": _packed(line.y),
        "name": style.name + (" ★" if style.baseline else ""),
        "mode": "lines+markers" if few else "lines",
        "line": {
            "color": style.color,
            "width": 2.6 if style.baseline else 1.6,
            "dash": style.dash,
        },
        "marker": {"size": 4.5, "color": style.color},
        "hovertemplate": "%{y:.4~g}",
    }


def _marks(line: Line) -> dict[str, Any]:
    """Where memory ran out, and the run went on one step lower."""
    x, y = line.marks or (line.x, line.y)
    return {
        "type": "scatter",
        "x": _packed(x),
        "y": _packed(y),
        "name": line.style.name,
        "mode": "markers",
        "marker": {"symbol": "triangle-down", "size": 11, "color": line.style.color,
                   "line": {"width": 1.5, "color": GREY}},
        "hovertemplate": "ran out of memory and went on with less<extra></extra>",
    }  # fmt: skip


def _faint(line: Line) -> dict[str, Any]:
    x, y = line.raw or (line.x, line.y)
    return {
        "type": "scatter",
        "x": _packed(x),
        "y": _packed(y),
        "mode": "lines",
        "line": {"color": line.style.color, "width": 1},
        "opacity": 0.22,
        "hoverinfo": "skip",
    }


def _merged(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Many runs as one grey trace with gaps: one trace costs what each of them would."""
    if not lines:
        return []
    gap = np.array([np.nan])
    x = np.concatenate([part for line in lines for part in (line.x, gap)])
    y = np.concatenate([part for line in lines for part in (line.y, gap)])
    return [
        {
            "type": "scatter",
            "x": _packed(x),
            "y": _packed(y),
            "name": f"{len(lines)} more runs",
            "mode": "lines",
            "line": {"color": GREY, "width": 1},
            "opacity": 0.5,
            "hoverinfo": "skip",
        }
    ]


def _packed(values: Floats) -> Any:
    """Four bytes a number on the wire; seven digits are more than a screen shows."""
    return values.astype(np.float32)


def _layout(x_title: str, unit: str, log: bool, scheme: Scheme) -> dict[str, Any]:
    return {
        "template": template(scheme),
        "height": HEIGHT,
        "showlegend": False,
        "hovermode": "x unified",
        "hoversort": "value descending",
        "hoverlabel": {"namelength": 28},
        "uirevision": x_title,
        "xaxis": {"title": {"text": x_title}, "hoverformat": ".4~g"},
        "yaxis": {
            "title": {"text": unit},
            "type": "log" if log else "linear",
            "uirevision": f"{x_title} {log}",
            "exponentformat": "power",
            "nticks": 6,
        },
    }
