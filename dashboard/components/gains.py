"""Where a difference comes from and what stands beside it: units, other candidates, changes."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.analysis.text import level, p_value
from backend.core.comparisons import (
    Change,
    Comparison,
    DataComparison,
    Family,
    FamilyMember,
    Picture,
    UnitDelta,
)
from dashboard.components.cards import panel, verdict_badge
from dashboard.formatting import number, plain, signed

SHOWN_UNITS = 5
_CHANGE_TITLES = {"config": "Config", "data": "Data", "code": "Code", "environment": "Environment"}
_DETECTED = "Old left, new right, each from the confidence at which its F1 is taken."
_TRACKED = (
    "Old left, new right, in the frame in which they differ most; white is the ground truth, and "
    "a colour is an identity within its side."
)
_LEGEND = (
    ("ground truth", "truth"),
    ("right", "right"),
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
    columns = [
        html.Div([html.Div(title, className="gallery-title"), *drawn], className="stack")
        for title, gained in (("Gains", True), ("Losses", False))
        if (drawn := _drawn(data, gained))
    ]
    if not columns:
        return None
    legend = [
        html.Span([html.Span(className=f"swatch {name}"), label], className="swatch-label")
        for label, name in _LEGEND
    ]
    tracks = data.baseline_report.task == "tracking"
    return panel(
        f"{data.unit.capitalize()}s that changed most, drawn",
        html.Div(columns, className="gallery two-columns", tabIndex=0),
        aside=None if tracks else html.Div(legend, className="swatches"),
        note=_TRACKED if tracks else _DETECTED,
    )


def _drawn(data: DataComparison, gained: bool) -> list[Any]:
    """The units that gained, or those that lost, as far as their files are left."""
    wanted = (p for p in data.pictures if (p.unit.delta > 0) == gained)
    return [figure for picture in wanted if (figure := _figure(picture, data)) is not None]


def family(found: Family | None) -> Any:
    """All candidates that were compared with the baseline at once; nothing where it was one."""
    if found is None:
        return None
    names = ("Candidate", "Old", "New", "Difference", f"{level(found.confidence)} interval", "p")
    head = [html.Th(names[0], scope="col"),
            *(html.Th(name, className="num", scope="col") for name in names[1:]),
            html.Th("Verdict", scope="col")]  # fmt: skip
    note = (
        f"{found.metric}: intervals hold for all {len(found.members)} at once and p-values are "
        "adjusted for their number (max-statistic), unlike those of one comparison."
    )
    rows = [_member(member, found.baseline_value) for member in found.members]
    warnings = [dmc.Text(text, size="sm", c="dimmed", mt="xs") for text in found.warnings]
    return panel(f"All candidates against {found.baseline}", _table(head, rows), *warnings,
                 note=note)  # fmt: skip


def _member(member: FamilyMember, old: float | None) -> Any:
    known = member.low is not None and member.high is not None
    numbers = (
        number(old),
        number(member.value),
        signed(member.delta),
        f"{signed(member.low)} to {signed(member.high)}" if known else "–",
        p_value(member.p_value),
    )
    return html.Tr(
        [html.Th(member.label, scope="row"),
         *(html.Td(text, className="num") for text in numbers),
         html.Td(verdict_badge(member.verdict, "xs"))]
    )  # fmt: skip


def changes(comparison: Comparison) -> Any:
    """What differs between both sides besides the weights."""
    if not comparison.changes:
        return panel("What else changed", dmc.Text(_nothing(comparison), size="sm", c="dimmed"))
    head = [html.Th(text, scope="col") for text in ("", "Name", "Old", "New")]
    rows = [_change(change) for change in comparison.changes]
    return panel("What else changed", _table(head, rows))


def _nothing(comparison: Comparison) -> str:
    sides = (comparison.baseline, comparison.candidate)
    told = {
        "config": all(side.params for side in sides),
        "data": all(side.data for side in sides),
        "code": all(side.code for side in sides),
        "environment": all(side.environment for side in sides),
    }
    known = [name for name, both in told.items() if both]
    if not known:
        return "How these were trained is not known, so nothing can be said."
    said = f"{', '.join(known).capitalize()} of both trainings are the same."
    unknown = [name for name in told if name not in known]
    return f"{said} Not known of both: {', '.join(unknown)}." if unknown else said


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
