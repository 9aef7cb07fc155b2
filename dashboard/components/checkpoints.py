"""Two checkpoints of one run: what their validations say, and their stored comparison."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.analysis.checkpoint_course import Course
from backend.analysis.text import level, scored_on
from backend.catalog import Catalog
from backend.core.comparisons import Comparison, MetricDelta
from backend.core.records import Checkpoint, Run
from dashboard import ids
from dashboard.components.browser import HIDDEN
from dashboard.components.cards import command, delta_text, panel, state_link, verdict_badge
from dashboard.components.comparing import compare_command
from dashboard.components.graph import graph
from dashboard.figures.checkpoints import course_figure
from dashboard.formatting import gained, measured, moment, number
from dashboard.palette import run_color
from dashboard.tables import delta, direction, in_order, turned
from dashboard.view import View


def frame() -> Any:
    """Choices that callbacks fill (``pages.compare_checkpoints``); hidden without any."""
    choices = [
        dmc.Select(id=id_, label=label, size="xs", allowDeselect=False, w=width, data=[])
        for id_, label, width in (
            (ids.CHECKPOINTS_RUN, "Run", 280),
            (ids.CHECKPOINTS_OLD, "Old", 190),
            (ids.CHECKPOINTS_NEW, "New", 190),
        )
    ]
    body = panel(
        "Checkpoints of one run",
        html.Div(choices, className="controls actions-choices"),
        html.Div(id=ids.CHECKPOINTS_BODY, className="stack checkpoints"),
        html.Div(id=ids.CHECKPOINTS_COURSE),
        note="Any two that the run keeps, old against new.",
    )
    return html.Div(body, id=ids.CHECKPOINTS, style=HIDDEN)


def option(checkpoint: Checkpoint, run: Run, kept: Sequence[Checkpoint]) -> dict[str, str]:
    """A checkpoint to choose: its epoch, its step where the epoch has several, what it is."""
    same = sum(other.epoch == checkpoint.epoch for other in kept) > 1
    marks = [name for name, true in (("best", checkpoint.epoch == run.best_epoch),
                                     ("last", checkpoint is kept[-1])) if true]  # fmt: skip
    text = f"epoch {checkpoint.epoch}" + (f", step {checkpoint.step}" if same else "")
    marked = f" ({', '.join(marks)})" if marks else ""
    return {"value": str(checkpoint.step), "label": text + marked}


def _command(run: Run, epochs: Sequence[int], catalog: Catalog) -> Any:
    sides = [f"{run.key}@{epoch}" for epoch in epochs]
    return command(compare_command(sides, run.trainer, catalog))


def validations(old: Checkpoint, new: Checkpoint, run: Run, catalog: Catalog) -> Any:
    """The metrics of both validations, as they were while it trained."""
    names = in_order((n for n in old.metrics if n in new.metrics), run.trainer)
    if not names:
        return None
    rows = [
        html.Tr(
            [
                html.Th(name, scope="row"),
                html.Td(number(old.metrics[name]), className="num"),
                html.Td(number(new.metrics[name]), className="num"),
                html.Td(
                    delta_text(
                        delta(new.metrics[name], old.metrics[name],
                              direction(name, run.trainer, catalog))
                    ),
                    className="num",
                ),
            ]
        )
        for name in names
    ]  # fmt: skip
    note = "Each validation's own numbers, in training. They have no intervals."
    return _table(("Validation", "Old", "New", "Difference"), rows, note)


def wanted(run: Run, epochs: Sequence[int], catalog: Catalog) -> Any:
    """How to get the difference with its interval."""
    if run.trainer not in catalog:
        return dmc.Text("Assay did not train this run, so its weights cannot be scored here.",
                        size="sm", c="dimmed")  # fmt: skip
    return html.Div(
        [
            dmc.Text("No paired comparison of these two is stored yet; this makes one, with "
                     "intervals over the units of the data:", size="sm"),
            _command(run, epochs, catalog),
        ]
    )  # fmt: skip


def stored(found: Comparison, turn: bool, view: View) -> Any:
    """Metrics and classes of a stored comparison with their intervals; its way to the evidence."""
    target = found.target
    head = turned(found.headline) if turn else found.headline
    heads = ("Old", "New", "Difference", f"{level(found.confidence)} interval", "Verdict")
    tables = [
        _table((title, *heads), [_delta(turned(d) if turn else d) for d in deltas])
        for title, deltas in (
            ("Metric", target.metrics),
            (f"{target.class_metric or found.primary} per class", target.per_class),
        )
        if deltas
    ]
    link = state_link(
        "All of its evidence ↓", "/compare", view, "rival small", comparison=found.key
    )
    said = f"{scored_on(target.units, target.unit, target.split)}, {moment(found.created)}"
    return html.Div(
        [
            html.Div([verdict_badge(head.verdict), html.Span(said, className="dim small"), link],
                     className="command"),
            html.Div(tables, className="two-columns"),
        ],
        className="stack",
    )  # fmt: skip


def _delta(one: MetricDelta) -> Any:
    interval = "–"
    if one.low is not None and one.high is not None:
        interval = f"{gained(one.low, one.unit)} to {gained(one.high, one.unit)}"
    texts = (measured(one.baseline, one.unit), measured(one.candidate, one.unit),
             gained(one.delta, one.unit), interval)  # fmt: skip
    return html.Tr(
        [
            html.Th(one.name, scope="row"),
            *(html.Td(text, className="num") for text in texts),
            html.Td(verdict_badge(one.verdict, "xs")),
        ]
    )


def course(found: Course, run: Run, scheme: str) -> Any:
    """Every checkpoint that was scored, with its own interval, as chart and table."""
    name = "checkpoints"
    drawn = graph(
        ids.graph(ids.EVIDENCE, name),
        course_figure(found, run_color(run.key), scheme, f"{name}-{run.key}"),
        f"{found.metric} of the checkpoints of {run.name}",
    )
    rows = [
        html.Tr(
            [html.Th(f"epoch {one.checkpoint.epoch}", scope="row"),
             html.Td(number(one.value), className="num"),
             html.Td("–" if one.low is None else f"{number(one.low)} to {number(one.high)}",
                     className="num")]
        )
        for one in found.points
    ]  # fmt: skip
    heads = ("Checkpoint", found.metric, f"{level(found.confidence)} interval")
    note = (
        f"Each checkpoint by itself on {scored_on(found.units, found.unit, found.split)}, from "
        "stored comparisons. Intervals that overlap do not make two equal: compare them in pairs."
    )
    return html.Div(
        [html.Div([drawn, _table(heads, rows)], className="two-columns uneven"),
         dmc.Text(note, size="xs", c="dimmed")]
    )  # fmt: skip


def more_to_score(run: Run, epochs: Sequence[int], catalog: Catalog) -> Any:
    """How to have every kept checkpoint in the course: all against the last."""
    if run.trainer not in catalog:
        return None
    text = "To see the course of all kept checkpoints with intervals, score each against the last:"
    last, *rest = reversed(epochs)
    return html.Div(
        [dmc.Text(text, size="xs", c="dimmed"),
         _command(run, [last, *reversed(rest)], catalog)]
    )  # fmt: skip


def _table(heads: Sequence[str], rows: Sequence[Any], note: str = "") -> Any:
    head = [
        html.Th(name, scope="col", className="num" if at and name != "Verdict" else "")
        for at, name in enumerate(heads)
    ]
    body = html.Table([html.Thead(html.Tr(head)), html.Tbody(list(rows))], className="table")
    return html.Div(
        [html.Div(body, className="scroll-x limited", tabIndex=0),
         dmc.Text(note, size="xs", c="dimmed") if note else None]
    )  # fmt: skip
