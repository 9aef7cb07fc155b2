"""The charts of *Experts*: over the training, at one moment, two moments, and over a study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from dash import Patch

from backend.analysis.experts import (
    Matrix,
    affinity_change,
    class_matrix,
    dense_twin,
    final_of,
    solo_matrix,
)
from backend.analysis.experts.course import Loss
from backend.analysis.experts.views import (
    conditions,
    find_router,
    has_experts,
    report_of,
    with_router,
)
from backend.catalog import Catalog
from backend.core.errors import StoreError
from backend.core.experts import ExpertReport
from backend.core.records import Run, Series
from backend.core.store import RunStore
from dashboard.components.expert_panels import Figures, graph_id
from dashboard.figures import experts as figures
from dashboard.figures import matrices
from dashboard.figures.theme import HEAT
from dashboard.tables import direction, find_runs
from dashboard.view import View


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


def on_screen(shown: Sequence[Mapping[str, str]], drawn: Figures, *runs: Run) -> list[Any] | None:
    """The figures in the order of the charts on screen; None if those are of other things."""
    names = {str(graph_id("", name, *runs)["name"]): figure for name, figure in drawn.items()}
    if {id_["name"] for id_ in shown} != set(names):
        return None
    return [names[id_["name"]] for id_ in shown]


def patched(figure: go.Figure) -> Patch:
    """New data for a chart on screen: its theme stays, and its zoom while it shows the same."""
    patch = Patch()
    patch["data"] = figure.data
    for part in ("uirevision", "shapes", "annotations"):
        patch["layout"][part] = figure.layout[part]
    patch["layout"]["yaxis"]["title"]["text"] = figure.layout.yaxis.title.text
    patch["layout"]["xaxis"]["tickvals"] = figure.layout.xaxis.tickvals
    patch["layout"]["yaxis"]["ticktext"] = figure.layout.yaxis.ticktext
    if HEAT in figure.layout:
        colors = figure.layout[HEAT]
        patch["layout"][HEAT]["cmax"] = colors.cmax
        patch["layout"][HEAT]["colorbar"]["tickvals"] = colors.colorbar.tickvals
        patch["layout"][HEAT]["colorbar"]["ticktext"] = colors.colorbar.ticktext
    return patch
