"""Trials of a study in a plane, with the front: by two objectives, or by one and what it cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from backend.analysis.costs import Cost, bought, known_costs
from backend.core.records import StudyObjective, StudyRecord, TrialRecord
from dashboard.figures.theme import Scheme, template
from dashboard.formatting import number
from dashboard.palette import ACCENT, CATEGORY_COLORS, GREY
from dashboard.trials import LOG_SPAN, category, log_ticks, roles, text_of

HEIGHT = 300
_OTHERS = {
    "pruned": ("x-thin", "Stopped"),
    "failed": ("cross-thin", "Failed"),
    "running": ("circle-open", "Running"),
}


@dataclass(frozen=True)
class Plane:
    """Where a trial stands (None: nowhere), and who is on the front. ``level``: to the right of a
    trial nothing better was reached, so the line goes on level."""

    name: str
    study: StudyRecord
    place: Callable[[TrialRecord], tuple[float, float] | None]
    across: str
    up: str
    front: tuple[int, ...]
    line: str
    level: bool

    def of(self, state: str) -> list[TrialRecord]:
        """The trials of a state that stand somewhere."""
        return [t for t in self.study.trials if t.state == state and self.place(t)]

    def places(self, trials: Sequence[TrialRecord]) -> list[tuple[float, float]]:
        """Of trials that stand somewhere."""
        return [place for trial in trials if (place := self.place(trial))]


def pareto(study: StudyRecord, scheme: Scheme) -> go.Figure:
    """The first objective upwards, the second across; a colour per freezing strategy.

    The line bounds what was reached: in its corner no trial lies. Dominated trials are faint,
    those that did not complete stand where they had come to. The first thing in the data of a
    point is its run, for the click on it.
    """

    def place(trial: TrialRecord) -> tuple[float, float] | None:
        return (trial.values[1], trial.values[0]) if trial.values else None

    up, across = study.aims[:2]
    plane = Plane(
        name="pareto", study=study, place=place, across=_title(across), up=_title(up),
        front=study.front, line="Pareto front", level=across.direction == "minimize",
    )  # fmt: skip
    return _drawn(plane, scheme)


def priced(study: StudyRecord, cost: Cost, scheme: Scheme) -> go.Figure:
    """The same of a study's metric and a cost: the front is the most that was reached for it."""

    def place(trial: TrialRecord) -> tuple[float, float] | None:
        price = cost.of(trial)
        return None if price is None or trial.value is None else (price, trial.value)

    plane = Plane(
        name=f"cost-{cost.key}", study=study, place=place, across=cost.title, up=study.metric,
        front=tuple(trial.number for trial in bought(study, cost)), line="Best for its cost",
        level=True,
    )  # fmt: skip
    figure = _drawn(plane, scheme)
    prices = [x for x, _ in plane.places(study.trials)]
    if prices and min(prices) > 0 and max(prices) / min(prices) >= LOG_SPAN:
        ticks = log_ticks(min(prices), max(prices))
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[cost.said(x) for x in ticks])
    return figure


def _drawn(plane: Plane, scheme: Scheme) -> go.Figure:
    study = plane.study
    revision = f"{plane.name}-{study.name}"
    figure = go.Figure(
        layout={"template": template(scheme), "height": HEIGHT, "uirevision": revision}
    )
    figure.add_trace(_line(plane))
    strategy = roles(study).strategy
    done = plane.of("complete")
    for i, name in enumerate(sorted({category(t.params, strategy) for t in done})):
        own = [t for t in done if category(t.params, strategy) == name]
        title = name if strategy else "Complete"
        figure.add_traces(_points(plane, own, title, CATEGORY_COLORS[i % len(CATEGORY_COLORS)]))
    for state, (symbol, title) in _OTHERS.items():
        seen = plane.of(state)
        marker = {"symbol": symbol, "size": 8, "color": GREY, "line": {"width": 2, "color": GREY}}
        figure.add_traces([_trace(plane, seen, title, marker)] if seen else [])
    figure.update_layout(
        xaxis={"title": {"text": plane.across}, "showgrid": True, "showspikes": False},
        yaxis={"title": {"text": plane.up}},
        margin={"t": 40, "r": 20},
        showlegend=True,
        hovermode="closest",
    )
    return figure


def _line(plane: Plane) -> dict[str, Any]:
    """From each trial of the front to the next by the corner that neither reaches."""
    places = sorted(plane.places([t for t in plane.study.trials if t.number in plane.front]))
    return {
        "type": "scatter", "mode": "lines", "name": plane.line, "hoverinfo": "skip",
        "x": [x for x, _ in places], "y": [y for _, y in places],
        "line": {
            "color": ACCENT, "width": 1.5, "dash": "dot", "shape": "hv" if plane.level else "vh",
        },
    }  # fmt: skip


def _points(
    plane: Plane, trials: Sequence[TrialRecord], name: str, color: str
) -> list[dict[str, Any]]:
    """Vivid on the front, faint behind it."""
    on_front = [t for t in trials if t.number in plane.front]
    behind = [t for t in trials if t.number not in plane.front]
    vivid = {"size": 12, "color": color}
    faint = {"size": 9, "color": color, "opacity": 0.45}
    found = [_trace(plane, on_front, name, vivid)] if on_front else []
    found += [_trace(plane, behind, name, faint)] if behind else []
    return [one | {"showlegend": i == 0} for i, one in enumerate(found)]


def _trace(
    plane: Plane, trials: Sequence[TrialRecord], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    places = plane.places(trials)
    return {
        "type": "scatter", "mode": "markers", "name": name, "legendgroup": name,
        "cliponaxis": False, "marker": marker,
        "x": [x for x, _ in places], "y": [y for _, y in places],
        "customdata": [[t.run, _told(plane, t)] for t in trials],
        "hovertemplate": "%{customdata[1]}<extra></extra>",
    }  # fmt: skip


def _told(plane: Plane, trial: TrialRecord) -> str:
    """All about a trial: where it stands, its values, what it took, what it tried."""
    study = plane.study
    place = "on the front" if trial.number in plane.front else "dominated"
    place = place if trial.state == "complete" else trial.note or trial.state
    reached = trial.values or (trial.value,)
    values = (
        f"{aim.metric} {number(value)}" for aim, value in zip(study.aims, reached, strict=True)
    )
    took = (f"{cost.title} {cost.text(trial, 'unknown')}" for cost in known_costs(study))
    params = (f"{name} {text_of(value)}" for name, value in trial.params.items())
    return "<br>".join((f"<b>Trial {trial.number}</b>, {place}", *values, *took, *params))


def _title(aim: StudyObjective) -> str:
    return f"{aim.metric} ({'higher' if aim.direction == 'maximize' else 'lower'} is better)"
