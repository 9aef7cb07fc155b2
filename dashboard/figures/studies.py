"""Figures of a study."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from backend.core.records import StudyRecord, TrialRecord
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import number, plain
from dashboard.palette import ACCENT, CATEGORY_COLORS, GREY, SYMBOLS
from dashboard.trials import (
    ABSENT,
    Dimension,
    Roles,
    best_so_far,
    category,
    complete,
    dimensions,
    log_ticks,
    roles,
    short_names,
)

HEIGHT = 300
MOST_TICKS = 6
ROOM_OF_AN_AXIS = 88
"""Pixels that the name of an axis takes."""
_MARKS = {
    "pruned": ("x-thin", "Pruned"),
    "failed": ("cross-thin", "Failed"),
    "running": ("circle-open", "Running"),
}


def history(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """Value per trial and the best so far; trials without a value stand in a strip below."""
    done = complete(study)
    numbers, best = best_so_far(study)
    figure = go.Figure(layout=_layout(scheme, f"history-{study.name}"))
    figure.add_scatter(
        x=numbers, y=best, mode="lines", name="Best so far",
        line={"color": ACCENT, "width": 2, "shape": "hv"}, hovertemplate="best %{y:.4~g}",
    )  # fmt: skip
    figure.add_scatter(
        x=[t.number for t in done], y=[t.value for t in done], mode="markers", name="Complete",
        marker={"size": 8, "color": [_best_color(t, study) for t in done]},
        hovertemplate="trial %{x}: %{y:.4~g}<extra></extra>",
    )  # fmt: skip
    for state, (symbol, title) in _MARKS.items():
        figure.add_traces(_marks([t for t in study.trials if t.state == state], symbol, title))
    figure.update_layout(
        xaxis={"title": {"text": "Trial"}, "anchor": "y2", "dtick": _whole_steps(study)},
        yaxis={"title": {"text": study.metric}, "domain": [0.12, 1]},
        margin={"t": 40},
        yaxis2={"domain": [0, 0.07], "visible": False, "range": [-1, 1], "fixedrange": True},
    )
    return figure


def importance(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """How much of the variation of the value each parameter explains, a bar per objective."""
    shares = {aim.metric: aim.importances or {} for aim in study.aims}
    names = sorted({name for one in shares.values() for name in one},
                   key=lambda name: [one.get(name, 0.0) for one in shares.values()])  # fmt: skip
    figure = go.Figure(layout=_layout(scheme, f"importance-{study.name}"))
    bars = list(zip(shares.items(), (ACCENT, *CATEGORY_COLORS[1:]), strict=False))
    for (metric, one), color in reversed(bars):  # the first one added is drawn lowest
        figure.add_bar(
            x=[one.get(name) for name in names], y=names, orientation="h", name=metric,
            marker={"color": color, "cornerradius": 3}, width=0.55 if len(shares) == 1 else None,
            text=[number(one.get(name), 2) for name in names], textposition="outside",
            cliponaxis=False, hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        showlegend=len(shares) > 1,
        legend={"traceorder": "reversed"},
        margin={"t": 36 if len(shares) > 1 else 10},
        xaxis={"title": {"text": "Importance (share of 1)"}, "range": [0, 1.08]},
        yaxis={"showgrid": False, "showline": False, "ticksuffix": "  "},
    )
    return figure


def parallel_room(figure: go.Figure) -> str:
    """The width below which the names of the axes of ``parallel`` would touch."""
    (lines,) = figure.data
    return f"{ROOM_OF_AN_AXIS * len(lines.dimensions)}px"


def parallel(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """Every finished trial as a line through its parameters, vivid where the value is good."""
    done = complete(study)
    values = [float(t.value) for t in done if t.value is not None]
    found = dimensions(study)
    labels = short_names([one.name for one in found])
    axes = [_axis(one, label) for one, label in zip(found, labels, strict=True)]
    for at, aim in list(enumerate(study.aims))[1:]:
        further = [t.values[at] for t in done]
        axes.append({"label": _short(aim.metric), "values": further, "tickformat": ".3~g"})
    own = _short(study.metric) if study.objectives else study.metric
    axes.append({"label": own, "values": values, "tickformat": ".3~g"})
    figure = go.Figure(layout=_layout(scheme, f"parallel-{study.name}"))
    figure.add_parcoords(
        dimensions=axes, line={"color": values, "coloraxis": "coloraxis"},
        labelangle=0 if len(axes) < 7 else -14, labelside="top",
        labelfont={"size": 12}, tickfont={"size": 11},
        rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
    )  # fmt: skip
    figure.update_layout(
        margin={"l": _label_room(found), "r": max(44, 4 * len(own)), "t": 44, "b": 18},
        coloraxis={
            "reversescale": study.direction == "minimize",
            "showscale": False,
        },
    )
    return figure


def rate_scatter(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """Value against learning rate: a colour per freezing strategy, a symbol per layer decay."""
    found = roles(study)
    done = [t for t in complete(study) if found.rate in t.params]
    strategies = sorted({category(t.params, found.strategy) for t in done})
    decays = sorted(
        {category(t.params, found.decay) for t in done}, key=lambda d: (d != ABSENT, d)
    )
    rates = [float(str(t.params[found.rate or ""])) for t in done]
    ticks = log_ticks(min(rates), max(rates)) if rates else []
    figure = go.Figure(layout=_layout(scheme, f"rate-{study.name}"))
    for i, strategy in enumerate(strategies):
        own = [t for t in done if category(t.params, found.strategy) == strategy]
        color = CATEGORY_COLORS[i % len(CATEGORY_COLORS)]
        figure.add_traces(_points(own, found, decays, strategy, color))
    if len(decays) > 1:
        figure.add_traces([_symbol_key(decay, i) for i, decay in enumerate(decays)])
    figure.update_layout(
        xaxis={"title": {"text": f"Learning rate ({found.rate})"}, "type": "log",
               "tickvals": ticks, "ticktext": [plain(tick) for tick in ticks], "showgrid": True},
        yaxis={"title": {"text": study.metric}},
        legend=_side_legend(1.0),
        legend2=_side_legend(0.42) | {"itemclick": False, "itemdoubleclick": False},
        margin={"r": 130},
    )  # fmt: skip
    return figure


def _side_legend(y: float) -> dict[str, Any]:
    return {"orientation": "v", "x": 1.02, "xanchor": "left", "y": y, "yanchor": "top",
            "font": {"size": 11}}  # fmt: skip


def _points(
    trials: Sequence[TrialRecord], found: Roles, decays: list[str], name: str, color: str
) -> dict[str, Any]:
    own = [category(t.params, found.decay) for t in trials]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [t.params[found.rate or ""] for t in trials],
        "y": [t.value for t in trials],
        "customdata": [[t.number, decay] for t, decay in zip(trials, own, strict=True)],
        "marker": {
            "size": 10,
            "color": color,
            "opacity": 0.9,
            "symbol": [SYMBOLS[decays.index(decay) % len(SYMBOLS)] for decay in own],
        },
        "hovertemplate": (
            f"{name}<br>trial %{{customdata[0]}}: %{{y:.4~g}}<br>learning rate %{{x:.3~g}}"
            "<br>layer decay %{customdata[1]}<extra></extra>"
        ),
    }


def _symbol_key(decay: str, i: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [None],
        "y": [None],
        "legend": "legend2",
        "name": "no layer decay" if decay == ABSENT else f"decay {decay}",
        "marker": {"symbol": SYMBOLS[i % len(SYMBOLS)], "color": GREY, "size": 9},
        "hoverinfo": "skip",
    }


def _marks(trials: Sequence[TrialRecord], symbol: str, title: str) -> list[dict[str, Any]]:
    """Trials that did not complete: at their last value if they had one, else in the strip."""
    measured = [t for t in trials if t.value is not None]
    strip = [t for t in trials if t.value is None]
    return [
        {
            "type": "scatter",
            "x": [t.number for t in group],
            "y": [0 if t.value is None else t.value for t in group],
            "yaxis": axis,
            "mode": "markers",
            "name": title,
            "legendgroup": title,
            "showlegend": i == 0,
            "customdata": [t.note or "no reason given" for t in group],
            "marker": {
                "symbol": symbol,
                "size": 8,
                "color": GREY,
                "line": {"width": 2, "color": GREY},
            },
            "hovertemplate": f"trial %{{x}}: {title.lower()}, %{{customdata}}<extra></extra>",
        }
        for i, (axis, group) in enumerate(
            (axis, group) for axis, group in (("y", measured), ("y2", strip)) if group
        )
    ]


def _axis(one: Dimension, label: str) -> dict[str, Any]:
    if one.labels:
        ticks = list(range(len(one.labels)))
        return {"label": label, "values": one.values, "tickvals": ticks, "ticktext": one.labels,
                "range": [-0.15, len(ticks) - 0.85]}  # fmt: skip
    if not one.log:
        found = sorted(set(one.values))
        counted = len(found) <= MOST_TICKS and all(value == int(value) for value in found)
        return {"label": label, "values": one.values, "tickformat": ".3~g",
                "tickvals": found if counted else None}  # fmt: skip
    logs = np.log10(np.asarray(one.values))
    ticks = list(range(int(np.floor(logs.min())), int(np.ceil(logs.max())) + 1))
    return {"label": f"{label} (log)", "values": logs, "tickvals": ticks,
            "ticktext": [plain(10.0**tick) for tick in ticks],
            "range": [ticks[0], ticks[-1]]}  # fmt: skip


def _label_room(found: Sequence[Dimension]) -> int:
    """Pixels at the left for the labels of the first axis, which Plotly would cut off."""
    longest = max((len(label) for label in found[0].labels), default=6) if found else 6
    return 22 + 7 * longest


def _best_color(trial: TrialRecord, study: StudyRecord) -> str:
    return CATEGORY_COLORS[1] if trial.number == study.best else GREY


def _short(metric: str) -> str:
    return metric.rpartition("/")[2]


def _whole_steps(study: StudyRecord) -> int:
    return max(1, -(-len(study.trials) // 12))


def _layout(scheme: Scheme, revision: str) -> dict[str, Any]:
    return {"template": template(scheme), "height": HEIGHT, "uirevision": revision}
