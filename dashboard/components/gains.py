"""Where a difference comes from: kinds of errors, units that changed most, and what else did."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.core.records import Change, Comparison, DataComparison, Picture, UnitDelta
from dashboard.components.cards import panel
from dashboard.formatting import number, plain, signed

SHOWN_UNITS = 5
_CHANGE_TITLES = {"config": "Config", "data": "Data", "code": "Code", "environment": "Environment"}
_LEGEND = (
    ("ground truth", "truth"),
    ("found", "right"),
    ("wrong", "false"),
    ("missed", "missed"),
)


def units(data: DataComparison) -> Any:
    """The units with the largest gain and loss, in numbers."""
    gains = [unit for unit in data.per_unit if unit.delta > 0][:SHOWN_UNITS]
    losses = [unit for unit in reversed(data.per_unit) if unit.delta < 0][:SHOWN_UNITS]
    if not gains and not losses:
        return None
    tables = [_unit_table("Largest gains", gains), _unit_table("Largest losses", losses)]
    return panel(
        f"{data.unit.capitalize()}s that changed most",
        html.Div([table for table in tables if table is not None], className="two-columns"),
        note=f"{data.unit_metric} of each {data.unit}, old and new.",
    )


def gallery(data: DataComparison) -> Any:
    """The same units drawn, old left and new right; nothing where no file is left."""
    drawn = [figure for picture in data.pictures if (figure := _figure(picture, data)) is not None]
    if not drawn:
        return None
    legend = [
        html.Span([html.Span(className=f"swatch {name}"), label], className="swatch-label")
        for label, name in _LEGEND
    ]
    return panel(
        f"{data.unit.capitalize()}s that changed most, drawn",
        html.Div(drawn, className="gallery", tabIndex=0),
        aside=html.Div(legend, className="swatches"),
        note="Old left, new right; detections with a confidence of at least 0.25.",
    )


def changes(comparison: Comparison) -> Any:
    """What differs between both sides besides the weights."""
    if not comparison.changes:
        return panel("What else changed", dmc.Text(_nothing(comparison), size="sm", c="dimmed"))
    head = [html.Th(text, scope="col") for text in ("", "Name", "Old", "New")]
    rows = [_change(change) for change in comparison.changes]
    return panel("What else changed", _table(head, rows))


def _nothing(comparison: Comparison) -> str:
    known = comparison.baseline.params and comparison.candidate.params
    if known:
        return "Config, data, code and environment of both trainings are the same."
    return "How these were trained is not known, so nothing can be said."


def _change(change: Change) -> Any:
    cells = [
        html.Td(plain(value), title=value or "") for value in (change.baseline, change.candidate)
    ]
    return html.Tr(
        [html.Td(_CHANGE_TITLES[change.kind], className="dim"),
         html.Th(html.Code(change.name), scope="row"), *cells]
    )  # fmt: skip


def _unit_table(title: str, found: Sequence[UnitDelta]) -> Any:
    if not found:
        return None
    head = [html.Th(title, scope="col"), *(html.Th(t, className="num", scope="col")
                                           for t in ("Old", "New", "Difference"))]  # fmt: skip
    rows = [
        html.Tr(
            [html.Th(unit.unit, scope="row"),
             *(html.Td(text, className="num")
               for text in (number(unit.baseline), number(unit.candidate), signed(unit.delta)))]
        )
        for unit in found
    ]  # fmt: skip
    return _table(head, rows)


def _table(head: Sequence[Any], rows: Sequence[Any]) -> Any:
    return html.Div(
        html.Table([html.Thead(html.Tr(list(head))), html.Tbody(list(rows))], className="table"),
        className="scroll-x",
    )


def _figure(picture: Picture, data: DataComparison) -> Any:
    try:
        content = base64.b64encode(Path(picture.path).read_bytes()).decode()
    except OSError:
        return None
    unit = picture.unit
    caption = (
        f"{data.unit} {unit.unit}: {data.unit_metric} {number(unit.baseline)} → "
        f"{number(unit.candidate)} ({signed(unit.delta)})"
    )
    image = html.Img(src=f"data:image/jpeg;base64,{content}", alt=caption)
    return html.Figure([image, html.Figcaption(caption)])
