"""*Compare*: curves, numbers and parameters of the selected runs, and stored verdicts."""

from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import (
    Dash,
    Input,
    Output,
    State,
    dcc,
    html,
    no_update,
)

from backend.analysis.experts.views import FINAL, has_experts
from backend.catalog import Catalog
from backend.core.comparisons import Comparison
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components import checkpoints
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import command, loading, page_head, panel, state_link
from dashboard.components.comparing import (
    compare_command,
    legend,
    metric_table,
    nothing_selected,
    parameter_table,
)
from dashboard.components.evidence import banner, evidence
from dashboard.formatting import count
from dashboard.pages.compare_charts import NO_RUNS, register_charts
from dashboard.pages.compare_checkpoints import register_checkpoints
from dashboard.pages.compare_temporal import register_temporal
from dashboard.pages.compare_tracking import register_tracking
from dashboard.scope import (
    MOST_CHARTS,
    Scope,
    default_metrics,
    is_news,
    scope_of,
)
from dashboard.tables import comparisons_among
from dashboard.view import View

_DERIVED = (ids.COMPARE_SCOPE, ids.COMPARE_DRAWING, ids.COMPARE_LISTING)


class ComparePage:
    """Old against new."""

    path = "/compare"
    title = "Compare"

    def layout(self, store: RunStore, view: View) -> Any:
        """Frames for all parts, in the order in which one reads; data come by callback."""
        share = dmc.CopyButton(
            id=ids.COMPARE_SHARE, value="", children="Copy link", copiedChildren="Link copied",
            size="xs", variant="default", color="gray",
        )  # fmt: skip
        add = state_link("Choose runs", "/", view, "button-link quiet")
        body = [
            html.Div(id=ids.COMPARE_LEGEND),
            html.Div(id=ids.COMPARE_VERDICT),
            panel("Metrics", html.Div(loading(1), id=ids.COMPARE_TABLE), aside=_values(view)),
            _curves(view),
            checkpoints.frame(),
            html.Div(id=ids.COMPARE_EVIDENCE, className="anchor"),
            panel("Parameters", html.Div(loading(1), id=ids.COMPARE_PARAMS), aside=_diff(view)),
        ]
        subtitle = html.Div(id=ids.COMPARE_NOTE, className="page-sub")
        return html.Div(
            [
                page_head("Compare", subtitle, add, share),
                html.Div(id=ids.COMPARE_EMPTY),
                html.Div(body, id=ids.COMPARE_BODY, className="stack"),
                *(
                    dcc.Store(id=name)
                    for name in (*_DERIVED, ids.COMPARE_DEFAULTS, ids.COMPARE_STORED)
                ),
            ]
        )

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None:
        """Server callbacks read one part of the view each, so a change redraws only its part."""
        app.callback(
            Output(ids.COMPARE_LEGEND, "children"),
            Output(ids.COMPARE_NOTE, "children"),
            Output(ids.COMPARE_EMPTY, "children"),
            Output(ids.COMPARE_BODY, "style"),
            Output(ids.CONTROL_METRICS, "data"),
            Output(ids.COMPARE_DEFAULTS, "data"),
            Input(ids.COMPARE_DRAWING, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.URL, "search"),
        )(partial(frame, store))
        register_charts(app, store, catalog)
        register_tracking(app, store)
        register_temporal(app, store)
        register_checkpoints(app, store, catalog)
        app.callback(
            Output(ids.COMPARE_TABLE, "children"),
            Output(ids.COMPARE_PARAMS, "children"),
            Input(ids.COMPARE_LISTING, "data"),
            Input(ids.TOKEN, "data"),
        )(partial(tables, store, catalog))
        app.callback(
            Output(ids.COMPARE_STORED, "data"),
            Input(ids.COMPARE_SCOPE, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.COMPARE_STORED, "data"),
        )(partial(stored, store))
        app.callback(
            Output(ids.COMPARE_VERDICT, "children"),
            Output(ids.COMPARE_EVIDENCE, "children"),
            Input(ids.COMPARE_STORED, "data"),
            State(ids.SCHEME, "data"),
            State(ids.URL, "search"),
        )(partial(verdict, store))
        _register_browser_side(app)


def frame(store: RunStore, drawing: str, token: str | None, search: str) -> tuple[Any, ...]:
    """Legend, notes, the empty state, and what the metric picker offers."""
    view = View.parse(search)
    scope = scope_of(store, view)
    if not scope.runs and _rivals(store, scope, search):
        return None, html.Span("files of predictions"), None, {}, [], None
    if not scope.runs:
        nothing = nothing_selected(store.runs(), store.comparisons(), view)
        return None, _missing(scope), nothing, HIDDEN, [], None
    names = store.metric_names(scope.keys)
    first = default_metrics(names, scope.runs)
    notes = [
        html.Span(count(len(scope.runs), "run")),
        html.Span(f"{count(len(names), 'metric')} logged"),
        *_missing(scope),
        *_experts(scope, view),
    ]
    return legend(scope, view), notes, None, {}, names, ",".join(first)


def tables(store: RunStore, catalog: Catalog, listing: str, token: str | None) -> tuple[Any, Any]:
    """The tables of metrics and of parameters."""
    view = View.parse(listing)
    scope = scope_of(store, view)
    if not scope.runs:
        return NO_RUNS, NO_RUNS
    checkpoints = {run.key: store.checkpoints(run.key) for run in scope.runs}
    stored = store.comparisons()
    return (
        metric_table(scope, view, stored, checkpoints, catalog),
        parameter_table(scope, view),
    )


def stored(store: RunStore, scoped: str, token: str | None, known: Any) -> Any:
    """Which comparisons belong to the selected runs, if that is news: the shown one first."""
    scope = scope_of(store, View.parse(scoped))
    found = [c.key for c in _rivals(store, scope, scoped)]
    news = {"runs": scope.keys, "comparisons": found}
    return news if is_news(news, known, token) else no_update


def verdict(store: RunStore, news: dict[str, Any], scheme: str, search: str) -> tuple[Any, Any]:
    """The stored comparison of the selected runs: the one asked for, else the newest."""
    view = View.parse(search)
    scope = scope_of(store, view)
    rivals = _rivals(store, scope, search)
    if rivals:
        return banner(rivals[0]), evidence(rivals[0], rivals, view, scheme)
    if scope.baseline is None or not scope.others:
        return None, None
    other = scope.others[0]
    text = compare_command((scope.baseline.key, other.key), other.trainer)
    return None, panel(
        "Old versus new",
        dmc.Text("No paired comparison of these runs is stored yet. Curves alone do not say "
                 "whether a difference is more than chance; this does:", size="sm", mb="sm"),
        command(text),
    )  # fmt: skip


def _rivals(store: RunStore, scope: Scope, search: str) -> list[Comparison]:
    """Comparisons of the selected runs, the one asked for first; that one alone without runs."""
    wanted = View.parse(search).comparison
    if not scope.runs:
        return [c for c in store.comparisons() if c.key == wanted]
    found = comparisons_among(store.comparisons(), scope.runs)
    return sorted(found, key=lambda c: c.key != wanted)


def _missing(scope: Scope) -> list[Any]:
    if not scope.missing:
        return []
    names = ", ".join(scope.missing)
    return [html.Span(f"not found in this store: {names}", className="warn", role="status")]


def _experts(scope: Scope, view: View) -> list[Any]:
    """The way to the experts: of one run, or of the baseline's and the next one's beside it."""
    mixed = [run for run in scope.runs if has_experts(run)]
    if not mixed:
        return []
    text = "Experts side by side" if len(mixed) > 1 else f"Experts of {mixed[0].name}"
    other = {"other": mixed[0].key, "other_step": FINAL} if len(mixed) > 1 else {}
    chosen = mixed[min(1, len(mixed) - 1)].key
    return [state_link(text, "/experts", view, "rival", run=chosen, step="", router="", **other)]


def _curves(view: View) -> Any:
    picker = dmc.MultiSelect(
        id=ids.CONTROL_METRICS, data=list(view.metrics), value=list(view.metrics),
        searchable=True, maxValues=MOST_CHARTS, hidePickedOptions=True, size="xs",
        placeholder="Add a metric", className="metric-picker", **{"aria-label": "Metrics to draw"},
    )  # fmt: skip
    axis = dmc.SegmentedControl(
        id=ids.CONTROL_X, value=view.x, size="xs",
        data=[{"value": "step", "label": "Step"}, {"value": "epoch", "label": "Epoch"},
              {"value": "time", "label": "Time"}],
    )  # fmt: skip
    log = dmc.Switch(id=ids.CONTROL_LOG, label="Log scale", checked=view.log, size="xs")
    smooth = dmc.Slider(
        id=ids.CONTROL_SMOOTH, value=view.smooth, min=0, max=0.99, step=0.01, size="sm", w=140,
        label=None, thumbLabel="Smoothing",
    )  # fmt: skip
    controls = html.Div(
        [html.Label("X axis", className="control-label"), axis, log,
         html.Label("Smoothing", className="control-label"), smooth,
         html.Span(id=ids.CONTROL_SMOOTH + "-value", className="num dim")],
        className="controls",
    )  # fmt: skip
    return panel(
        "Curves",
        picker,
        html.Div(loading(2), id=ids.COMPARE_CURVES, className="charts"),
        aside=controls,
    )


def _values(view: View) -> Any:
    return dmc.SegmentedControl(
        id=ids.CONTROL_VALUES, value=view.values, size="xs",
        data=[{"value": "best", "label": "At best checkpoint"},
              {"value": "last", "label": "Last"}],
    )  # fmt: skip


def _diff(view: View) -> Any:
    return dmc.SegmentedControl(
        id=ids.CONTROL_PARAMS, value=view.params, size="xs",
        data=[{"value": "diff", "label": "Differing"}, {"value": "all", "label": "All"}],
    )  # fmt: skip


def _register_browser_side(app: Dash) -> None:
    """The address bar and the controls follow each other without the server."""
    app.clientside_callback(
        browser("derive"),
        *(Output(name, "data") for name in _DERIVED),
        Output(ids.COMPARE_SHARE, "value"),
        Input(ids.URL, "search"),
        *(State(name, "data") for name in _DERIVED),
    )
    controls = [
        Output(ids.CONTROL_METRICS, "value"),
        Output(ids.CONTROL_X, "value"),
        Output(ids.CONTROL_LOG, "checked"),
        Output(ids.CONTROL_SMOOTH, "value"),
        Output(ids.CONTROL_VALUES, "value"),
        Output(ids.CONTROL_PARAMS, "value"),
    ]
    app.clientside_callback(
        browser("readControls"),
        *controls,
        Output(ids.CONTROL_SMOOTH + "-value", "children"),
        Input(ids.URL, "search"),
        Input(ids.COMPARE_DEFAULTS, "data"),
    )
    app.clientside_callback(
        browser("writeControls"),
        *(Input(c.component_id, c.component_property) for c in controls),
        State(ids.COMPARE_DEFAULTS, "data"),
        prevent_initial_call=True,
    )
