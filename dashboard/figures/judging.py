"""What a curve is judged by, drawn into its figure: levels, steps with their words, a log axis."""

from collections.abc import Mapping
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboard.formatting import plain
from dashboard.palette import GREY
from dashboard.trials import log_ticks

ALARM = "#e8590c"
FEW_POWERS, MANY_POWERS = 50, 1e6
_DASHES = ("dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class Steps:
    """Places on the step axis of every chart: the end of the warm-up, and findings by their step
    with the rules that fired there first."""

    warm: int = 0
    findings: Mapping[int, str] | None = None


def levels_in(figure: go.Figure, levels: Mapping[str, float], log: bool) -> None:
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


def steps_in(figure: go.Figure, at: Steps) -> None:
    """The end of the warm-up, and the steps at which rules fired first with their names."""
    lines = [(at.warm, GREY, "dot")] if at.warm else []
    lines += [(step, ALARM, "solid") for step in at.findings or {}]
    for step, color, dash in lines:
        figure.add_shape(
            type="line", x0=step, x1=step, yref="paper", y0=0, y1=1, layer="below",
            line={"color": color, "width": 1.2, "dash": dash},
        )  # fmt: skip
    for step, rules in _grouped(at.findings or {}, figure).items():
        words_over(figure, step, rules, ALARM)


def words_over(figure: go.Figure, step: int, text: str, color: str) -> None:
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


def log_axis(figure: go.Figure) -> None:
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
