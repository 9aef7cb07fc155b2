"""*Studies*: what a search tried, what it learned, and the way from a trial to its run."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import (
    ALL,
    Dash,
    Input,
    Output,
    Patch,
    State,
    dcc,
    html,
    no_update,
)

from backend.analysis.costs import NOTE, Cost, known_costs
from backend.catalog import Catalog
from backend.core.records import StudyRecord
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import HIDDEN, browser
from dashboard.components.cards import (
    command,
    empty,
    facts,
    loading,
    page_head,
    panel,
    state_label,
    state_link,
)
from dashboard.components.front import absent, front_panel
from dashboard.components.graph import graph
from dashboard.components.grid import table
from dashboard.figures import studies as figures
from dashboard.figures.front import pareto, priced
from dashboard.figures.theme import Scheme
from dashboard.formatting import number
from dashboard.scope import is_news
from dashboard.trial_table import columns, trial_rows
from dashboard.trials import best_trial, complete, roles, states, text_of
from dashboard.view import View

COST = "cost-"
COST_NOTE = "The line is the most that was reached for a cost, one run each; click to open it."
FRONT_NOTE = "The line is the front, faint trials are dominated. Click one to open its run."


class StudiesPage:
    """Searches."""

    path = "/studies"
    title = "Studies"

    def layout(self, store: RunStore, view: View) -> Any:
        """A picker and frames; the chosen study comes by callback."""
        pick = dmc.Select(
            id=ids.STUDIES_PICK, data=[view.study] if view.study else [], value=view.study or None,
            allowDeselect=False, searchable=True, w=300, size="sm", **{"aria-label": "Study"},
        )  # fmt: skip
        compare = dmc.Button("Compare", id=ids.STUDIES_COMPARE, size="sm", disabled=True)
        return html.Div(
            [
                page_head("Studies", html.Div(id=ids.STUDIES_SUMMARY, className="page-sub"), pick),
                html.Div(id=ids.STUDIES_EMPTY),
                html.Div(
                    [
                        html.Div(id=ids.STUDIES_BEST),
                        html.Div(loading(2), id=ids.STUDIES_CHARTS),
                        panel(
                            "Trials",
                            table(ids.STUDIES_GRID, [], row_id="id", file_name="assay-trials.csv",
                                  domLayout="autoHeight"),
                            aside=compare,
                            note="Tick trials to select their runs on every page.",
                        ),
                    ],
                    id=ids.STUDIES_BODY,
                    className="stack",
                ),
                dcc.Store(id=ids.STUDIES_NAME),
                dcc.Store(id=ids.STUDIES_VERSION),
            ]
        )  # fmt: skip

    def register(self, app: Dash, store: RunStore, catalog: Catalog) -> None:
        """One callback notices that a study changed, one draws it."""
        app.callback(
            Output(ids.STUDIES_VERSION, "data"),
            Input(ids.STUDIES_NAME, "data"),
            Input(ids.TOKEN, "data"),
            State(ids.STUDIES_VERSION, "data"),
        )(partial(notice, store))
        app.callback(
            Output(ids.STUDIES_PICK, "data"),
            Output(ids.STUDIES_PICK, "value"),
            Output(ids.STUDIES_SUMMARY, "children"),
            Output(ids.STUDIES_EMPTY, "children"),
            Output(ids.STUDIES_BODY, "style"),
            Output(ids.STUDIES_BEST, "children"),
            Output(ids.STUDIES_GRID, "rowData"),
            Output(ids.STUDIES_GRID, "columnDefs"),
            Input(ids.STUDIES_VERSION, "data"),
        )(partial(describe, store))
        app.callback(
            Output(ids.STUDIES_CHARTS, "children"),
            Output(ids.graph(ids.STUDY, ALL), "figure"),
            Input(ids.STUDIES_VERSION, "data"),
            State(ids.SCHEME, "data"),
            State(ids.graph(ids.STUDY, ALL), "id"),
        )(partial(draw, store))
        app.clientside_callback(
            browser("study"), Output(ids.STUDIES_NAME, "data"), Input(ids.URL, "search"),
            State(ids.STUDIES_NAME, "data"),
        )  # fmt: skip
        app.clientside_callback(
            browser("pickStudy"), Input(ids.STUDIES_PICK, "value"),
            State(ids.STUDIES_PICK, "data"), prevent_initial_call=True,
        )  # fmt: skip
        app.clientside_callback(
            browser("openTrial"), Input(ids.graph(ids.STUDY, ALL), "clickData"),
            prevent_initial_call=True,
        )  # fmt: skip
        app.clientside_callback(
            browser("select"), Input(ids.STUDIES_GRID, "selectedRows"),
            State(ids.STUDIES_GRID, "rowData"), prevent_initial_call=True,
        )  # fmt: skip
        app.clientside_callback(
            browser("showTrials"),
            Output(ids.STUDIES_GRID, "selectedRows"),
            Output(ids.STUDIES_COMPARE, "children"),
            Output(ids.STUDIES_COMPARE, "disabled"),
            Input(ids.URL, "search"),
            Input(ids.STUDIES_GRID, "rowData"),
            State(ids.STUDIES_GRID, "selectedRows"),
        )
        app.clientside_callback(
            browser("compare"), Input(ids.STUDIES_COMPARE, "n_clicks"), prevent_initial_call=True
        )


Version = list[str]  # the name that was asked for, and a digest of what is stored


def notice(store: RunStore, wanted: str | None, token: str | None, known: Version | None) -> Any:
    """A new version if the chosen study is another one or has changed."""
    studies = store.studies()
    study = pick(studies, wanted or "")
    text = study.model_dump_json() if study else ""
    names = ",".join(study.name for study in studies)
    now = [wanted or "", hashlib.sha256(f"{names} {text}".encode()).hexdigest()]
    return now if is_news(now, known, token) else no_update


def describe(store: RunStore, version: Version) -> tuple[Any, ...]:
    """All about the study but its charts: picker, summary, best trial and table."""
    studies = store.studies()
    names = [study.name for study in studies]
    study = pick(studies, version[0])
    if study is None:
        return names, None, "", no_study(version[0], names), HIDDEN, None, [], []
    rows = trial_rows(study, store.runs())
    best = front_panel(study) if study.objectives else best_card(study)
    return names, study.name, summary(study), None, {}, best, rows, columns(study)


def draw(
    store: RunStore, version: Version, scheme: str, shown: list[dict[str, str]]
) -> tuple[Any, list[Any]]:
    """New data for the charts on screen, so that their zoom stays, or all charts anew."""
    study = pick(store.studies(), version[0])
    same: list[Any] = [no_update] * len(shown)
    if study is None:
        return None, same
    drawn = {
        name: make(study, scheme) for name, (_, make, reason) in plots(study).items() if not reason
    }
    there = [ids.name_of(id_) for id_ in shown]
    if not there or there != [f"{name} {study.name}" for name in drawn]:
        return charts(study, drawn), same
    patches = []
    for figure in drawn.values():
        patch = Patch()
        patch["data"] = figure.to_plotly_json()["data"]
        patches.append(patch)
    return no_update, patches


def pick(studies: Sequence[StudyRecord], wanted: str) -> StudyRecord | None:
    """By name; without one the newest with trials, else the newest."""
    if wanted:
        return next((study for study in studies if study.name == wanted), None)
    return next((study for study in studies if study.trials), next(iter(studies), None))


def no_study(wanted: str, names: Sequence[str]) -> Any:
    """Why there is no study to show."""
    if wanted and names:
        links = [
            state_link(name, "/studies", View(), "button-link quiet", study=name)
            for name in names[:6]
        ]
        return empty("No such study", f"There is no study called '{wanted}' here.", *links)
    return empty(
        "No studies yet",
        "A study searches freezing strategies and learning rates, one training per trial.",
        command("make demo"),
        command("assay study run freezing --config configs/train/yolo.yaml"),
    )


def summary(study: StudyRecord) -> Any:
    """What is searched and how far it is."""
    counts = states(study)
    parts: list[Any] = [html.Span(study.description)] if study.description else []
    parts += [html.Span(f"{aim.metric}, {aim.direction}d") for aim in study.aims]
    done = counts.get("complete", 0)
    parts.append(html.Span(f"{done} of {study.target} trials complete"))
    for state, n in counts.items():
        if state != "complete":
            parts.append(state_label(state, f"{n} {state}"))
    return parts


def plots(study: StudyRecord) -> dict[str, tuple[str, Callable[..., go.Figure], str]]:
    """Name to title, figure and, if it cannot be drawn yet, what it waits for."""
    done = len(complete(study))
    few = "" if done > 1 else f"Needs two complete trials; there {'is 1' if done else 'are none'}."
    no_rate = "" if roles(study).rate else "This study does not vary a learning rate."
    known = any(aim.importances for aim in study.aims)
    unknown = "" if known else "Known as soon as enough trials are complete."
    started = "" if study.trials else "No trial has started yet."
    none = "" if study.front else "Needs a complete trial; there are none."
    history = ("Optimization history", figures.history, started)
    against = "Strategy against learning rate" if roles(study).strategy else "Learning rate"
    rate = (against, figures.rate_scatter, few or no_rate)
    parallel = ("Parallel coordinates", figures.parallel, few)
    importance = ("Parameter importance", figures.importance, unknown)
    if not study.objectives:
        return {
            "history": history, "rate": rate, "parallel": parallel, "importance": importance,
            **costs(study),
        }  # fmt: skip
    return {
        "pareto": ("All trials", pareto, none),
        "importance": importance,
        "rate": rate,
        "parallel": parallel,
    }


def costs(study: StudyRecord) -> dict[str, tuple[str, Callable[..., go.Figure], str]]:
    """The same of each cost in which completed trials differ."""
    done = complete(study)
    found: dict[str, tuple[str, Callable[..., go.Figure], str]] = {}
    for cost in known_costs(study):
        if len({cost.of(trial) for trial in done} - {None}) > 1:
            make = partial(_priced, cost)
            found[f"{COST}{cost.key}"] = (f"{study.metric} by {cost.title}", make, "")
    return found


def _priced(cost: Cost, study: StudyRecord, scheme: Scheme) -> go.Figure:
    return priced(study, cost, scheme)


def charts(study: StudyRecord, drawn: Mapping[str, go.Figure]) -> Any:
    """The four views of a study, two in a row, and what its values cost."""
    cards, shown = [], plots(study)
    for name, (title, _, reason) in shown.items():
        if name.startswith(COST):
            continue
        body = dmc.Text(reason, c="dimmed", size="sm", py="xl", ta="center")
        if name in drawn:
            id_ = ids.graph(ids.STUDY, f"{name} {study.name}")
            body = _chart(name, drawn[name], id_, f"{title} of {study.name}")
        click = name == "pareto" and name in drawn
        note = FRONT_NOTE if click else ""
        cards.append(panel(title, body, absent(study) if click else None, note=note))
    shapes = ["two-columns", "two-columns uneven"]
    shapes = shapes[::-1] if study.objectives else shapes
    rows = [html.Div(cards[2 * i : 2 * i + 2], className=shape) for i, shape in enumerate(shapes)]
    prices = [
        graph(ids.graph(ids.STUDY, f"{name} {study.name}"), drawn[name],
              f"{shown[name][0]} of {study.name}")
        for name in drawn if name.startswith(COST)
    ]  # fmt: skip
    if prices:
        rows.append(panel("What more buys", html.Div(prices, className="charts sides"),
                          note=f"{COST_NOTE} {NOTE}"))  # fmt: skip
    return html.Div(rows, className="stack")


def _chart(name: str, figure: go.Figure, id_: Any, label: str) -> Any:
    """Parallel axes keep their distance on a phone, and are scrolled."""
    if name != "parallel":
        return graph(id_, figure, label)
    wide = graph(id_, figure, label, minWidth=figures.parallel_room(figure))
    return html.Div(wide, className="scroll-x")


def best_card(study: StudyRecord) -> Any:
    """The best trial and the way to its run."""
    best = best_trial(study)
    if best is None:
        return None
    items: list[tuple[str, Any]] = [
        ("Best trial", f"#{best.number}"),
        (study.metric, html.Span(number(best.value), className="big")),
        *((name, text_of(value)) for name, value in best.params.items()),
    ]
    link = state_link("Open its run", "/compare", View(), "button-link quiet", runs=(best.run,))
    return dmc.Paper([facts(items), link if best.run else None], className="panel banner best")
