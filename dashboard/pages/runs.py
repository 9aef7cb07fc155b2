"""*Runs*: every training, what came out of it, and the selection that all pages share."""

import time
from collections import Counter
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, Patch, State, dcc, html

from backend.catalog import Catalog
from backend.core.records import Run
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import command, empty, page_head, state_label
from dashboard.components.grid import number_column, table, text_column
from dashboard.formatting import count
from dashboard.tables import choose_baseline, runs_rows
from dashboard.view import View

_STATES = ("running", "finished", "stopped", "pruned", "failed")


class RunsPage:
    """The start page."""

    path = "/"
    title = "Runs"

    def layout(self, store: RunStore, view: View) -> Any:
        """The table's frame; rows come by callback."""
        return html.Div(
            [
                page_head(
                    "Runs",
                    html.Div(id=ids.RUNS_SUMMARY, className="page-sub"),
                ),
                html.Div(id=ids.RUNS_EMPTY, style=HIDDEN),
                html.Div([_toolbar(view), _grid(), _no_match()], id=ids.RUNS_BODY),
                dcc.Store(id=ids.BASELINE),
            ]
        )

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None:
        """Rows from the store; everything else happens in the browser."""
        app.callback(
            Output(ids.RUNS_GRID, "rowData"),
            Output(ids.RUNS_GRID, "dashGridOptions"),
            Output(ids.RUNS_SUMMARY, "children"),
            Output(ids.RUNS_EMPTY, "children"),
            Output(ids.RUNS_EMPTY, "style"),
            Output(ids.RUNS_BODY, "style"),
            Input(ids.BASELINE, "data"),
            Input(ids.TOKEN, "data"),
        )(partial(refresh, store, catalog))
        _register_browser_side(app)


def refresh(
    store: RunStore, catalog: Catalog, wanted: str | None, token: str | None
) -> tuple[Any, ...]:
    """Rows, the pinned baseline, the summary, and the empty state with what is visible of it."""
    runs = store.runs()
    champions = store.champions()
    baseline = choose_baseline(wanted or "", runs, champions)
    rows = runs_rows(runs, baseline, champions, time.time(), catalog)
    options = Patch()
    options["pinnedTopRowData"] = [row for row in rows if row["baseline"]]
    if not runs:
        return [], options, "", no_runs(), {}, HIDDEN
    return rows, options, summary(runs), None, HIDDEN, {}


def summary(runs: list[Run]) -> Any:
    """How many runs there are, by status."""
    found: Counter[str] = Counter(run.status for run in runs)
    parts: list[Any] = [html.Span(count(len(runs), "run"))]
    for status in _STATES:
        if found[status]:
            parts.append(state_label(status, f"{found[status]} {status}"))
    return parts


def no_runs() -> Any:
    """The empty state of a new installation."""
    return empty(
        "No runs yet",
        "Runs appear here as soon as a training starts. Make a whole study on small data in "
        "under ten minutes, or train from a config of your own:",
        command("make demo"),
        command("assay train configs/train/yolo.yaml"),
    )


def _toolbar(view: View) -> Any:
    return html.Div(
        [
            dmc.TextInput(
                id=ids.RUNS_FILTER, value=view.q, placeholder="Filter runs", size="sm", w=280,
                rightSection=dmc.Kbd("/", size="xs"), **{"aria-label": "Filter runs"},
            ),
            html.Span(id=ids.RUNS_COUNT, className="dim small", role="status"),
            html.Div(className="spring"),
            dmc.Button("Reset columns", id=ids.RUNS_RESET, variant="subtle", color="gray",
                       size="sm"),
            dmc.Button("Export CSV", id=ids.RUNS_EXPORT, variant="subtle", color="gray",
                       size="sm"),
            dmc.Button("Clear selection", id=ids.RUNS_CLEAR, variant="subtle", color="gray",
                       size="sm", disabled=True),
            dmc.Button("Set as baseline", id=ids.RUNS_BASELINE, variant="default", size="sm",
                       disabled=True),
            dmc.Button("Convergence", id=ids.RUNS_CONVERGENCE, variant="default", size="sm",
                       disabled=True),
            dmc.Button("Compare", id=ids.RUNS_COMPARE, size="sm", disabled=True),
        ],
        className="toolbar",
    )  # fmt: skip


def _grid() -> Any:
    return html.Div(
        table(
            ids.RUNS_GRID,
            _columns(),
            row_id="key",
            file_name="assay-runs.csv",
            rowClassRules={"baseline-row": "params.data.baseline"},
        ),
        id=ids.RUNS_TABLE,
        className="panel grid-panel runs-grid",
        role="region",
        **{"aria-label": "Table of runs"},
    )


def _columns() -> list[dict[str, Any]]:
    return [
        {"field": "name", "headerName": "Run", "cellRenderer": "Run", "pinned": "left",
         "minWidth": 190, "width": 284},
        {"field": "status", "headerName": "Status", "cellRenderer": "Status", "width": 106,
         "tooltipField": "reason"},
        {"field": "finding", "headerName": "Finding", "cellRenderer": "Finding",
         "width": 112, "comparator": {"function": "assayByFinding"}, "tooltipField": "verdict",
         "headerTooltip": "The gravest finding of the rules, and how many more there are"},
        number_column("value", "Headline at best", 96, shown="value_text",
                      headerTooltip="The run's headline metric at its best checkpoint",
                      tooltipField="headline"),
        number_column("delta", "Δ to baseline", 96, cellRenderer="Delta",
                      tooltipField="delta_hint"),
        text_column("strategy", "Strategy", 130),
        number_column("lr", "Learning rate", 100, shown="lr_text", tooltipField="lr_hint",
                      headerTooltip="The highest rate that trains; all of them in the tooltip"),
        number_column("layer_decay", "Layer decay", 72),
        number_column("best_epoch", "Best epoch", 68),
        number_column("epochs", "Epochs", 74),
        number_column("duration", "Duration", 100, shown="duration_text"),
        text_column("study", "Study", 146),
        number_column("trial", "Trial", 66),
        text_column("trainer", "Trainer", 84),
        {"field": "started", "headerName": "Started", "width": 134,
         "valueFormatter": {"function": "params.data ? params.data.started_text : ''"}},
    ]  # fmt: skip


def _no_match() -> Any:
    return html.Div(
        empty(
            "No run matches the filter",
            "The filter looks at every column. Your selection is kept while rows are hidden.",
            dmc.Button("Clear the filter", id=ids.RUNS_NO_MATCH + "-clear", variant="light"),
        ),
        id=ids.RUNS_NO_MATCH,
        style=HIDDEN,
    )


def _register_browser_side(app: Dash) -> None:
    """Selection, filter and export need no server."""
    app.clientside_callback(
        browser("baseline"), Output(ids.BASELINE, "data"), Input(ids.URL, "search"),
        State(ids.BASELINE, "data"),
    )  # fmt: skip
    app.clientside_callback(
        browser("select"), Input(ids.RUNS_GRID, "selectedRows"), State(ids.RUNS_GRID, "rowData"),
        prevent_initial_call=True,
    )  # fmt: skip
    app.clientside_callback(
        browser("showSelection"),
        Output(ids.RUNS_GRID, "selectedRows"),
        Output(ids.RUNS_COMPARE, "children"),
        Output(ids.RUNS_COMPARE, "disabled"),
        Output(ids.RUNS_BASELINE, "disabled"),
        Output(ids.RUNS_CLEAR, "disabled"),
        Output(ids.RUNS_CONVERGENCE, "disabled"),
        Input(ids.URL, "search"),
        State(ids.RUNS_GRID, "selectedRows"),
    )
    app.clientside_callback(
        browser("filterRuns"), Input(ids.RUNS_FILTER, "value"), Input(ids.RUNS_GRID, "rowData")
    )
    app.clientside_callback(
        browser("countRuns"),
        Output(ids.RUNS_COUNT, "children"),
        Output(ids.RUNS_NO_MATCH, "style"),
        Output(ids.RUNS_TABLE, "style"),
        Input(ids.RUNS_GRID, "virtualRowData"),
        State(ids.RUNS_GRID, "rowData"),
    )
    for button, action in (
        (ids.RUNS_COMPARE, "compare"),
        (ids.RUNS_CONVERGENCE, "converge"),
        (ids.RUNS_CLEAR, "clear"),
        (ids.RUNS_BASELINE, "setBaseline"),
        (ids.RUNS_EXPORT, "exportRuns"),
        (ids.RUNS_RESET, "resetColumns"),
        (ids.RUNS_NO_MATCH + "-clear", "clearFilter"),
    ):
        app.clientside_callback(
            browser(action), Input(button, "n_clicks"), prevent_initial_call=True
        )
