"""Plotly templates, light and dark.

Text keeps a contrast of at least 4.5 to the card that it stands on.
"""

from typing import Any

import plotly.graph_objects as go

from dashboard.palette import ACCENT, CATEGORY_COLORS

Scheme = str  # "light" or "dark"; anything else reads as light

FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', 'Cascadia Mono', 'Liberation Mono', monospace"

_TOKENS: dict[str, dict[str, Any]] = {
    "light": {"text": "#343a40", "dim": "#6a717b", "grid": "#eceef1", "axis": "#ced4da",
              "card": "#ffffff", "hover": "#ffffff", "scale": ["#cfd5dd", "#6f9be8", "#17379a"],
              "heat": [(0, "#f1f4f9"), (0.45, "#a9c6f7"), (0.55, "#3f74d3"), (1, "#16398f")],
              "change": ["#b04a05", "#f0a15c", "#f3f4f6", "#7ea8ee", "#1b4fb5"]},
    "dark": {"text": "#d7dbe0", "dim": "#979ea8", "grid": "#2b2f36", "axis": "#454b54",
             "card": "#1b1e23", "hover": "#262a31", "scale": ["#3d444e", "#4c7fe0", "#cfe0ff"],
             "heat": [(0, "#23272e"), (0.5, "#2f56a6"), (1, "#4c80de")],
             "change": ["#ffb27a", "#a4571b", "#262a31", "#335fae", "#a9c6ff"]},
}  # fmt: skip


# The x axis, and the line that follows the pointer.
SPIKE = {
    "showgrid": False, "showline": True, "zeroline": False,
    "spikethickness": 1, "spikedash": "dot", "spikesnap": "hovered data",
}  # fmt: skip

HEAT = "coloraxis2"  # from nothing to much; numbers on it stay legible
CHANGE = "coloraxis3"  # from less to more, with nothing in the middle
_BAR = {
    "orientation": "h", "thickness": 8, "len": 220, "lenmode": "pixels", "x": 0,
    "xanchor": "left", "y": 1, "yanchor": "bottom", "ypad": 4, "outlinewidth": 0,
    "ticklen": 0, "tickfont": {"size": 10},
}  # fmt: skip


def tokens(scheme: Scheme) -> dict[str, Any]:
    """The named colours of a scheme."""
    return _TOKENS.get(scheme, _TOKENS["light"])


def template(scheme: Scheme) -> go.layout.Template:
    """The look of every figure."""
    c = tokens(scheme)
    axis: dict[str, Any] = {
        "gridcolor": c["grid"],
        "linecolor": c["axis"],
        "zerolinecolor": c["grid"],
        "zerolinewidth": 1,
        "ticks": "",
        "tickfont": {"size": 11, "color": c["dim"]},
        "title": {"font": {"size": 11, "color": c["dim"]}, "standoff": 8},
        "automargin": True,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 12, "color": c["text"]},
            "paper_bgcolor": c["card"],
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(CATEGORY_COLORS),
            "coloraxis": {"colorscale": _scale(c["scale"])},
            HEAT: {"colorscale": c["heat"], "colorbar": _BAR},
            CHANGE: {"colorscale": _scale(c["change"]), "colorbar": _BAR, "cmid": 0},
            "margin": {"l": 8, "r": 12, "t": 10, "b": 8},
            "xaxis": axis | SPIKE | {"spikecolor": c["dim"]},
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": c["hover"],
                "bordercolor": c["axis"],
                "font": {"family": FONT, "size": 12, "color": c["text"]},
                "align": "left",
            },
            "legend": {
                "orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "font": {"size": 11, "color": c["text"]}, "title": {"text": ""},
            },
            "modebar": {
                "bgcolor": "rgba(0,0,0,0)", "color": c["dim"], "activecolor": ACCENT,
            },
            "annotationdefaults": {"font": {"size": 11, "color": c["dim"]}},
        }
    )  # fmt: skip


def _scale(colors: list[str]) -> list[tuple[float, str]]:
    return [(i / (len(colors) - 1), color) for i, color in enumerate(colors)]


def templates() -> dict[str, Any]:
    """Both templates as JSON, for the browser to switch between."""
    return {scheme: template(scheme).to_plotly_json() for scheme in _TOKENS}
