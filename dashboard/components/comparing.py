"""The parts of *Compare*: legend, tables of metrics and parameters, the empty state."""

from collections.abc import Mapping, Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.catalog import CATALOG, Catalog
from backend.core.comparisons import Comparison
from backend.core.records import Checkpoint, Run
from dashboard.components.cards import (
    command,
    copy_button,
    delta_text,
    empty,
    run_dot,
    state_label,
    state_link,
    verdict_badge,
)
from dashboard.figures.comparison import interval_text
from dashboard.formatting import count, moment, number, plain
from dashboard.scope import Scope
from dashboard.tables import (
    OTHER_DATA,
    comparable,
    delta,
    direction,
    metric_values,
    paired,
    parameter_rows,
    table_metrics,
)
from dashboard.view import View

PATH = "/compare"


def legend(scope: Scope, view: View) -> Any:
    """The selected runs; each can become the baseline or leave. Every change is a link."""
    return html.Ul([_chip(run, scope, view) for run in scope.runs], className="chips")


def _chip(run: Run, scope: Scope, view: View) -> Any:
    is_base = scope.baseline is not None and run.key == scope.baseline.key
    rest = tuple(other.key for other in scope.runs if other.key != run.key)
    drop = {"runs": rest, "comparison": ""} | ({"baseline": ""} if is_base else {})
    pick = {"runs": tuple(scope.keys), "baseline": run.key}
    parts = [
        run_dot(run.key),
        html.Span(run.name or run.key, className="chip-name", title=run.key),
        html.Span("baseline", className="tag")
        if is_base
        else state_link(
            _sign("☆", f"Make {run.name} the baseline"), PATH, view, "chip-action", **pick
        ),
        state_link(_sign("×", f"Remove {run.name}"), PATH, view, "chip-close", **drop),
    ]
    if run.status != "finished":
        parts.insert(2, state_label(run.status, reason=run.reason))
    return html.Li(parts, className="chip baseline" if is_base else "chip")


def _sign(sign: str, meaning: str) -> list[Any]:
    """A sign to see and its meaning to hear."""
    return [
        html.Span(sign, title=meaning, **{"aria-hidden": "true"}),
        html.Span(meaning, className="sr-only"),
    ]


def metric_table(
    scope: Scope,
    view: View,
    comparisons: Sequence[Comparison],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    catalog: Catalog,
) -> Any:
    """A row per run: validation metrics with their change, and the paired verdict if any."""
    first, *rest = table_metrics(scope.runs, view.values, catalog) or [""]
    titles = ["Run", first, "Paired comparison with the baseline", *rest, "Checkpoint"]
    numbers = {first, *rest}
    head = [html.Th(t, scope="col", className="num" if t in numbers else "") for t in titles]
    rows = [
        html.Tr(
            [
                _run_cell(run, run is scope.baseline),
                _metric_cell(run, scope.baseline, first, view, catalog),
                html.Td(_paired_cell(run, scope, view, comparisons)),
                *(_metric_cell(run, scope.baseline, metric, view, catalog) for metric in rest),
                _checkpoint_cell(run, checkpoints.get(run.key, ()), view),
            ],
            className="baseline" if run is scope.baseline else "",
        )
        for run in scope.runs
    ]
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table"),
        className="scroll-x limited",
        tabIndex=0,
    )


def _run_cell(run: Run, is_base: bool) -> Any:
    name = [run_dot(run.key), html.Span(run.name or run.key, title=run.key)]
    if is_base:
        name.append(html.Span("baseline", className="tag"))
    return html.Th(html.Span(name, className="run-cell"), scope="row")


def _checkpoint_cell(run: Run, checkpoints: Sequence[Checkpoint], view: View) -> Any:
    if view.values == "last":
        return html.Td("last values", className="dim")
    if run.best_epoch is None:
        return html.Td("none", className="dim")
    found = next((c for c in checkpoints if c.epoch == run.best_epoch), None)
    label = f"best, epoch {run.best_epoch}"
    if found is None:
        return html.Td(label)
    button = copy_button(found.path, f"Copy the path of the best checkpoint of {run.name}")
    return html.Td(html.Span([html.Span(label, title=found.path), button], className="command"))


def _metric_cell(run: Run, baseline: Run | None, metric: str, view: View, catalog: Catalog) -> Any:
    value = metric_values(run, view.values).get(metric)
    base = metric_values(baseline, view.values).get(metric) if baseline else None
    parts: list[Any] = [html.Span(number(value), className="value")]
    if baseline is None or run is baseline:
        return html.Td(parts, className="num")
    if comparable(run, baseline):
        parts.append(delta_text(delta(value, base, direction(metric, run.trainer, catalog))))
    else:
        parts.append(html.Span("other data", className="delta", title=OTHER_DATA))
    return html.Td(parts, className="num")


def _paired_cell(run: Run, scope: Scope, view: View, comparisons: Sequence[Comparison]) -> Any:
    if scope.baseline is None or run is scope.baseline:
        return html.Span("–", className="dim")
    found = paired(comparisons, scope.baseline.key, run.key)
    if found is None:
        return html.Span(
            [
                html.Span("no paired comparison yet", className="dim"),
                command(compare_command((scope.baseline.key, run.key), run.trainer)),
            ],
            className="no-pair",
        )
    return html.Span(
        [
            verdict_badge(found.verdict, "sm"),
            html.Span(f"{found.name} {interval_text(found)}", className="interval"),
        ],
        className="command",
    )


def compare_command(sides: Sequence[str], trainer: str, catalog: Catalog = CATALOG) -> str:
    """What to type to compare these. Sets for temporal detection have no holdout of their own."""
    spec = catalog.get(trainer)
    split = " --split val" if spec is not None and spec.task == "temporal" else ""
    return f"assay compare {' '.join(sides)}{split}"


def parameter_table(scope: Scope, view: View) -> Any:
    """Parameters of the selected runs, those that differ first asked for."""
    differing_only = view.params == "diff" and len(scope.runs) > 1
    rows, total = parameter_rows(scope.runs, differing_only)
    if not rows:
        text = (
            f"These runs have the same {count(total, 'parameter')}."
            if total
            else "These runs have stored no parameters."
        )
        return dmc.Text(text, c="dimmed", size="sm")
    head = [html.Th("Parameter", scope="col")]
    head += [
        html.Th(html.Span([run_dot(run.key), run.name or run.key], className="run-cell"),
                scope="col")
        for run in scope.runs
    ]  # fmt: skip
    body = [
        html.Tr(
            [
                html.Th(html.Code(key), scope="row"),
                *(html.Td(plain(value), title=value) for value in values),
            ],
            className="differs" if differs and not differing_only else "",
        )
        for key, values, differs in rows
    ]
    return html.Div(
        html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className="table"),
        className="scroll-x",
    )


def nothing_selected(runs: Sequence[Run], comparisons: Sequence[Comparison], view: View) -> Any:
    """What *Compare* says without a selection: how to make one, and what is already there."""
    if not runs:
        return empty(
            "No runs yet",
            "There is nothing to compare before something was trained.",
            command("make demo"),
        )
    actions: list[Any] = [state_link("Choose runs", "/", view, "button-link")]
    finished = tuple(run.key for run in runs if run.best)[:2]
    if len(finished) == 2:
        link = state_link("Compare the latest two", PATH, view, "button-link quiet", runs=finished)
        actions.append(link)
    if comparisons:
        actions.append(_stored(comparisons[:8]))
    return empty(
        "No runs selected",
        "Tick runs on the Runs page, or open a comparison that is already stored.",
        *actions,
    )


def _stored(comparisons: Sequence[Comparison]) -> Any:
    items = [
        html.Li(
            [
                verdict_badge(c.headline.verdict, "sm"),
                state_link(
                    f"{c.candidate.label} against {c.baseline.label}",
                    PATH,
                    View(),
                    comparison=c.key,
                    runs=(),
                    baseline="",
                ),
                html.Span(f"{c.primary} {interval_text(c.headline)}", className="interval"),
                html.Span(moment(c.created), className="dim"),
            ]
        )
        for c in comparisons
    ]
    return html.Ul(items, className="stored", **{"aria-label": "Stored comparisons"})
