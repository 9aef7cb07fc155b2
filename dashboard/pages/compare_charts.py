"""The charts of *Compare*: drawn, kept up to date, and refined where someone zooms in."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import dash_mantine_components as dmc
from dash import (
    ALL,
    MATCH,
    Dash,
    Input,
    Output,
    Patch,
    State,
    dcc,
    html,
    no_update,
)
from dash.exceptions import PreventUpdate

from backend.catalog import Catalog
from backend.core.records import Series
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import browser
from dashboard.components.graph import graph
from dashboard.curves import (
    RECOVERIES,
    Chart,
    Selection,
    Zoom,
    caption,
    chart,
    epoch_scale,
    styles,
)
from dashboard.figures.curves import curve_figure, traces
from dashboard.scope import Scope, better_when, chosen_metrics, scope_of
from dashboard.tables import unit
from dashboard.view import View


class Source(NamedTuple):
    """Where numbers come from, and what their names mean."""

    store: RunStore
    catalog: Catalog


NO_RUNS = "No run of this store is behind this."


def register_charts(app: Dash, store: RunStore, catalog: Catalog) -> None:
    """Drawing on a new address, new data on a new token, more points on a zoom."""
    source = Source(store, catalog)
    charts = (
        (ids.COMPARE_CURVES, "children"),
        (ids.graph(ids.CURVES, ALL), "figure"),
        (ids.caption(ALL), "children"),
    )
    on_screen = (
        State(ids.SCHEME, "data"),
        State(ids.zoom(ALL), "id"),
        State(ids.zoom(ALL), "data"),
    )
    app.callback(
        *(Output(*part) for part in charts),
        Input(ids.COMPARE_DRAWING, "data"),
        *on_screen,
    )(partial(draw, source))
    app.callback(
        *(Output(*part, allow_duplicate=True) for part in charts),
        Input(ids.TOKEN, "data"),
        State(ids.COMPARE_DRAWING, "data"),
        *on_screen,
        prevent_initial_call=True,
    )(partial(update, source))
    app.callback(
        Output(ids.graph(ids.CURVES, MATCH), "figure", allow_duplicate=True),
        Output(ids.caption(MATCH), "children", allow_duplicate=True),
        Input(ids.zoom(MATCH), "data"),
        State(ids.zoom(MATCH), "id"),
        State(ids.COMPARE_DRAWING, "data"),
        prevent_initial_call=True,
    )(partial(zoom, store))
    app.clientside_callback(
        browser("zoom"),
        Output(ids.zoom(MATCH), "data"),
        Input(ids.graph(ids.CURVES, MATCH), "relayoutData"),
        State(ids.graph(ids.CURVES, MATCH), "figure"),
        State(ids.zoom(MATCH), "data"),
        prevent_initial_call=True,
    )


def draw(
    source: Source,
    drawing: str,
    scheme: str,
    shown: list[dict[str, str]],
    zooms: list[dict[str, Any] | None],
) -> tuple[Any, list[Any], list[Any]]:
    """All charts, as the address asks: new figures on the cards there are, or new cards."""
    charts, scope, view = _charts(source, drawing, shown, zooms)
    if not scope.runs:
        return NO_RUNS, [no_update] * len(shown), [no_update] * len(shown)
    to = _zooms(shown, zooms)
    figures = [
        curve_figure(c, _unit(c, scope, source), view.log, scheme, to.get(c.metric))
        for c in charts
    ]
    if [c.metric for c in charts] == list(to):
        return no_update, figures, [caption(c) for c in charts]
    same = [no_update] * len(shown)
    pairs = zip(charts, figures, strict=True)
    return (
        [_card(c, f, better_when(c.metric, scope.runs, source.catalog)) for c, f in pairs],
        same,
        same,
    )


def update(
    source: Source,
    token: str | None,
    drawing: str,
    scheme: str,
    shown: list[dict[str, str]],
    zooms: list[dict[str, Any] | None],
) -> tuple[Any, list[Any], list[Any]]:
    """New data for the charts on screen; nothing else of them changes, least of all the zoom."""
    charts, _, _ = _charts(source, drawing, shown, zooms)
    if [c.metric for c in charts] != [ids.name_of(id_) for id_ in shown]:
        return draw(source, drawing, scheme, shown, zooms)
    patches = []
    for c in charts:
        patch = Patch()
        patch["data"] = traces(c.lines)
        patch["layout"]["xaxis"]["title"]["text"] = c.x_title
        patches.append(patch)
    return no_update, patches, [caption(c) for c in charts]


def _charts(
    source: Source,
    drawing: str,
    shown: list[dict[str, str]],
    zooms: list[dict[str, Any] | None],
) -> tuple[list[Chart], Scope, View]:
    view = View.parse(drawing)
    scope = scope_of(source.store, view)
    metrics = chosen_metrics(view, source.store.metric_names(scope.keys), scope.runs)
    return charts_of(source.store, scope, view, metrics, _zooms(shown, zooms)), scope, view


def _zooms(
    shown: list[dict[str, str]], zooms: list[dict[str, Any] | None]
) -> dict[str, Zoom | None]:
    return {ids.name_of(id_): zoom_of(z) for id_, z in zip(shown, zooms, strict=True)}


def _unit(c: Chart, scope: Scope, source: Source) -> str:
    return unit(c.metric, scope.runs[0].trainer, source.catalog)


def zoom(
    store: RunStore, to: dict[str, Any] | None, id_: dict[str, str], drawing: str
) -> tuple[Any, str]:
    """Full detail of the range that a chart was zoomed to, or the overview again."""
    view = View.parse(drawing)
    metric = ids.name_of(id_)
    found = charts_of(store, scope_of(store, view), view, [metric], {metric: zoom_of(to)})[0]
    if not found.refinable:
        raise PreventUpdate
    patch = Patch()
    patch["data"] = traces(found.lines)
    return patch, caption(found)


def zoom_of(data: Mapping[str, Any] | None) -> Zoom | None:
    """The zoom that the browser stored for a chart."""
    if not data:
        return None
    x, y = (tuple(data[axis]) if data.get(axis) else None for axis in ("x", "y"))
    return Zoom(x, y, str(data["title"]), bool(data["log"]))


def charts_of(
    store: RunStore,
    scope: Scope,
    view: View,
    metrics: Sequence[str],
    zooms: Mapping[str, Zoom | None],
) -> list[Chart]:
    """Charts from one reading of all their series."""
    series: dict[tuple[str, str], Series] = store.series(scope.keys, [*metrics, RECOVERIES])
    epochs = (
        {key: epoch_scale(store.checkpoints(key)) for key in scope.keys}
        if view.x == "epoch"
        else {}
    )
    base = scope.baseline.key if scope.baseline else ""
    selection = Selection(scope.runs, styles(scope.runs, base), view.x, view.smooth, epochs)
    return [chart(selection, series, metric, zooms.get(metric)) for metric in metrics]


def _card(c: Chart, figure: Any, hint: str) -> Any:
    return html.Div(
        [
            html.Div(
                [
                    dmc.Title(c.metric, order=4, className="chart-title"),
                    html.Span(hint, className="chart-hint"),
                    html.Span(caption(c), id=ids.caption(c.metric), className="chart-caption"),
                ],
                className="chart-head",
            ),
            graph(ids.graph(ids.CURVES, c.metric), figure, c.metric),
            dcc.Store(id=ids.zoom(c.metric)),
        ],
        className="chart",
    )
