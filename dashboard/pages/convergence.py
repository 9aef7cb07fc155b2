"""*Convergence*: does it learn, why not, what to do about it, and which epoch to ship."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update

from backend.analysis.diagnostics.views import bars_of, observed_at
from backend.catalog import Catalog
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import loading, page_head, panel
from dashboard.components.convergence import (
    course_charts,
    inner_panels,
    label_notes,
    labels_panel,
    missing_panel,
    movement_panel,
    no_runs,
    probe_panel,
    shipping_panel,
)
from dashboard.components.expert_panels import Figures, graph_id
from dashboard.components.findings import findings_panel, verdicts
from dashboard.components.graph import graph
from dashboard.components.steps import register_steps, step_bar
from dashboard.formatting import count
from dashboard.pages import hardware_section
from dashboard.pages.convergence_charts import (
    course_figures,
    finding_figures,
    label_figures,
    on_screen,
)
from dashboard.pages.convergence_data import MOST_RUNS, Scope, Subject, subject_of
from dashboard.scope import better_when, is_news
from dashboard.view import View

Shown = Sequence[Mapping[str, str]]
_PARTS = (ids.CONVERGENCE_SCOPE, ids.CONVERGENCE_DRAWING, ids.CONVERGENCE_MOMENT)


class ConvergencePage:
    """One run, or several on top of each other."""

    path = "/convergence"
    title = "Convergence"

    def layout(self, store: RunStore, view: View) -> Any:
        """Frames in the order in which one reads; data come by callback."""
        subtitle = html.Div(id=ids.CONVERGENCE_SUMMARY, className="page-sub")
        picker = dmc.MultiSelect(
            id=ids.CONVERGENCE_RUNS, data=[], value=[], searchable=True, maxValues=MOST_RUNS,
            hidePickedOptions=True, size="sm", placeholder="Add a run", className="run-picker",
            **{"aria-label": "Runs to look at"},
        )  # fmt: skip
        body = [
            html.Div(loading(1), id=ids.CONVERGENCE_VERDICTS),
            html.Div(loading(1), id=ids.CONVERGENCE_FINDINGS),
            _course_frame(view),
            html.Div(id=ids.CONVERGENCE_NETWORK, className="stack"),
            _labels_frame(),
            html.Div(id=ids.CONVERGENCE_TABLES, className="evidence"),
            hardware_section.frame(),
        ]
        stores = (*_PARTS, ids.CONVERGENCE_NEWS, ids.CONVERGENCE_STEPS)
        return html.Div(
            [
                page_head("Convergence", subtitle, picker),
                html.Div(id=ids.CONVERGENCE_EMPTY),
                html.Div(body, id=ids.CONVERGENCE_BODY, className="stack"),
                *(dcc.Store(id=name) for name in stores),
            ]
        )

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None:
        """What is said, what is drawn over the training, and what was predicted at one moment."""
        _register_judging(app, store)
        drawing = (Input(ids.CONVERGENCE_DRAWING, "data"), Input(ids.TOKEN, "data"))
        app.callback(
            Output(ids.CONVERGENCE_COURSE_FRAME, "style"),
            Output(ids.CONVERGENCE_CHARTS, "children"),
            Output(ids.CONVERGENCE_NETWORK, "children"),
            Output(ids.graph(ids.COURSES, ALL), "figure"),
            *drawing,
            State(ids.SCHEME, "data"),
            State(ids.graph(ids.COURSES, ALL), "id"),
        )(partial(course, store))
        app.callback(Output(ids.CONVERGENCE_TABLES, "children"), *drawing)(
            partial(tables, store, catalog)
        )
        app.callback(
            Output(ids.CONVERGENCE_LABELS_FRAME, "style"),
            Output(ids.CONVERGENCE_STEPS, "data"),
            Output(ids.CONVERGENCE_LABELS, "children"),
            Output(ids.CONVERGENCE_PREDICTIONS, "children"),
            Output(ids.graph(ids.LABELS, ALL), "figure"),
            Input(ids.CONVERGENCE_MOMENT, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.SCHEME, "data"),
            State(ids.graph(ids.LABELS, ALL), "id"),
        )(partial(moment, store))
        hardware_section.register(app, store, catalog)
        _register_browser_side(app)


def _register_judging(app: Dash, store: RunStore) -> None:
    app.callback(
        Output(ids.CONVERGENCE_SUMMARY, "children"),
        Output(ids.CONVERGENCE_EMPTY, "children"),
        Output(ids.CONVERGENCE_BODY, "style"),
        Output(ids.CONVERGENCE_RUNS, "data"),
        Output(ids.CONVERGENCE_RUNS, "value"),
        Output(ids.CONVERGENCE_VERDICTS, "children"),
        Output(ids.CONVERGENCE_FINDINGS, "children"),
        Output(ids.CONVERGENCE_NEWS, "data"),
        Output(ids.graph(ids.SHOWN, ALL), "figure"),
        Input(ids.CONVERGENCE_SCOPE, "data"),
        Input(ids.TOKEN, "data"),
        State(ids.SCHEME, "data"),
        State(ids.CONVERGENCE_NEWS, "data"),
        State(ids.graph(ids.SHOWN, ALL), "id"),
    )(partial(judge, store))


def judge(
    store: RunStore, query: str, token: str | None, scheme: str, known: Any, shown: Shown
) -> tuple[Any, ...]:
    """Verdicts and findings. Findings are made anew only if they are others, so that what was
    unfolded stays; their curves grow."""
    view, runs = View.parse(query), store.runs()
    subject = subject_of(store, view)
    options = [{"value": run.key, "label": run.name or run.key} for run in runs]
    same = [no_update] * len(shown)
    if subject is None:
        return "", no_runs(bool(runs), view), HIDDEN, options, [], None, None, None, same
    scope, found = subject.scope, subject.diagnosis
    diagnoses = {run.key: store.diagnosis(run.key) for run in scope.runs}
    drawn = finding_figures(subject, scheme)
    news = [[run.key for run in subject.ordered], found.model_dump_json() if found else "",
            sorted(drawn)]  # fmt: skip
    panels: Any = no_update
    there = on_screen(shown, drawn, subject)
    if is_news(news, known, token) or there is None:
        panels, there = findings_panel(scope.focus, found, _charts(drawn, subject)), None
    lines = verdicts(scope.runs, diagnoses, scope.focus, view)
    picked = [run.key for run in scope.runs]
    return _summary(scope), None, {}, options, picked, lines, panels, news, there or same


def _charts(drawn: Figures, subject: Subject) -> dict[int, list[Any]]:
    """Place of a finding to the curves that it shows."""
    found: dict[int, list[Any]] = {}
    for name, figure in drawn.items():
        place, _, key = name.partition("/")
        chart = graph(graph_id(ids.SHOWN, name, *subject.ordered), figure, f"finding {key}")
        found.setdefault(int(place), []).append(html.Div(chart, className="chart"))
    return found


def course(
    store: RunStore, query: str, token: str | None, scheme: str, shown: Shown
) -> tuple[Any, ...]:
    """All charts over the training: new data for those on screen, or new charts."""
    view = View.parse(query)
    subject = subject_of(store, view)
    same = [no_update] * len(shown)
    drawn = course_figures(subject, view, scheme) if subject else {}
    if subject is None or not drawn:
        return HIDDEN, None, None, same
    there = on_screen(shown, drawn, subject)
    if there is not None:
        return {}, no_update, no_update, there
    runs = subject.ordered
    return {}, course_charts(drawn, runs), inner_panels(drawn, runs), same


def tables(store: RunStore, catalog: Catalog, query: str, token: str | None) -> Any:
    """Which epoch to ship, what moved, and whether the input is used."""
    view = View.parse(query)
    subject = subject_of(store, view)
    if subject is None:
        return None
    run, told = subject.focus, subject.evidence[subject.focus.key]
    better = better_when(run.headline, [run], catalog)
    ours = "imported" not in run.tags and catalog.get(run.trainer) is not None
    names = list(subject.curves[run.key])
    found = [
        html.Div(shipping_panel(run, subject.shipping(catalog), better, view), className="wide"),
        movement_panel(told.movements[-1]) if told.movements else None,
        probe_panel(told.probes) if told.probes else None,
        html.Div(missing_panel(run, told, names, ours), className="wide"),
    ]
    return [part for part in found if part is not None]


def moment(
    store: RunStore, query: str, token: str | None, scheme: str, shown: Shown
) -> tuple[Any, ...]:
    """What was predicted at one validation, beside the truth."""
    view = View.parse(query)
    subject = subject_of(store, view)
    told = subject.evidence[subject.focus.key].predictions if subject else []
    if subject is None or not told:
        return HIDDEN, [], None, None, [no_update] * len(shown)
    steps = [{"value": str(one.step), "label": f"step {one.step:,}"} for one in told]
    observed = observed_at(told, view.step)
    bars = [bars_of(one) for one in (observed.histograms if observed else ())]
    drawn = label_figures(subject, view, scheme)
    there = on_screen(shown, drawn, subject)
    cards: Any = no_update
    if there is None or not shown:
        cards = labels_panel(drawn, bars, subject.ordered)
        there = [no_update] * len(shown)
    return {}, steps, label_notes(bars), cards, there


def _summary(scope: Scope) -> list[Any]:
    parts: list[Any] = [html.Span(count(len(scope.runs), "run"))]
    if len(scope.runs) > 1:
        parts.append(html.Span(f"details of {scope.focus.name or scope.focus.key}"))
    if scope.more:
        parts.append(html.Span(f"{count(scope.more, 'more run')} selected: at most {MOST_RUNS} "
                               "are shown"))  # fmt: skip
    if scope.missing:
        names = ", ".join(scope.missing)
        parts.append(html.Span(f"not found in this store: {names}", className="warn"))
    return parts


def _labels_frame() -> Any:
    return panel(
        "Labels and predictions",
        step_bar(ids.CONVERGENCE_STEP, ids.CONVERGENCE_STEP_TEXT, "step-row"),
        html.Div(id=ids.CONVERGENCE_LABELS, className="small dim label-notes"),
        html.Div(loading(1), id=ids.CONVERGENCE_PREDICTIONS),
        note="How often each class is true in the validation data (grey), and how often it is "
        "predicted.",
        id_=ids.CONVERGENCE_LABELS_FRAME,
    )


def _course_frame(view: View) -> Any:
    return panel(
        "Over the training",
        html.Div(loading(2), id=ids.CONVERGENCE_CHARTS),
        aside=_controls(view),
        id_=ids.CONVERGENCE_COURSE_FRAME,
        note="Solid: validation; dotted: training. Grey levels: what predictors get that never "
        "look at their input (those of the run in focus). Between loss and learning rate: "
        "checkpoints ○, the best ★, recoveries ▼, an early end ✕.",
    )


def _controls(view: View) -> Any:
    log = dmc.Switch(id=ids.CONVERGENCE_LOG, label="Log scale", checked=view.log, size="xs")
    smooth = dmc.Slider(
        id=ids.CONVERGENCE_SMOOTH, value=view.smooth, min=0, max=0.99, step=0.01, size="sm",
        w=140, label=None, thumbLabel="Smoothing",
    )  # fmt: skip
    value = html.Span(id=ids.CONVERGENCE_SMOOTH + "-value", className="num dim")
    return html.Div(
        [log, html.Label("Smoothing", className="control-label"), smooth, value],
        className="controls",
    )


def _register_browser_side(app: Dash) -> None:
    """The address follows the pickers and the sliders, and they follow it."""
    app.clientside_callback(
        browser("deriveConvergence"), *(Output(name, "data") for name in _PARTS),
        Input(ids.URL, "search"), *(State(name, "data") for name in _PARTS),
    )  # fmt: skip
    app.clientside_callback(
        browser("pickRuns"), Input(ids.CONVERGENCE_RUNS, "value"),
        State(ids.CONVERGENCE_NEWS, "data"), prevent_initial_call=True,
    )  # fmt: skip
    register_steps(app, ids.CONVERGENCE_STEP, ids.CONVERGENCE_STEP_TEXT, ids.CONVERGENCE_STEPS)
    app.clientside_callback(
        browser("readCourse"),
        Output(ids.CONVERGENCE_LOG, "checked"),
        Output(ids.CONVERGENCE_SMOOTH, "value"),
        Output(ids.CONVERGENCE_SMOOTH + "-value", "children"),
        Input(ids.URL, "search"),
    )
    app.clientside_callback(
        browser("writeCourse"), Input(ids.CONVERGENCE_LOG, "checked"),
        Input(ids.CONVERGENCE_SMOOTH, "value"), prevent_initial_call=True,
    )  # fmt: skip
