"""*Hardware* on the page of a run: what the machine did, and what memory made of the settings."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, html, no_update

from backend.catalog import Catalog
from backend.core.records import Run
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.cards import loading, panel
from dashboard.components.expert_panels import graph_id
from dashboard.components.graph import graph
from dashboard.components.hardware import (
    not_sampled,
    numbers_table,
    recoveries_table,
    why_none,
    words_of,
)
from dashboard.curves import Style, line, points_each, time_unit
from dashboard.figures.hardware import Level, Marks, Row, Track, hardware
from dashboard.hardware import MACHINE, QUANTITIES, Hardware, Sampled, hardware_of
from dashboard.pages.convergence_data import Subject, subject_of
from dashboard.pages.expert_charts import on_screen, patched
from dashboard.palette import DASHES, GREY, expert_style
from dashboard.view import View

Shown = Sequence[Mapping[str, str]]
NOTE = (
    "One time axis: drag over any chart to zoom all, double-click to go back. ▼ and dotted lines: "
    "memory ran out, and the run went on with less. Dashed: what there is of a memory, or what "
    "was requested."
)


def frame() -> Any:
    """The section before its data arrive."""
    return panel(
        "Hardware",
        html.Div(loading(1), id=ids.CONVERGENCE_HARDWARE),
        html.Div(id=ids.CONVERGENCE_HARDWARE_TABLES, className="stack"),
    )


def register(app: Dash, store: RunStore, catalog: Catalog) -> None:
    """New figures for other runs, new data for the same ones."""
    app.callback(
        Output(ids.CONVERGENCE_HARDWARE, "children"),
        Output(ids.CONVERGENCE_HARDWARE_TABLES, "children"),
        Output(ids.graph(ids.HARDWARE, ALL), "figure"),
        Input(ids.CONVERGENCE_SCOPE, "data"),
        Input(ids.TOKEN, "data"),
        State(ids.SCHEME, "data"),
        State(ids.graph(ids.HARDWARE, ALL), "id"),
    )(partial(section, store, catalog))


def section(
    store: RunStore, catalog: Catalog, query: str, token: str | None, scheme: str, shown: Shown
) -> tuple[Any, Any, list[Any]]:
    """The chart, the tables under it, and new data for a chart that is on screen."""
    subject = subject_of(store, View.parse(query))
    same: list[Any] = [no_update] * len(shown)
    if subject is None:
        return None, None, same
    runs = subject.ordered
    known = hardware_of(store, runs, catalog)
    rows, marks, unit = drawn(known, subject)
    below = _tables(known, runs, catalog)
    if not rows:
        return None, below, same
    figure = hardware(rows, marks, unit, scheme, " ".join(run.key for run in runs))
    name = "hardware " + ",".join(row.key for row in rows)
    there = on_screen(shown, {name: figure}, *runs)
    if there is not None:
        return no_update, below, [_patched(figure)]
    chart = graph(graph_id(ids.HARDWARE, name, *runs), figure, f"hardware {runs[0].name}")
    return [dmc.Text(NOTE, size="xs", c="dimmed", mb="sm"), chart], below, same


def _patched(figure: Any) -> Any:
    patch = patched(figure)
    patch["layout"]["xaxis"]["title"]["text"] = figure.layout.xaxis.title.text
    patch["layout"]["xaxis"]["unifiedhovertitle"] = figure.layout.xaxis.unifiedhovertitle
    return patch


def _tables(known: Hardware, runs: Sequence[Run], catalog: Catalog) -> list[Any]:
    sampled = {one.run.key for one in known.samples}
    without = [
        (run, why_none(run, "imported" not in run.tags and catalog.get(run.trainer) is not None))
        for run in runs
        if run.key not in sampled
    ]
    parts = [
        not_sampled(without, len(runs) == 1),
        recoveries_table(known.recoveries, len(runs) > 1) if known.recoveries else None,
        numbers_table(known, runs) if known.samples else None,
    ]
    return [part for part in parts if part is not None]


def drawn(known: Hardware, subject: Subject) -> tuple[list[Row], list[Marks], str]:
    """The small charts from top to bottom, the recoveries, and the unit of time."""
    seconds, unit = time_unit(known.longest)
    rows = [
        _samples(key, [one for one in known.samples if one.quantity == key], subject, seconds)
        for key in QUANTITIES
        if any(one.quantity == key for one in known.samples)
    ]
    for key in dict.fromkeys(course.key for course in known.courses):
        rows.append(_course(key, known, subject, seconds))
    marks = []
    for run in subject.ordered:
        placed = [(one.seconds / seconds, words_of(one.told)) for one in known.recoveries
                  if one.run.key == run.key and one.seconds is not None]  # fmt: skip
        if placed:
            x, texts = zip(*placed, strict=True)
            marks.append(Marks(run.name, subject.styles[run.key].color, x, texts))
    return rows, marks, unit


def _samples(key: str, samples: Sequence[Sampled], subject: Subject, seconds: float) -> Row:
    quantity = QUANTITIES[key]
    points = points_each(len(samples))
    several = len({one.part for one in samples}) > 1
    tracks, levels = [], {}
    for one in samples:
        style = subject.styles[one.run.key]
        color, dash = _look(one, style, len(subject.scope.runs) > 1)
        dash = dash if several else "solid"
        shape = line(style, one.seconds / seconds, one.values.tolist(), points=points)
        of = f" of {one.total:,.1f}" if one.total else ""
        rest = f"{of} {quantity.unit}"
        tracks.append(Track(shape, _name(one, subject, several), color, dash, rest))
        if one.total:
            levels[round(one.total, 1)] = Level(one.total, GREY)
    return Row(
        key, quantity.title, tracks, list(levels.values()), quantity.digits, top=quantity.top
    )


def _look(one: Sampled, style: Style, several: bool) -> tuple[str, str]:
    """Colour and dash: of several runs each keeps its colour, of one each GPU has its own."""
    if not one.part.isdigit():
        return style.color, "dot" if one.part == MACHINE else "solid"
    gpu = int(one.part)
    if several:
        return style.color, DASHES[gpu % len(DASHES)]
    return (style.color, "solid") if gpu == 0 else expert_style(gpu)


def _name(one: Sampled, subject: Subject, several: bool) -> str:
    part = f"GPU {one.part}" if one.part.isdigit() else one.part
    if len(subject.scope.runs) > 1:
        return f"{one.run.name}, {part}" if several else one.run.name
    return f"{part} {QUANTITIES[one.quantity].short}"


def _course(key: str, known: Hardware, subject: Subject, seconds: float) -> Row:
    tracks, levels = [], []
    for course in (one for one in known.courses if one.key == key):
        style = subject.styles[course.run.key]
        asked = f" (requested {course.requested:,.0f})" if course.requested is not None else ""
        shape = line(style, course.seconds / seconds, course.values.tolist())
        name = course.run.name if len(subject.scope.runs) > 1 else key
        tracks.append(Track(shape, name, style.color, rest=asked))
        if course.requested is not None and course.changed:
            levels.append(Level(course.requested, style.color))
    return Row(key, key, tracks, levels, steps=True)
