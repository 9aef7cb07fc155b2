"""A study with several objectives: its trials by two of them, and the Pareto front."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from backend.core.records import StudyObjective, StudyRecord, TrialRecord
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import number
from dashboard.palette import ACCENT, CATEGORY_COLORS, GREY
from dashboard.trials import category, roles, text_of

HEIGHT = 300
_OTHERS = {
    "pruned": ("x-thin", "Stopped"),
    "failed": ("cross-thin", "Failed"),
    "running": ("circle-open", "Running"),
}


def pareto(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """The first objective upwards, the second across; a colour per freezing strategy.

    The line bounds what was reached: in its corner no trial lies. Dominated trials are faint,
    those that did not complete stand where they had come to. The first thing in the data of a
    point is its run, for the click on it.
    """
    layout = {"template": template(scheme), "height": HEIGHT, "uirevision": f"pareto-{study.name}"}
    figure = go.Figure(layout=layout)
    figure.add_trace(_line(study))
    strategy = roles(study).strategy
    done = [t for t in study.trials if t.state == "complete" and t.values]
    for i, name in enumerate(sorted({category(t.params, strategy) for t in done})):
        own = [t for t in done if category(t.params, strategy) == name]
        title = name if strategy else "Complete"
        figure.add_traces(_points(study, own, title, CATEGORY_COLORS[i % len(CATEGORY_COLORS)]))
    for state, (symbol, title) in _OTHERS.items():
        seen = [t for t in study.trials if t.state == state and t.values]
        marker = {"symbol": symbol, "size": 8, "color": GREY, "line": {"width": 2, "color": GREY}}
        figure.add_traces([_trace(study, seen, title, marker)] if seen else [])
    up, across = study.aims[:2]
    figure.update_layout(
        xaxis={"title": {"text": _title(across)}, "showgrid": True, "showspikes": False},
        yaxis={"title": {"text": _title(up)}},
        margin={"t": 40, "r": 20},
        showlegend=True,
        hovermode="closest",
    )
    return figure


def _line(study: StudyRecord) -> dict[str, Any]:
    """From each trial of the front to the next by the corner that neither reaches."""
    on_front = [t.values for t in study.trials if t.number in study.front]
    places = sorted((values[1], values[0]) for values in on_front)
    level = study.aims[1].direction == "minimize"
    return {
        "type": "scatter", "mode": "lines", "name": "Pareto front", "hoverinfo": "skip",
        "x": [x for x, _ in places], "y": [y for _, y in places],
        "line": {"color": ACCENT, "width": 1.5, "dash": "dot", "shape": "hv" if level else "vh"},
    }  # fmt: skip


def _points(
    study: StudyRecord, trials: Sequence[TrialRecord], name: str, color: str
) -> list[dict[str, Any]]:
    """Vivid on the front, faint behind it."""
    on_front = [t for t in trials if t.number in study.front]
    behind = [t for t in trials if t.number not in study.front]
    vivid = {"size": 12, "color": color}
    faint = {"size": 9, "color": color, "opacity": 0.45}
    found = [_trace(study, on_front, name, vivid)] if on_front else []
    found += [_trace(study, behind, name, faint)] if behind else []
    return [one | {"showlegend": i == 0} for i, one in enumerate(found)]


def _trace(
    study: StudyRecord, trials: Sequence[TrialRecord], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "name": name, "legendgroup": name,
        "cliponaxis": False, "marker": marker,
        "x": [t.values[1] for t in trials], "y": [t.values[0] for t in trials],
        "customdata": [[t.run, _told(study, t)] for t in trials],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    }  # fmt: skip


def _told(study: StudyRecord, trial: TrialRecord) -> str:
    """All about a trial: where it stands, its values, what it tried."""
    place = "on the front" if trial.number in study.front else "dominated"
    place = place if trial.state == "complete" else trial.note or trial.state
    values = (
        f"{aim.metric} {number(value)}"
        for aim, value in zip(study.aims, trial.values, strict=True)
    )
    params = (f"{name} {text_of(value)}" for name, value in trial.params.items())
    return "<br>".join((f"<b>Trial {trial.number}</b>, {place}", *values, *params))


def _title(aim: StudyObjective) -> str:
    return f"{aim.metric} ({'higher' if aim.direction == 'maximize' else 'lower'} is better)"
