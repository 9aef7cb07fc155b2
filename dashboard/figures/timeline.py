"""The actions of one video and what two models found, as bars over time in three lanes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from backend.analysis.actions import Action, Detection, Timeline
from dashboard.figures.theme import Scheme, template
from dashboard.palette import CATEGORY_COLORS, GREY, RUN_COLORS

ROW = 22  # pixels of height
MOST = 400
"""Detections of a lane at most, the best."""
MOST_ROWS = 8
"""Rows of a lane of detections at most; what overlaps more than that is not drawn."""
OUTCOMES = {
    "both": ("", "found by both"),
    "gained": ("triangle-up", "found by new only"),
    "lost": ("triangle-down", "found by old only"),
    "neither": ("x", "found by neither"),
}
"""Outcome of an action to its mark and its meaning."""


@dataclass(frozen=True)
class Bar:
    """One segment. ``row`` counts down from the top; ``look``: right, false or missed."""

    label: str
    start: float
    end: float
    row: int
    look: str
    strength: float
    text: str


@dataclass(frozen=True)
class Drawn:
    """The chart, and how many detections of old and new it leaves out."""

    figure: go.Figure
    hidden: tuple[int, int]


def class_colors(classes: Sequence[str]) -> dict[str, str]:
    """A colour for each class of the evaluation, the same in all of its videos."""
    colors = CATEGORY_COLORS if len(classes) <= len(CATEGORY_COLORS) else RUN_COLORS
    return {name: colors[place % len(colors)] for place, name in enumerate(classes)}


def timeline_figure(found: Timeline, colors: Mapping[str, str], scheme: Scheme) -> Drawn:
    """Truth above old above new; within a lane, segments that overlap have rows of their own."""
    truth = _rows([(a.start, a.end) for a in found.actions], len(found.actions))
    bars = [_truth(action, row) for action, row in zip(found.actions, truth, strict=True)]
    ends = [max(truth, default=0) + 1]
    hidden = []
    for side in (found.old, found.new):
        best = side[:MOST]
        rows = _rows([(one.start, one.end) for one in best], MOST_ROWS)
        kept = [(one, row) for one, row in zip(best, rows, strict=True) if row is not None]
        bars += [_detection(one, ends[-1] + row) for one, row in kept]
        hidden.append(len(side) - len(kept))
        ends.append(ends[-1] + max((row for _, row in kept), default=0) + 1)
    figure = _figure(found, ends, scheme)
    figure.add_traces(_traces(bars, colors))
    _marks(figure, found.actions, truth)
    return Drawn(figure, (hidden[0], hidden[1]))


def _rows(segments: Sequence[tuple[float, float]], most: int) -> list[Any]:
    """For each segment the first row in which nothing before it overlaps it; None beyond."""
    rows: list[list[tuple[float, float]]] = []
    places: list[int | None] = []
    for start, end in segments:
        free = (
            place
            for place, row in enumerate(rows)
            if all(end <= left or right <= start for left, right in row)
        )
        place = next(free, len(rows))
        if place >= most:
            places.append(None)
            continue
        if place == len(rows):
            rows.append([])
        rows[place].append((start, end))
        places.append(place)
    return places


def _truth(action: Action, row: int) -> Bar:
    found = [
        f"{name}: score {one.score:.3f}, IoU {one.iou:.2f}"
        if one
        else f"{name}: missed, nearest IoU {near:.2f}"
        for name, one, near in zip(
            ("Old", "New"), (action.old, action.new), action.nearest, strict=True
        )
    ]
    look = "missed" if action.outcome == "neither" else "right"
    return _bar(action, row, look, 1.0, [OUTCOMES[action.outcome][1], *found])


def _detection(one: Detection, row: int) -> Bar:
    strength = 0.6 + 0.4 * min(max(one.score, 0.0), 1.0)
    if one.action is None:
        near = f"nearest IoU {one.iou:.2f}" if one.iou else "no action of its class there"
        return _bar(one, row, "false", strength, [f"score {one.score:.3f}", f"false: {near}"])
    said = [f"score {one.score:.3f}", f"right: IoU {one.iou:.2f} with its action"]
    return _bar(one, row, "right", strength, said)


def _bar(
    one: Action | Detection, row: int, look: str, strength: float, said: Iterable[str]
) -> Bar:
    head = f"<b>{one.label}</b>  {one.start:.2f}–{one.end:.2f} s"
    return Bar(one.label, one.start, one.end, row, look, strength, "<br>".join([head, *said]))


def _traces(bars: Sequence[Bar], colors: Mapping[str, str]) -> list[go.Bar]:
    """One per class and look; a click on a class in the legend hides all of it."""
    traces = []
    for label, color in colors.items():
        first = True
        for look, style in _looks(color).items():
            own = [bar for bar in bars if (bar.label, bar.look) == (label, look)]
            if not own:
                continue
            traces.append(
                go.Bar(
                    orientation="h", name=label, legendgroup=label, showlegend=first,
                    base=[bar.start for bar in own], x=[bar.end - bar.start for bar in own],
                    y=[bar.row for bar in own], width=0.46 if look == "false" else 0.78,
                    customdata=[(bar.start, bar.end, bar.text) for bar in own],
                    marker=style | {"opacity": [bar.strength for bar in own]},
                    hovertemplate="%{customdata[2]}<extra></extra>",
                )
            )  # fmt: skip
            first = False
    return traces


def _looks(color: str) -> dict[str, dict[str, Any]]:
    """Full, hollow, or hatched: the colour says the class and nothing else."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return {
        "right": {"color": color, "line": {"color": color, "width": 1}},
        "missed": {
            "color": f"rgba({red},{green},{blue},0.12)", "line": {"color": color, "width": 2},
        },
        "false": {
            "color": color, "line": {"color": color, "width": 1},
            "pattern": {"shape": "/", "fillmode": "replace", "size": 5, "solidity": 0.35,
                        "fgcolor": color, "bgcolor": "rgba(0,0,0,0)"},
        },
    }  # fmt: skip


def _marks(figure: go.Figure, actions: Sequence[Action], rows: Sequence[int]) -> None:
    """A sign on each action that not both models found."""
    placed = [
        (action, row, OUTCOMES[action.outcome][0])
        for action, row in zip(actions, rows, strict=True)
        if OUTCOMES[action.outcome][0]
    ]
    figure.add_scatter(
        x=[(action.start + action.end) / 2 for action, _, _ in placed],
        y=[row for _, row, _ in placed], mode="markers", hoverinfo="skip", showlegend=False,
        marker={"symbol": [symbol for _, _, symbol in placed], "size": 9, "color": "#ffffff",
                "line": {"color": "#1b1e23", "width": 1.2}},
    )  # fmt: skip


def _figure(found: Timeline, ends: Sequence[int], scheme: Scheme) -> go.Figure:
    sides = (found.actions, found.old, found.new)
    last = max((one.end for side in sides for one in side), default=1.0)
    until = found.duration if found.duration < float("inf") else last
    starts = [0, *ends[:-1]]
    figure = go.Figure()
    figure.update_layout(
        template=template(scheme), height=112 + ROW * ends[-1], barmode="overlay",
        showlegend=True, hovermode="closest", uirevision=found.video, dragmode="zoom",
        margin={"t": 34, "r": 16},
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, until], minallowed=0, maxallowed=max(until, last),
        ticksuffix=" s", showgrid=True, showspikes=True, spikemode="across",
    )  # fmt: skip
    figure.update_yaxes(
        range=[ends[-1] - 0.4, -0.6], fixedrange=True, showgrid=False, zeroline=False,
        tickvals=[(start + end - 1) / 2 for start, end in zip(starts, ends, strict=True)],
        ticktext=["Truth", "Old", "New"], ticksuffix="  ", tickfont={"size": 12},
    )  # fmt: skip
    for end in ends[:-1]:
        figure.add_hline(y=end - 0.5, line={"color": GREY, "width": 1, "dash": "dot"})
    return figure
