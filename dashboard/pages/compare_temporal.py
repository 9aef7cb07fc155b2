"""Temporal actions on *Compare*: the videos by what changed, one on a timeline, a row each."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlencode

from dash import Dash, Input, Output, State, no_update

from backend.analysis.actions import ActionRecording, Scores
from backend.core.errors import DataError
from backend.core.store import RunStore
from dashboard import ids
from dashboard.actions import STILL, VIDEO, Recordings, serve_videos
from dashboard.components import temporal
from dashboard.components.browser import HIDDEN, browser
from dashboard.figures.timeline import class_colors, timeline_figure
from dashboard.films import data_of
from dashboard.view import View

USUAL = 0.5
"""The threshold of temporal IoU that is shown first, if it was evaluated."""
CHOICE = {
    "tiou": Input(ids.ACTIONS_TIOU, "value"),
    "label": Input(ids.ACTIONS_CLASS, "value"),
    "best": Input(ids.ACTIONS_BEST, "checked"),
    "score": Input(ids.ACTIONS_SCORE, "value"),
}


class Choice(NamedTuple):
    """What is wanted: a threshold of temporal IoU, a class or all, and the lowest score that
    counts: each model's own of ``best`` F1, or ``score`` for both."""

    tiou: str | None
    label: str | None
    best: bool
    score: float

    @property
    def threshold(self) -> float:
        """As a number; nothing is drawn before one is chosen."""
        return float(self.tiou or USUAL)

    def lowest(self, recording: ActionRecording) -> Scores:
        """The lowest scores of old and new."""
        return recording.best_scores(self.threshold) if self.best else (self.score, self.score)


def register_temporal(app: Dash, store: RunStore) -> None:
    """Choices, videos and the timeline by callback, the video's file by an address of its own."""
    recordings = Recordings(store)
    serve_videos(app.server, recordings)
    key = State(ids.ACTIONS_COMPARISON, "data")
    shown = Input(ids.ACTIONS_VIDEO, "value")
    app.callback(
        Output(ids.ACTIONS_TIOU, "data"),
        Output(ids.ACTIONS_TIOU, "value"),
        Output(ids.ACTIONS_CLASS, "data"),
        Output(ids.ACTIONS_PROBLEM, "children"),
        Output(ids.ACTIONS_BODY, "style"),
        Input(ids.ACTIONS_COMPARISON, "data"),
        State(ids.URL, "search"),
    )(partial(opened, recordings))
    app.callback(
        [
            Output(ids.ACTIONS_VIDEO, "data"),
            Output(ids.ACTIONS_VIDEO, "value"),
            Output(ids.ACTIONS_SCORE, "disabled"),
        ],
        {"choice": CHOICE, "key": key, "shown": State(ids.ACTIONS_VIDEO, "value"),
         "search": State(ids.URL, "search")},
        prevent_initial_call=True,
    )(partial(listed, recordings))  # fmt: skip
    app.callback(
        [
            Output(ids.ACTIONS_CHART, "children"),
            Output(ids.ACTIONS_SUMMARY, "children"),
            Output(ids.ACTIONS_TABLE, "children"),
        ],
        {"choice": CHOICE, "key": key, "video": shown, "scheme": State(ids.SCHEME, "data")},
        prevent_initial_call=True,
    )(partial(drawn, recordings))
    app.callback(Output(ids.ACTIONS_FILM, "children"), shown, key, prevent_initial_call=True)(
        partial(filmed, recordings)
    )
    app.clientside_callback(
        browser("pickActions"), shown, *CHOICE.values(), prevent_initial_call=True
    )
    app.clientside_callback(
        browser("showStill"),
        Output(ids.ACTIONS_STILL, "src"),
        Output(ids.ACTIONS_STILL, "alt"),
        Output(ids.ACTIONS_MOMENT_TEXT, "children"),
        Input(ids.ACTIONS_MOMENT, "value"),
        Input(ids.ACTIONS_STILLS, "data"),
    )
    app.clientside_callback(
        browser("clickAction"),
        Input(ids.graph(ids.EVIDENCE, "timeline"), "clickData"),
        prevent_initial_call=True,
    )


def opened(recordings: Recordings, key: str, search: str | None) -> tuple[Any, ...]:
    """What can be chosen, or in a sentence why there is nothing to look at."""
    found: list[ActionRecording] = []
    problems: list[str] = []
    for role in data_of(recordings.comparison(key)):
        try:
            found.append(recordings.recording(key, role))
        except DataError as error:
            problems.append(f"No timeline of the {role} data: {error}.")
    problem = " ".join(problems)
    if not found:
        return [], None, [], problem, HIDDEN
    thresholds = [f"{one:g}" for one in found[0].thresholds]
    wanted = [View.parse(search).tiou, f"{USUAL:g}", thresholds[len(thresholds) // 2]]
    chosen = next(one for one in wanted if one in thresholds)
    classes = sorted({name for one in found for name in one.truth.classes})
    return thresholds, chosen, classes, problem, {}


def listed(
    recordings: Recordings, choice: Mapping[str, Any], key: str, shown: str | None,
    search: str | None,
) -> tuple[Any, ...]:  # fmt: skip
    """The videos, those that changed most first; the one that is shown stays if it is there.

    The slider has no say (is disabled) while each model has a score of its own.
    """
    chosen = Choice(**choice)
    if chosen.tiou is None:
        return no_update, no_update, chosen.best
    groups = []
    for role in data_of(recordings.comparison(key)):
        try:
            recording = recordings.recording(key, role)
        except DataError:
            continue  # as is said above the choices
        rows = recording.changes(chosen.threshold, chosen.lowest(recording), chosen.label or "")
        groups.append(temporal.video_options(role, rows))
    names = [item["value"] for group in groups for item in group["items"]]
    wanted = (shown, View.parse(search).sequence, *names[:1])
    return groups, next((one for one in wanted if one in names), None), chosen.best


def drawn(
    recordings: Recordings, choice: Mapping[str, Any], key: str, video: str | None, scheme: str
) -> tuple[Any, ...]:
    """Chart, sentence and table of one video."""
    chosen = Choice(**choice)
    if not video or chosen.tiou is None:
        return None, "No video has an action of this class.", None
    role, _, name = video.partition("/")
    recording = recordings.recording(key, role)
    lowest = chosen.lowest(recording)
    found = recording.timeline(name, chosen.threshold, lowest, chosen.label or "")
    colors = temporal.colored(class_colors(recording.truth.classes), found)
    chart = temporal.chart(timeline_figure(found, colors, scheme), found)
    return chart, temporal.summary(found, chosen.threshold, lowest), temporal.table(found)


def filmed(recordings: Recordings, video: str | None, key: str) -> Any:
    """The video beside its timeline, if its file is where it was evaluated."""
    if not video:
        return None
    role, _, name = video.partition("/")
    recording = recordings.recording(key, role)
    try:
        recording.film(name)
    except DataError as error:
        return temporal.no_film(str(error))
    asked = urlencode({"comparison": key, "video": video})
    addresses = f"{VIDEO}?{asked}", f"{STILL}?{asked}&t="
    return temporal.film(name, addresses, recording.duration(name))
