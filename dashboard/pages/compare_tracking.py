"""Tracking on *Compare*: the rows per class, and the sequences that the viewer goes through."""

from functools import partial
from typing import Any
from urllib.parse import urlencode

from dash import Dash, Input, Output, State, html, no_update

from backend.analysis.experts import Matrix
from backend.analysis.track_summary import Confusion
from backend.analysis.tracks import changed_most
from backend.core.errors import DataError
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components import tracking
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import panel
from dashboard.components.graph import graph
from dashboard.figures.matrices import confusion
from dashboard.films import ADDRESS, Films, data_of, serve_frames
from dashboard.formatting import percent


def register_tracking(app: Dash, store: RunStore) -> None:
    """Tables and sequences by callback, frames by an address of their own."""
    films = Films(store)
    serve_frames(app.server, films)
    app.callback(
        Output(ids.TRACKS_TABLES, "children"),
        Output(ids.TRACKS_SEQUENCE, "data"),
        Output(ids.TRACKS_VIEWER, "style"),
        Input(ids.TRACKS_COMPARISON, "data"),
        State(ids.SCHEME, "data"),
    )(partial(opened, films))
    app.callback(
        Output(ids.TRACKS_FRAMES, "data"),
        Output(ids.TRACKS_KIND, "data"),
        Output(ids.TRACKS_STRIP, "style"),
        Output(ids.TRACKS_PROBLEM, "children"),
        Input(ids.TRACKS_SEQUENCE, "value"),
        Input(ids.TRACKS_KIND, "value"),
        State(ids.TRACKS_COMPARISON, "data"),
    )(partial(chosen, films))
    _register_browser_side(app)


def opened(films: Films, key: str, scheme: str) -> tuple[Any, ...]:
    """The tables, and the sequences that can be looked at, those that changed most first."""
    comparison = films.comparison(key)
    parts: list[Any] = []
    groups = []
    for role, data in data_of(comparison).items():
        try:
            summary = films.summary(key, role)
            names = changed_most(data, films.recording(key, role).names)
        except DataError as error:
            parts += [tracking.gone(str(error)), tracking.table(data, comparison.confidence, None)]
            continue
        parts.append(tracking.table(data, comparison.confidence, summary))
        parts += _confusions(role, summary.confusion, scheme)
        items = [{"value": f"{role}/{name}", "label": name} for name in names]
        groups.append({"group": role.capitalize(), "items": items})
    return parts, groups, {} if groups else HIDDEN


def _confusions(role: str, found: tuple[Confusion, Confusion] | None, scheme: str) -> list[Any]:
    """A matrix for each side; none where there is nothing to confuse."""
    parts = []
    for side, one in zip(("old", "new"), found or (), strict=False):
        name = f"confusion-{role}-{side}"
        drawn = graph(
            ids.graph(ids.EVIDENCE, name),
            confusion(_matrix(one), scheme, name),
            f"Class taken for class, {side}",
        )
        note = (
            f"{percent(one.right)} of matched boxes have the right class; rows are true classes "
            "with their boxes."
        )
        parts.append(panel(f"Classes confused, {side}", drawn, note=note))
    return [html.Div(parts, className="two-columns")] if parts else []


def _matrix(found: Confusion) -> Matrix:
    """Of each true class, the share that was taken for each class."""
    totals = found.counts.sum(axis=1).tolist()
    values = tuple(
        tuple(count / total if total else None for count in row)
        for row, total in zip(found.counts.tolist(), totals, strict=True)
    )
    places = tuple(range(len(totals)))
    return Matrix(found.classes, found.classes, values, tuple(totals), places)


def chosen(films: Films, sequence: str | None, kind: str, key: str) -> tuple[Any, ...]:
    """What the browser needs to go through a sequence: numbers, differences, the address."""
    if not sequence:
        return None, no_update, {}, ""
    found = films.judged(key, sequence)
    tracked, note = found.tracked, found.tracked.note
    anywhere = {place for places in found.differences.values() for place in places}
    differences: dict[str, list[int]] = {"any": sorted(anywhere)}
    differences |= {str(each): places for each, places in found.differences.items()}
    options = [
        {"value": each, "label": f"{text} ({len(differences[each]):,})"}
        for each, text in tracking.KINDS.items()
    ]
    data = {
        "url": f"{ADDRESS}?{urlencode({'comparison': key, 'sequence': sequence})}",
        "sequence": sequence,
        "numbers": tracked.numbers,
        "differences": differences[kind],
        "fps": tracked.video.fps,
        "note": note,
    }
    style = tracking.strip(differences[kind], len(tracked.numbers))
    return data, options, style, f"Boxes only: {note}." if note else ""


def _register_browser_side(app: Dash) -> None:
    """Slider, keys and address follow each other; the browser asks for the frame it shows."""
    app.clientside_callback(
        browser("placeFrame"),
        Output(ids.TRACKS_SLIDER, "max"),
        Output(ids.TRACKS_SLIDER, "value"),
        Output(ids.TRACKS_SLIDER, "disabled"),
        Input(ids.URL, "search"),
        Input(ids.TRACKS_FRAMES, "data"),
    )
    app.clientside_callback(
        browser("showFrame"),
        Output(ids.TRACKS_OLD, "src"),
        Output(ids.TRACKS_OLD, "alt"),
        Output(ids.TRACKS_OLD_TEXT, "children"),
        Output(ids.TRACKS_NEW, "src"),
        Output(ids.TRACKS_NEW, "alt"),
        Output(ids.TRACKS_NEW_TEXT, "children"),
        Output(ids.TRACKS_TEXT, "children"),
        Input(ids.TRACKS_SLIDER, "value"),
        Input(ids.TRACKS_TRUTH, "checked"),
        Input(ids.TRACKS_ONLY, "checked"),
        Input(ids.TRACKS_FRAMES, "data"),
    )
    app.clientside_callback(
        browser("placeSequence"),
        Output(ids.TRACKS_SEQUENCE, "value"),
        Input(ids.URL, "search"),
        Input(ids.TRACKS_SEQUENCE, "data"),
        State(ids.TRACKS_SEQUENCE, "value"),
    )
    app.clientside_callback(
        browser("pickSequence"),
        Input(ids.TRACKS_SEQUENCE, "value"),
        State(ids.TRACKS_SEQUENCE, "data"),
        prevent_initial_call=True,
    )
    for name, button in (
        ("frameBefore", ids.TRACKS_BEFORE),
        ("frameBack", ids.TRACKS_BACK),
        ("framePlay", ids.TRACKS_PLAY),
        ("frameOn", ids.TRACKS_ON),
        ("frameNext", ids.TRACKS_NEXT),
    ):
        app.clientside_callback(
            browser(name), Input(button, "n_clicks"), prevent_initial_call=True
        )
