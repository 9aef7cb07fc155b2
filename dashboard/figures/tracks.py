"""What a tracker's scores come to: how many reach the threshold, and what another would give."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from backend.core.evidence import ThresholdSwept, TracksSeen
from dashboard.figures.theme import Scheme, template
from dashboard.palette import CATEGORY_COLORS, GREY

HEIGHT = 240


def histogram(seen: TracksSeen, color: str, scheme: Scheme, revision: str) -> go.Figure:
    """How many queries have which score, counted over all frames, and the threshold."""
    edges = np.linspace(0, 1, len(seen.histogram) + 1)
    figure = _figure(seen.threshold, scheme, revision)
    figure.add_bar(
        x=((edges[:-1] + edges[1:]) / 2).tolist(), y=list(seen.histogram),
        width=1 / len(seen.histogram), marker={"color": color, "line": {"width": 0}},
        customdata=[f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)],
        hovertemplate="%{y:,} queries with a score of %{customdata}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="log", title={"text": "Queries"}, dtick=1, exponentformat="none",
                        tickformat=",d")  # fmt: skip
    return figure.update_xaxes(title={"text": "Score"})


def tracks_swept(seen: TracksSeen, color: str, scheme: Scheme, revision: str) -> go.Figure:
    """How many tracks there would be at each threshold."""
    figure = _figure(seen.threshold, scheme, revision)
    figure.add_scatter(
        **_line(seen.swept, [one.tracks for one in seen.swept], color),
        text=[f"{one.tracks:,}" for one in seen.swept], textposition="top center",
        customdata=[one.boxes for one in seen.swept], cliponaxis=False,
        hovertemplate="%{y:,} tracks of %{customdata:,} boxes at %{x:g}<extra></extra>",
    )  # fmt: skip
    figure.data[-1].mode = "lines+markers+text"
    return figure.update_yaxes(title={"text": "Tracks"}, rangemode="tozero")


def hota_swept(seen: TracksSeen, scheme: Scheme, revision: str) -> go.Figure:
    """HOTA, and its mean over classes, at each threshold; what is not defined has no point."""
    figure = _figure(seen.threshold, scheme, revision)
    lines = (("HOTA", [one.hota for one in seen.swept]),
             ("mean over classes", [one.cls_hota for one in seen.swept]))  # fmt: skip
    for color, (name, values) in zip(CATEGORY_COLORS, lines, strict=False):
        figure.add_scatter(
            **_line(seen.swept, values, color), name=name,
            hovertemplate=f"{name} %{{y:.3f}} at %{{x:g}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(showlegend=True, legend={"y": 1.14}, margin={"t": 48})
    return figure.update_yaxes(title={"text": "HOTA"}, rangemode="tozero")


def _line(
    swept: Sequence[ThresholdSwept], values: Sequence[float | None], color: str
) -> dict[str, Any]:
    return {
        "x": [one.threshold for one in swept], "y": list(values), "mode": "lines+markers",
        "line": {"color": color, "width": 1.9}, "marker": {"size": 6},
    }  # fmt: skip


def _figure(threshold: float, scheme: Scheme, revision: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template=template(scheme), height=HEIGHT, showlegend=False, uirevision=revision,
        hovermode="closest", bargap=0, margin={"t": 30},
    )  # fmt: skip
    figure.update_xaxes(range=[0, 1], title={"text": "Score threshold"}, zeroline=False)
    figure.add_vline(
        x=threshold, line={"color": GREY, "width": 1.4, "dash": "dash"},
        annotation={"text": f"threshold {threshold:g}", "yref": "paper", "y": 1,
                    "yanchor": "bottom", "xanchor": "center", "font": {"size": 11}},
    )  # fmt: skip
    return figure
