"""The charts of *Experts*: over the training, at one moment, two moments, and over a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
import plotly.graph_objects as go
from dash import Patch, html

from backend.analysis.expert_views import (
    TopKPoint,
    conditions,
    find_router,
    has_experts,
    report_of,
    with_router,
)
from backend.analysis.experts import (
    Matrix,
    affinity_change,
    class_matrix,
    dense_twin,
    final_of,
    solo,
    solo_matrix,
    validations,
)
from backend.analysis.experts.course import Loss
from backend.catalog import Catalog
from backend.core.errors import StoreError
from backend.core.experts import ExpertReport
from backend.core.records import Run, Series, StudyRecord
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.cards import panel, state_link
from dashboard.components.experts import study_table
from dashboard.components.graph import graph
from dashboard.figures import experts as figures
from dashboard.figures import matrices
from dashboard.figures.theme import HEAT
from dashboard.figures.top_k import top_k
from dashboard.formatting import number
from dashboard.tables import direction, find_runs
from dashboard.view import View

Figures = dict[str, go.Figure]
ROOMY = 6  # columns whose numbers are legible on a phone
_NOTES = {
    "entropy": ("Entropies", "Usage: how evenly the experts are used together. Routing: how "
                "undecided the router is for one token; gate: how it shares the chosen. None "
                "is good or bad by itself."),
    "balance": ("Load balance", "What the balance loss sees: 1 is even, the number of experts is "
                "one expert for all. Thin lines: the other routers, which are never pooled."),
    "purpose": ("Do experts follow their classes?", "Alignment: weight of the expert in charge on "
                "its objects. Specialisation: what the class tells about the expert."),
    "headline": ("Is it worth it?", "The run's measure, and the dense model of the same cost."),
    "val": ("Loss of each expert, validation", "Each expert's class columns and targets; the "
            "parts add up to the detection loss."),
    "train": ("Loss of each expert, training", "Mean over the epoch so far; the parts add up to "
              "the detection loss."),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """The run on screen, all its reports, and the runs around it."""

    run: Run
    reports: Sequence[ExpertReport]
    runs: Sequence[Run]


def subject_of(store: RunStore, view: View) -> Subject | None:
    """The run that the view asks for, else a selected one, else the newest with experts."""
    runs = store.runs()
    anyone = [*find_runs(view.runs, runs), *runs]
    for run in find_runs([view.run], runs) if view.run else anyone:
        if has_experts(run) and (reports := store.experts(run.key)):
            return Subject(run, reports, runs)
    return None


def course_figures(store: RunStore, subject: Subject, view: View, scheme: str) -> Figures:
    """All that is drawn over the training."""
    run, reports = subject.run, subject.reports
    router = find_router(reports[-1], view.router).name
    one = [with_router(report, router) for report in reports]
    revision = f"{run.key} {router}"
    found = {
        "usage": figures.usage(one, scheme, revision),
        "entropy": figures.entropies(one, scheme, revision),
        "balance": figures.balance(reports, router, scheme, revision),
        "purpose": figures.purpose(reports, scheme, revision),
    }
    curve = store.series([run.key], [run.headline]).get((run.key, run.headline))
    if curve and curve.values:
        found["headline"] = _headline(curve, subject, scheme, revision)
    which: Loss = "per_object" if view.loss == "object" else "val"
    found["val"] = figures.losses(reports, which, scheme, f"{revision} {which}")
    if any(report.train_losses for report in reports):
        found["train"] = figures.losses(reports, "train", scheme, revision)
    final = final_of(reports)
    alone = _alone(final, scheme) if final else None
    return found | ({"alone": alone} if alone else {})


def _headline(curve: Series, subject: Subject, scheme: str, revision: str) -> go.Figure:
    run = subject.run
    twin = dense_twin(run, subject.runs)
    dense = None
    if twin and twin.run and twin.fair and run.headline in twin.run.best:
        dense = (twin.run.name, twin.run.best[run.headline])
    return figures.headline(curve, run.headline, dense, scheme, revision)


def twin_of(subject: Subject, catalog: Catalog) -> Any:
    """The dense run beside the experts, if they have one."""
    run = subject.run
    maximize = direction(run.headline, run.trainer, catalog) != "minimize"
    return dense_twin(run, subject.runs, maximize=maximize)


def course_cards(drawn: Figures, subject: Subject, loss_control: Any) -> Any:
    """The usage heat map, then the curves."""
    run = subject.run
    asides = {"val": loss_control}
    chart = graph(graph_id(ids.COURSE, "usage", run), drawn["usage"], f"usage {run.name}")
    columns = len(validations(subject.reports))
    heat = panel(
        "Usage over time",
        html.Div(chart, className="roomy" if columns <= ROOMY else "cramped"),
        note="Share of all choices that each expert got in a validation. A cross: dead, less than "
        "a tenth of an even share. Click a column to go to its step.",
    )
    cards = [_chart(name, drawn[name], run, asides.get(name)) for name in _NOTES if name in drawn]
    curves = panel("Over the training", html.Div(cards, className="charts"))
    return html.Div([heat, curves], className="stack")


def _chart(name: str, figure: go.Figure, run: Run, aside: Any) -> Any:
    title, note = _NOTES[name]
    return html.Div(
        [
            html.Div([dmc.Title(title, order=4, className="chart-title"), aside],
                     className="chart-head spread"),
            dmc.Text(note, size="xs", c="dimmed"),
            graph(graph_id(ids.COURSE, name, run), figure, f"{title} {run.name}"),
        ],
        className="chart",
    )  # fmt: skip


def moment_figures(left: Subject, subject: Subject, view: View, scheme: str) -> Figures:
    """The matrices of the chosen report, and of the one beside it."""
    now, before = report_of(subject.reports, view.step), other_report(left, subject, view)
    classes = class_matrix(now)
    found = {
        "classes": _weights(now, classes, True, view, scheme),
        "sizes": _weights(now, class_matrix(now, "sizes"), False, view, scheme),
        "left": _weights(before, class_matrix(before), False, view, scheme),
        "right": _weights(now, classes, False, view, scheme),
    }
    try:
        found["change"] = matrices.change(affinity_change(before, now), scheme, "change")
    except StoreError:
        return found  # of different experts; the table says so
    return found


def _weights(
    report: ExpertReport, matrix: Matrix, scored: bool, view: View, scheme: str
) -> go.Figure:
    scores = [report.per_class.get(name) for name in matrix.rows] if scored else []
    states = conditions(find_router(report, view.router))
    dead = [e for e, state in enumerate(states) if state in ("dead", "unused")]
    return matrices.weights(matrix, scores, dead, scheme, "weights")


def other_report(left: Subject, subject: Subject, view: View) -> ExpertReport:
    """The report beside the chosen one: as the view says, else the same run's first."""
    if view.other_step or left.run.key != subject.run.key:
        return report_of(left.reports, view.other_step)
    return left.reports[0]


def solo_panel(subject: Subject, drawn: Figures) -> Any:
    """What each expert can do alone, as the final evaluation measured it."""
    final = final_of(subject.reports)
    title = "Experts alone"
    if final is None or "alone" not in drawn:
        text = ("AP of each expert alone is measured once, in the final evaluation (solo_ap: "
                "true); there is none yet.")  # fmt: skip
        return panel(title, dmc.Text(text, size="sm", c="dimmed"))
    found = solo(final)
    said = ""
    if found and found.ratio is not None:
        said = (f" At home {number(found.own, 3)}, elsewhere {number(found.others, 3)}: "
                f"{found.ratio:.1f} times better at home.")  # fmt: skip
    return panel(
        title,
        graph(graph_id(ids.COURSE, "alone", subject.run), drawn["alone"], "AP of experts alone"),
        note="AP of each class (columns) when the query routers may use one expert only (rows). "
        f"Framed: its own classes.{said}",
    )


def _alone(final: ExpertReport, scheme: str) -> go.Figure | None:
    matrix = solo_matrix(final)
    if matrix is None:
        return None
    owned = [
        (row, column)
        for row, group in enumerate(final.groups)
        for column, name in enumerate(final.classes)
        if name in group
    ]
    return matrices.alone(matrix, owned, scheme, "alone")


def study_panel(study: StudyRecord, points: Sequence[TopKPoint], view: View, scheme: str) -> Any:
    """A study over top-k: its chart and its table."""
    costed = [point for point in points if point.gflops is not None]
    body: list[Any] = [dmc.Text("No trial is finished yet.", size="sm", c="dimmed")]
    if points:
        body = [study_table(points, study, view)]
    if costed:
        id_ = ids.graph(ids.STUDY, f"top-k {study.name}")
        figure = top_k(points, study.metric, scheme, study.name)
        body.insert(0, graph(id_, figure, f"top-k study {study.name}"))
    note = "One training per mark: differences of a few thousandths may be chance."
    if len(costed) < len(points):
        note += f" {len(points) - len(costed)} without a known cost are in the table only."
    link = state_link(study.name, "/studies", view, "button-link quiet", study=study.name)
    return panel("Top-k against computing", html.Div(body, className="two-columns"),
                 aside=link, note=note)  # fmt: skip


def graph_id(group: str, name: str, *runs: Run) -> dict[str, object]:
    """The id of a chart: other runs make another chart."""
    return ids.graph(group, " ".join([name, *(run.key for run in runs)]))


def on_screen(shown: Sequence[Mapping[str, str]], drawn: Figures, *runs: Run) -> list[Any] | None:
    """The figures in the order of the charts on screen; None if those are of other things."""
    names = {str(graph_id("", name, *runs)["name"]): figure for name, figure in drawn.items()}
    if {id_["name"] for id_ in shown} != set(names):
        return None
    return [names[id_["name"]] for id_ in shown]


def patched(figure: go.Figure) -> Patch:
    """New data for a chart on screen, whose zoom and theme stay as they are."""
    patch = Patch()
    patch["data"] = figure.data
    patch["layout"]["xaxis"]["tickvals"] = figure.layout.xaxis.tickvals
    patch["layout"]["yaxis"]["ticktext"] = figure.layout.yaxis.ticktext
    colors = figure.layout[HEAT]
    if colors.cmax is not None:
        patch["layout"][HEAT]["cmax"] = colors.cmax
        patch["layout"][HEAT]["colorbar"]["tickvals"] = colors.colorbar.tickvals
        patch["layout"][HEAT]["colorbar"]["ticktext"] = colors.colorbar.ticktext
    return patch
