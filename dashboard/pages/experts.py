"""*Experts*: who is asked, for what, how surely, and whether that is worth it."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, dcc, html, no_update

from backend.analysis.experts import final_of
from backend.analysis.experts.views import (
    FINAL,
    find_router,
    find_top_k,
    has_experts,
    moment_of,
    moments,
    report_of,
    router_names,
    top_k_points,
)
from backend.catalog import Catalog
from backend.core.records import Run
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import loading, page_head, panel
from dashboard.components.expert_panels import (
    course_cards,
    matrix_panels,
    side_by_side,
    solo_panel,
    study_panel,
)
from dashboard.components.experts import (
    change_table,
    expert_table,
    findings,
    key_facts,
    no_experts,
    no_study,
    summary,
)
from dashboard.components.steps import register_steps, step_bar
from dashboard.figures.experts import router_title
from dashboard.pages.expert_charts import (
    Subject,
    course_figures,
    moment_figures,
    on_screen,
    other_report,
    patched,
    subject_of,
    twin_of,
)
from dashboard.scope import is_news
from dashboard.tables import find_runs
from dashboard.view import View

Shown = Sequence[Mapping[str, str]]
_PICKERS = (ids.EXPERTS_RUN, ids.EXPERTS_ROUTER, ids.EXPERTS_OTHER, ids.EXPERTS_OTHER_STEP)


class ExpertsPage:
    """The experts of one run."""

    path = "/experts"
    title = "Experts"

    def layout(self, store: RunStore, view: View) -> Any:
        """Pickers and frames, what is now first and what was after it; data come by callback."""
        subtitle = html.Div(id=ids.EXPERTS_SUMMARY, className="page-sub")
        run = _select(ids.EXPERTS_RUN, "Run with experts", 260)
        router = _select(ids.EXPERTS_ROUTER, "Router", 180, searchable=False)
        body = [
            step_bar(ids.EXPERTS_STEP, ids.EXPERTS_STEP_TEXT, "panel step-bar"),
            html.Div(loading(1), id=ids.EXPERTS_CARDS, className="stack"),
            html.Div(loading(1), id=ids.EXPERTS_MATRICES),
            html.Div(loading(2), id=ids.EXPERTS_CHARTS, className="stack"),
            _beside(),
            html.Div(id=ids.EXPERTS_STUDY),
        ]
        stores = (ids.EXPERTS_COURSE, ids.EXPERTS_MOMENT, ids.EXPERTS_STEPS, ids.EXPERTS_SHOWN,
                  ids.EXPERTS_POINTS)  # fmt: skip
        return html.Div(
            [
                page_head("Experts", subtitle, run, router),
                html.Div(id=ids.EXPERTS_EMPTY),
                html.Div(body, id=ids.EXPERTS_BODY, className="stack"),
                *(dcc.Store(id=name) for name in stores),
            ]
        )

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None:
        """What was, what is at one moment, and the study: each chain reads its records once."""
        app.callback(
            Output(ids.EXPERTS_EMPTY, "children"),
            Output(ids.EXPERTS_BODY, "style"),
            Output(ids.EXPERTS_CHARTS, "children"),
            Output(ids.graph(ids.COURSE, ALL), "figure"),
            Input(ids.EXPERTS_COURSE, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.SCHEME, "data"),
            State(ids.graph(ids.COURSE, ALL), "id"),
        )(partial(course, store))
        app.callback(
            Output(ids.EXPERTS_SUMMARY, "children"),
            *(Output(name, prop) for name in _PICKERS for prop in ("data", "value")),
            Output(ids.EXPERTS_SHOWN, "data"),
            Output(ids.EXPERTS_STEPS, "data"),
            Output(ids.EXPERTS_CARDS, "children"),
            Output(ids.EXPERTS_MATRICES, "children"),
            Output(ids.EXPERTS_BESIDE, "children"),
            Output(ids.EXPERTS_CHANGES, "children"),
            Output(ids.graph(ids.MOMENT, ALL), "figure"),
            Input(ids.EXPERTS_MOMENT, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.SCHEME, "data"),
            State(ids.graph(ids.MOMENT, ALL), "id"),
        )(partial(moment, store, catalog))
        app.callback(
            Output(ids.EXPERTS_STUDY, "children"),
            Output(ids.EXPERTS_POINTS, "data"),
            Input(ids.EXPERTS_COURSE, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.SCHEME, "data"),
            State(ids.EXPERTS_POINTS, "data"),
        )(partial(study, store))
        _register_browser_side(app)


def course(
    store: RunStore, query: str, token: str | None, scheme: str, shown: Shown
) -> tuple[Any, ...]:
    """The empty state, or all charts over the training: new data for those on screen."""
    view = View.parse(query)
    subject = subject_of(store, view)
    if subject is None:
        nothing = no_experts(store.runs(), view.run, view)
        return nothing, HIDDEN, None, [no_update] * len(shown)
    drawn = course_figures(store, subject, view, scheme)
    there = on_screen(shown, drawn, subject.run)
    if there is not None:
        return None, {}, no_update, [patched(figure) for figure in there]
    cards = [
        course_cards(drawn, subject.run, _loss(view)),
        solo_panel(drawn, subject.run, final_of(subject.reports)),
    ]
    return None, {}, cards, [no_update] * len(shown)


def moment(
    store: RunStore, catalog: Catalog, query: str, token: str | None, scheme: str, shown: Shown
) -> tuple[Any, ...]:
    """Everything about one report and the one beside it: pickers, facts, tables, matrices."""
    view = View.parse(query)
    subject = subject_of(store, view)
    if subject is None:
        pickers = [_runs(store.runs()), None, *([], None) * 3, {"run": ""}]
        return ("", *pickers, *[no_update] * 5, [no_update] * len(shown))
    left = _left(store, view, subject)
    now, before = report_of(subject.reports, view.step), other_report(left, subject, view)
    drawn = moment_figures(left, subject, view, scheme)
    there = on_screen(shown, drawn, subject.run, left.run)
    matrices, sides = no_update, no_update
    if there is None:
        matrices = matrix_panels(drawn, subject.run, left.run)
        sides = side_by_side(drawn, subject.run, left.run)
    return (
        summary(subject.run, now),
        *_pickers(subject, left, view),
        [_option(name, _moment_text(subject, name)) for name in moments(subject.reports)],
        _cards(subject, view, catalog),
        matrices,
        sides,
        change_table(before, now),
        there or [no_update] * len(shown),
    )


def study(
    store: RunStore, query: str, token: str | None, scheme: str, known: Any
) -> tuple[Any, Any]:
    """The study over top-k that is asked for, that the run is of, or the newest; if it is news."""
    view, runs = View.parse(query), store.runs()
    own = [run.study for run in find_runs([view.run, *view.runs], runs)]
    found = find_top_k(store.studies(), view.study, *own)
    points = top_k_points(found, runs) if found else []
    news = [found.name if found else "", [str(point) for point in points]]
    if not is_news(news, known, token):
        return no_update, no_update
    return study_panel(found, points, view, scheme) if found else no_study(), news


def _pickers(subject: Subject, left: Subject, view: View) -> list[Any]:
    """Data and value of each picker, and all values, so that the browser knows a choice."""
    now = report_of(subject.reports, view.step)
    runs = _runs(subject.runs)
    routers = [_option(name, router_title(name)) for name in router_names(now)]
    steps = [_option(name, _moment_text(left, name)) for name in moments(left.reports)]
    first = left.run.key == subject.run.key and not view.other_step
    values = {
        "run": subject.run.key,
        "router": find_router(now, view.router).name,
        "other": left.run.key,
        "other_step": moments(left.reports)[0] if first
        else moment_of(left.reports, view.other_step),
    }  # fmt: skip
    pairs = zip((runs, routers, runs, steps), values.values(), strict=True)
    return [*(part for pair in pairs for part in pair), values]


def _runs(runs: Sequence[Run]) -> list[dict[str, str]]:
    return [_option(run.key, run.name or run.key) for run in runs if has_experts(run)]


def _option(value: str, label: str) -> dict[str, str]:
    return {"value": value, "label": label}


def _moment_text(subject: Subject, name: str) -> str:
    report = report_of(subject.reports, name)
    text = f"step {report.step:,}, epoch {report.epoch}"
    return f"final evaluation, {text}" if name == FINAL else text


def _left(store: RunStore, view: View, subject: Subject) -> Subject:
    """The run beside the chosen one, which is the same one unless the view names another."""
    found = find_runs([view.other], subject.runs) if view.other else []
    if not found or found[0].key == subject.run.key:
        return subject
    reports = store.experts(found[0].key)
    return Subject(found[0], reports, subject.runs) if reports else subject


def _cards(subject: Subject, view: View, catalog: Catalog) -> list[Any]:
    report = report_of(subject.reports, view.step)
    router = find_router(report, view.router)
    twin = twin_of(subject, catalog)
    where = (
        f"{report.images:,} images of {report.split}; usage, entropies and balance are of the "
        f"router for {router_title(router.name)}."
    )
    return [
        panel("In numbers", key_facts(subject.run, report, router, twin),
              findings(subject.run, report, twin), note=where),
        panel("Expert by expert", expert_table(report, router),
              note="Loss and AP are of the classes that an expert is in charge of. The mark "
              "before a name is its line in the charts below."),
    ]  # fmt: skip


def _beside() -> Any:
    controls = html.Div(
        [
            html.Span("Left", className="control-label"),
            _select(ids.EXPERTS_OTHER, "Run on the left", 200, size="xs"),
            _select(ids.EXPERTS_OTHER_STEP, "Step on the left", 230, size="xs"),
        ],
        className="controls",
    )
    return panel(
        "Two checkpoints side by side",
        html.Div(id=ids.EXPERTS_BESIDE, className="charts sides"),
        html.Div(id=ids.EXPERTS_CHANGES),
        aside=controls,
        note="Who handles which class, there and here. Without a choice: the run's first "
        "validation.",
    )


def _select(id_: str, label: str, width: int, **more: Any) -> Any:
    return dmc.Select(
        id=id_, data=[], allowDeselect=False, w=width, placeholder=label,
        **({"searchable": True, "size": "sm", "aria-label": label} | more),
    )  # fmt: skip


def _loss(view: View) -> Any:
    return dmc.SegmentedControl(
        id=ids.EXPERTS_LOSS, value=view.loss, size="xs",
        data=[{"value": "total", "label": "Parts"}, {"value": "object", "label": "Per object"}],
    )  # fmt: skip


def _register_browser_side(app: Dash) -> None:
    """The address follows the pickers and the slider, and they follow it."""
    parts = (ids.EXPERTS_COURSE, ids.EXPERTS_MOMENT)
    app.clientside_callback(
        browser("deriveExperts"), *(Output(name, "data") for name in parts),
        Input(ids.URL, "search"), *(State(name, "data") for name in parts),
    )  # fmt: skip
    app.clientside_callback(
        browser("pickExperts"), *(Input(name, "value") for name in _PICKERS),
        State(ids.EXPERTS_SHOWN, "data"), prevent_initial_call=True,
    )  # fmt: skip
    register_steps(app, ids.EXPERTS_STEP, ids.EXPERTS_STEP_TEXT, ids.EXPERTS_STEPS)
    app.clientside_callback(
        browser("pickLoss"), Input(ids.EXPERTS_LOSS, "value"), prevent_initial_call=True
    )
    app.clientside_callback(
        browser("clickStep"), Input(ids.graph(ids.COURSE, ALL), "clickData"),
        State(ids.EXPERTS_STEPS, "data"), prevent_initial_call=True,
    )  # fmt: skip
