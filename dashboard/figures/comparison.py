"""Figures of a stored comparison."""

from collections.abc import Sequence

import plotly.graph_objects as go

from backend.core.comparisons import LayerChange, MetricDelta, Verdict
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import gained, measured
from dashboard.palette import ACCENT, VERDICT_COLORS

ROW = 30  # pixels of height
LETTER = 6.5  # pixels of width
MOST_ROWS = 24
_VERDICTS: tuple[Verdict, ...] = ("better", "worse", "equivalent", "undecided")


def forest(
    deltas: Sequence[MetricDelta], margin: float, scheme: Scheme, revision: str
) -> go.Figure:
    """Differences with their intervals, one row each, and the zone that counts as equal."""
    rows = [d for d in deltas if d.delta is not None]
    figure = go.Figure(layout={"template": template(scheme), "uirevision": revision})
    for verdict in _VERDICTS:
        own = [d for d in rows if d.verdict == verdict]
        if own:
            figure.add_trace(_interval(own, verdict))
    for row in rows:
        figure.add_annotation(
            x=1, xref="paper", y=row.name, text=interval_text(row), showarrow=False,
            xanchor="left", xshift=10,
        )  # fmt: skip
    if margin > 0:
        figure.add_vrect(x0=-margin, x1=margin, fillcolor="#8b929c", opacity=0.16, line_width=0)
    figure.add_vline(x=0, line={"width": 1, "color": "#8b929c"})
    figure.update_layout(
        height=100 + ROW * max(1, len(rows)),
        margin={"r": 20 + LETTER * max((len(interval_text(d)) for d in rows), default=0), "t": 34},
        showlegend=True,
        xaxis={"title": {"text": "Candidate − baseline"}, "showgrid": True, "nticks": 6},
        yaxis={"showgrid": False, "ticksuffix": "  ", "fixedrange": True,
               "categoryorder": "array", "categoryarray": [d.name for d in reversed(rows)]},
    )  # fmt: skip
    _keep_to_shares(figure, rows)
    return figure


def _keep_to_shares(figure: go.Figure, rows: Sequence[MetricDelta]) -> None:
    """Two shares differ by one at most; wider intervals, of very few units, run off the axis."""
    ends = [end for d in rows for end in (d.low, d.high) if end is not None]
    shares = all(abs(value) <= 1 for d in rows for value in (d.baseline or 0, d.candidate or 0))
    if shares and ends and (min(ends) < -1 or max(ends) > 1):
        figure.update_xaxes(range=[max(min(ends), -1) - 0.02, min(max(ends), 1) + 0.02])


def interval_text(delta: MetricDelta) -> str:
    """``+0.0312 [+0.0121, +0.0489]``; counts as such."""
    change = gained(delta.delta, delta.unit)
    if delta.low is None or delta.high is None:
        return change
    return f"{change}  [{gained(delta.low, delta.unit)}, {gained(delta.high, delta.unit)}]"


def telling(deltas: Sequence[MetricDelta], most: int = MOST_ROWS) -> list[MetricDelta]:
    """The rows with the largest differences, largest gain first."""
    known = [d for d in deltas if d.delta is not None]
    largest = sorted(known, key=lambda d: -abs(d.delta or 0.0))[:most]
    return sorted(largest, key=lambda d: -(d.delta or 0.0))


def weights(layers: Sequence[LayerChange], scheme: Scheme, revision: str) -> go.Figure:
    """How far each layer's weights moved, in the order of the network."""
    rows = [layer for layer in layers if layer.relative is not None]
    figure = go.Figure(layout={"template": template(scheme), "uirevision": revision})
    figure.add_bar(
        x=[layer.layer for layer in rows], y=[layer.relative for layer in rows],
        marker={"color": ACCENT, "cornerradius": 2},
        customdata=[f"{layer.parameters:,}" for layer in rows],
        hovertemplate="%{x}<br>moved by %{y:.3~%} of its norm<br>%{customdata} parameters"
        "<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        height=300,
        bargap=0.25,
        xaxis={"title": {"text": "Layer, input to output"}, "type": "category",
               "tickfont": {"size": 10}},
        yaxis={"title": {"text": "|new − old| / |old|"}, "tickformat": ".2~%", "nticks": 6},
    )  # fmt: skip
    return figure


def _interval(rows: Sequence[MetricDelta], verdict: Verdict) -> go.Scatter:
    color = VERDICT_COLORS[verdict]
    above = [(d.high if d.high is not None else d.delta or 0) - (d.delta or 0) for d in rows]
    below = [(d.delta or 0) - (d.low if d.low is not None else d.delta or 0) for d in rows]
    return go.Scatter(
        x=[d.delta for d in rows], y=[d.name for d in rows], mode="markers", name=verdict,
        marker={"color": color, "size": 9},
        error_x={"type": "data", "array": above, "arrayminus": below, "color": color,
                 "thickness": 2.2, "width": 0},
        customdata=[
            [measured(d.baseline, d.unit), measured(d.candidate, d.unit), interval_text(d)]
            for d in rows
        ],
        hovertemplate="%{y}: %{customdata[0]} → %{customdata[1]}<br>%{customdata[2]}"
        "<extra></extra>",
    )  # fmt: skip
