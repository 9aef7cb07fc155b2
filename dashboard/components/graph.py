"""The only place that makes a graph."""

from typing import Any

import plotly.graph_objects as go
from dash import dcc

_HIDDEN_BUTTONS = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]


def graph(id_: object, figure: go.Figure, label: str, **style: str) -> Any:
    """A chart that stays on this machine: plotly.js would offer to share it in a cloud.

    ``label`` is read out by screen readers and names the exported image.
    """
    return dcc.Graph(
        id=id_,
        figure=figure,
        className="graph",
        responsive=True,
        style={"height": f"{figure.layout.height or 300}px"} | style,
        config={
            "showSendToCloud": False,
            "displaylogo": False,
            "modeBarButtonsToRemove": _HIDDEN_BUTTONS,
            "toImageButtonOptions": {"filename": file_name(label), "scale": 2},
            "doubleClick": "autosize",
        },
    )


def file_name(label: str) -> str:
    """A name for an exported file."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in label).strip("-") or "chart"
