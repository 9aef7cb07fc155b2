"""Two action detectors: one video's segments over time, the video itself, a row per action."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from backend.analysis.actions import Action, Changed, Detection, Timeline
from backend.core.comparisons import Comparison
from dashboard import ids
from dashboard.components.cards import panel
from dashboard.components.graph import graph
from dashboard.figures.timeline import MOST, MOST_ROWS, OUTCOMES, Drawn
from dashboard.formatting import count
from dashboard.view import View

SIGNS = {"both": "", "gained": "▲", "lost": "▼", "neither": "✕"}
MOST_ACTIONS = 50
"""Rows of the table; a cell is a component of its own, and thousands take the browser a minute."""
_URGENCY = ("lost", "gained", "neither", "both")
_SHOW = "Show it in the chart and the video"
_LOOKS = (
    ("right", "right, or found"),
    ("false", "false"),
    ("missed", "missed by both"),
)


def temporal(comparison: Comparison, view: View) -> Any:
    """Frames that callbacks fill (``pages.compare_temporal``); nothing for another task."""
    if comparison.target.baseline_report.task != "temporal":
        return None
    return panel(
        "Actions on a timeline",
        dcc.Store(id=ids.ACTIONS_COMPARISON, data=comparison.key),
        html.Div(
            "Reading the segments …", id=ids.ACTIONS_PROBLEM, className="warn small", role="status"
        ),
        html.Div(
            [
                _choices(view),
                html.Div(id=ids.ACTIONS_SUMMARY, className="small", role="status"),
                dcc.Loading(
                    html.Div(id=ids.ACTIONS_CHART, className="actions-chart"), delay_show=400
                ),
                _swatches(),
                html.Div(id=ids.ACTIONS_FILM),
                html.Div(id=ids.ACTIONS_TABLE),
            ],
            id=ids.ACTIONS_BODY,
            className="stack actions",
            style={"display": "none"},
        ),
        id_=ids.ACTIONS,
        note="One video: its annotated actions above what old and new found. Drag to zoom, "
        "double-click to see all of it again; a click on a segment goes there in the video.",
    )


def _choices(view: View) -> Any:
    video = dmc.Select(
        id=ids.ACTIONS_VIDEO, size="xs", allowDeselect=False, searchable=True, w=330,
        label="Video, those that changed most first", maxDropdownHeight=360,
    )  # fmt: skip
    label = dmc.Select(
        id=ids.ACTIONS_CLASS, size="xs", searchable=True, clearable=True, w=200,
        label="Class", placeholder="All classes", value=view.label or None,
    )  # fmt: skip
    threshold = dmc.Select(
        id=ids.ACTIONS_TIOU, size="xs", allowDeselect=False, w=110, label="Found from tIoU",
        data=[],
    )  # fmt: skip
    best = dmc.Switch(
        id=ids.ACTIONS_BEST, label="Each model from its best F1", checked=not view.score,
        size="xs",
    )  # fmt: skip
    score = dmc.Slider(
        id=ids.ACTIONS_SCORE, value=float(view.score or 0.3), min=0, max=1, step=0.01, size="sm",
        w=180, precision=2, thumbLabel="Lowest score shown", disabled=not view.score,
    )  # fmt: skip
    scores = html.Div(
        [html.Span("Lowest score shown", className="control-label"), score, best],
        className="actions-score",
    )
    return html.Div([video, label, threshold, scores], className="controls actions-choices")


def _swatches() -> Any:
    looks = [
        html.Span([html.Span(className=f"segment {name}"), text], className="swatch-label")
        for name, text in _LOOKS
    ]
    signs = [
        html.Span([html.B(SIGNS[name]), text], className="swatch-label")
        for name, (_, text) in OUTCOMES.items()
        if SIGNS[name]
    ]
    return html.Div([*looks, *signs], className="swatches")


def video_options(role: str, rows: Sequence[Changed]) -> dict[str, Any]:
    """The videos of one data set as options, each with what changed in it."""
    items = [
        {"value": f"{role}/{row.video}", "label": f"{row.video}  (+{row.gained} −{row.lost} of "
         f"{row.actions})"}
        for row in rows
    ]  # fmt: skip
    return {"group": f"{role.capitalize()}, {count(len(items), 'video')}", "items": items}


def chart(drawn: Drawn, found: Timeline) -> Any:
    """The chart; what it does not draw is said below it."""
    label = f"Actions of {found.video} over time: truth, old, new. The table below says the same"
    texts = [
        f"{count(number, 'detection')} of {side} not drawn"
        for side, number in zip(("old", "new"), drawn.hidden, strict=True)
        if number
    ]
    note = (
        f"{' and '.join(texts)}: at most the best {MOST} are, in {MOST_ROWS} rows; a higher "
        "score shows fewer."
    )
    return [
        graph(ids.graph(ids.EVIDENCE, "timeline"), drawn.figure, label),
        dmc.Text(note, size="xs", c="dimmed") if texts else None,
    ]


def summary(found: Timeline, threshold: float, scores: tuple[float, float]) -> str:
    """How much each model finds in this video, and from which scores on."""
    said = []
    for name, side, score in zip(("Old", "New"), (found.old, found.new), scores, strict=True):
        right = sum(one.action is not None for one in side)
        said.append(
            f"{name} (scores from {score:.3g}) finds {right} of "
            f"{count(len(found.actions), 'action')}, {len(side) - right} false"
        )
    return f"At tIoU {threshold:g}: {'; '.join(said)}."


def table(found: Timeline) -> Any:
    """A row per action: who found it, with which score and IoU; of many those that changed."""
    if not found.actions:
        return dmc.Text("No annotated actions here.", size="sm", c="dimmed")
    ranked = sorted(found.actions, key=lambda action: _URGENCY.index(action.outcome))
    shown = sorted(ranked[:MOST_ACTIONS], key=lambda action: action.start)
    left = len(found.actions) - len(shown)
    names = ("Action", "Seconds", "Found by", "Old: score, IoU", "New: score, IoU", "")
    head = [
        html.Th(name, scope="col", className="num" if "," in name or name == "Seconds" else "")
        for name in names
    ]
    note = (
        f"{count(left, 'action')} more: those that one model alone found, or neither, come first "
        "here; a class shows fewer at once, and the chart shows all."
    )
    body = html.Table(
        [html.Thead(html.Tr(head)), html.Tbody([_row(action) for action in shown])],
        className="table",
        **{"aria-label": f"Actions of {found.video}"},
    )
    return [
        html.Div(body, className="scroll-x limited", tabIndex=0),
        dmc.Text(note, size="xs", c="dimmed") if left else None,
    ]


def _row(action: Action) -> Any:
    meaning = OUTCOMES[action.outcome][1].removeprefix("found by ")
    tone = {"gained": "delta good", "lost": "delta bad"}.get(action.outcome, "")
    button = html.Button(
        "Show", className="link-button", title=_SHOW,
        **{"data-seek": f"{action.start},{action.end}",
           "aria-label": f"{_SHOW}: {action.label} at {action.start:.1f} s"},
    )  # fmt: skip
    return html.Tr(
        [
            html.Th(action.label, scope="row"),
            html.Td(f"{action.start:.2f} to {action.end:.2f}", className="num"),
            html.Td(f"{SIGNS[action.outcome]} {meaning}", className=tone),
            _found(action.old, action.nearest[0]),
            _found(action.new, action.nearest[1]),
            html.Td(button),
        ]
    )


def _found(one: Detection | None, near: float) -> Any:
    if one is None:
        text = f"missed, nearest {near:.2f}" if near else "missed, none near"
        return html.Td(text, className="num dim")
    return html.Td(f"{one.score:.3f}, {one.iou:.2f}", className="num")


def no_film(problem: str) -> Any:
    """Why there is no video to see."""
    return dmc.Text(f"No video: {problem}.", size="xs", c="dimmed")


def film(name: str, addresses: tuple[str, str], duration: float) -> Any:
    """The video; still frames in its place if the browser says that it cannot play it.

    ``addresses`` are those of the file and of a frame, the latter up to its moment.
    """
    player = html.Video(
        id=ids.ACTIONS_PLAYER, src=addresses[0], controls=True, preload="metadata", muted=True,
        className="actions-video", **{"aria-label": f"The video {name}"},
    )  # fmt: skip
    moment = dmc.Slider(
        id=ids.ACTIONS_MOMENT, value=0, min=0, max=duration, step=0.1, precision=1, size="sm",
        label=None, updatemode="drag", thumbLabel=f"Moment of {name} in seconds",
    )  # fmt: skip
    stills = [
        html.Img(id=ids.ACTIONS_STILL, className="actions-video", alt="No frame yet"),
        moment,
        html.Span(id=ids.ACTIONS_MOMENT_TEXT, className="num small"),
        dmc.Text("Still frames: this browser cannot play the codec of the file.", size="xs",
                 c="dimmed"),
    ]  # fmt: skip
    return html.Div(
        [
            dcc.Store(id=ids.ACTIONS_STILLS, data={"url": addresses[1], "video": name}),
            player,
            html.Div(stills, className="actions-stills", hidden=True),
        ]
    )


def colored(mapping: Mapping[str, str], found: Timeline) -> dict[str, str]:
    """The colours of the classes that are in this video, in the order of the evaluation."""
    there = {one.label for side in (found.actions, found.old, found.new) for one in side}
    return {label: color for label, color in mapping.items() if label in there}
