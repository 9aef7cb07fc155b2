"""What a network says in its validations, beside the truth."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from backend.analysis.diagnostics.views import Bars
from backend.core.evidence import PredictionHistogram
from dashboard.figures.convergence import STEPS
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import cut
from dashboard.palette import CATEGORY_COLORS, GREY

HEIGHT = 240
ROW = 30  # pixels of height of a class
MARKERS = 40
Told = Sequence[tuple[int, PredictionHistogram]]


def labels(bars: Bars, color: str, scheme: Scheme, revision: str) -> go.Figure:
    """How often each class is true, and how often it is predicted."""
    names = [cut(name, 22) for name in bars.names]
    figure = go.Figure(layout=_layout(scheme, revision, "closest"))
    for name, counts, paint in (("truth", bars.truth, GREY), ("predicted", bars.predicted, color)):
        figure.add_bar(
            x=list(counts), y=list(range(len(names))), name=name, orientation="h",
            marker={"color": paint}, customdata=list(bars.names),
            text=[f"{count:,}" for count in counts], textposition="outside", cliponaxis=False,
            hovertemplate=f"%{{customdata}}: %{{x:,}} {name}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        height=86 + ROW * max(2, len(names)),
        bargap=0.25,
        margin={"t": 30, "r": 48},
        legend={"traceorder": "normal"},
        xaxis={"title": {"text": "How often"}, "showgrid": True, "rangemode": "tozero"},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names, "autorange": "reversed",
               "showgrid": False, "fixedrange": True, "ticklabelstandoff": 6},
    )  # fmt: skip
    return figure


def scores(told: Told, scheme: Scheme, revision: str) -> go.Figure:
    """Quantiles of the score at each validation: is the network ever sure?"""
    figure = go.Figure(layout=_layout(scheme, revision, "x unified"))
    known = list(dict.fromkeys(q for _, one in told for q in one.quantiles))
    for place, quantile in enumerate(sorted(known, key=float, reverse=True)):
        points = [
            (step, one.quantiles[quantile]) for step, one in told if quantile in one.quantiles
        ]
        figure.add_scatter(
            x=[step for step, _ in points], y=[value for _, value in points],
            name=_quantile(quantile), mode="lines+markers" if len(points) < MARKERS else "lines",
            line={"color": CATEGORY_COLORS[place % len(CATEGORY_COLORS)], "width": 1.7},
            marker={"size": 4}, hovertemplate="%{y:.3~f}",
        )  # fmt: skip
    figure.update_layout(
        margin={"t": 30}, xaxis=STEPS,
        yaxis={"title": {"text": "Score"}, "range": [-0.03, 1.03]},
    )  # fmt: skip
    return figure


def _quantile(text: str) -> str:
    share = float(text)
    return "highest" if share >= 1 else f"{100 * share:g} %"


def ranking(told: Sequence[tuple[str, Told]], scheme: Scheme, revision: str) -> go.Figure:
    """AUROC of the score of each output: does it rank what is there above what is not?"""
    figure = go.Figure(layout=_layout(scheme, revision, "x unified"))
    for place, (name, course) in enumerate(told):
        points = [(step, one.auroc) for step, one in course if one.auroc is not None]
        figure.add_scatter(
            x=[step for step, _ in points], y=[value for _, value in points], name=name,
            mode="lines+markers" if len(points) < MARKERS else "lines", marker={"size": 4},
            line={"color": CATEGORY_COLORS[place % len(CATEGORY_COLORS)], "width": 1.9},
            hovertemplate="%{y:.3f}",
        )  # fmt: skip
    steps = [step for _, course in told for step, _ in course]
    figure.add_scatter(
        x=[min(steps), max(steps)], y=[0.5, 0.5], name="chance 0.5", mode="lines",
        hoverinfo="skip", line={"color": GREY, "width": 1.4, "dash": "dash"},
    )  # fmt: skip
    figure.update_layout(
        margin={"t": 30}, xaxis=STEPS,
        yaxis={"title": {"text": "AUROC"}, "range": [0.28, 1.03]},
    )  # fmt: skip
    return figure


def _layout(scheme: Scheme, revision: str, hover: str) -> dict[str, Any]:
    return {
        "template": template(scheme),
        "height": HEIGHT,
        "showlegend": True,
        "uirevision": revision,
        "hovermode": hover,
    }
