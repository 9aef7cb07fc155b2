"""A study over top-k: what more computing buys."""

from collections.abc import Sequence

import plotly.graph_objects as go

from backend.analysis.experts.keys import DENSE
from backend.analysis.experts.views import TopKPoint
from dashboard.figures.theme import Scheme, template
from dashboard.palette import CATEGORY_COLORS, GREY, SYMBOLS

HEIGHT = 320
_LETTERS = ("A", "B", "C", "custom")


def top_k(points: Sequence[TopKPoint], metric: str, scheme: Scheme, revision: str) -> go.Figure:
    """Value against GFLOPs of an image: a colour per configuration, a symbol per k."""
    figure = go.Figure(layout={"template": template(scheme), "uirevision": revision})
    for name in dict.fromkeys(point.configuration for point in points):
        own = [p for p in points if p.configuration == name and p.gflops is not None]
        marks = [_mark(p.k, hollow=name == DENSE) for p in own]
        figure.add_scatter(
            x=[p.gflops for p in own], y=[p.value for p in own], name=title(name),
            mode="markers", cliponaxis=False,
            marker={"size": 11, "color": _color(name), "symbol": marks},
            customdata=[[p.trial, p.k] for p in own],
            hovertemplate=f"{title(name)}, k %{{customdata[1]}}<br>%{{y:.4~g}} at %{{x:.3~g}} "
            "GFLOPs<br>trial %{customdata[0]}<extra></extra>",
        )  # fmt: skip
    for k in sorted({point.k for point in points}):
        figure.add_scatter(x=[None], y=[None], mode="markers", name=f"top-{k}", hoverinfo="skip",
                           marker={"symbol": _mark(k), "color": GREY, "size": 10})  # fmt: skip
    figure.update_layout(
        height=HEIGHT,
        showlegend=True,
        margin={"t": 36, "r": 20},
        xaxis={"title": {"text": "GFLOPs of one image"}, "showgrid": True},
        yaxis={"title": {"text": metric}},
    )
    return figure


def title(configuration: str) -> str:
    """A configuration in words."""
    return "dense, no experts" if configuration == DENSE else f"experts {configuration}"


def _mark(k: int, *, hollow: bool = False) -> str:
    """The symbol of a k; hollow without experts."""
    return SYMBOLS[(k - 1) % len(SYMBOLS)] + ("-open" if hollow else "")


def _color(configuration: str) -> str:
    if configuration in _LETTERS:
        return CATEGORY_COLORS[_LETTERS.index(configuration)]
    return GREY
