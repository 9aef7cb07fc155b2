"""Two trackers: a row per class, which classes are confused, and a viewer of frames."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import dcc, html

from backend.analysis.text import level
from backend.analysis.track_summary import ALL, Lengths, Summary
from backend.core.comparisons import Comparison, DataComparison, MetricDelta
from backend.core.records import Direction
from backend.scoring.tracking.clear_hota import SPECS
from dashboard import ids
from dashboard.components.cards import delta_text, loading, panel
from dashboard.formatting import MINUS, gained, number
from dashboard.palette import ACCENT
from dashboard.tables import Delta, delta

Sides = tuple[Mapping[str, float | None], Mapping[str, float | None]]
"""The metrics of one view: old, new."""
RATES = ("HOTA", "MOTA", "IDF1")
COUNTS = {
    "IDSW": "ID switches",
    "Frag": "Fragments",
    "MT": "Mostly tracked",
    "PT": "Partly",
    "ML": "Mostly lost",
}
KINDS = {
    "any": "Any difference",
    "switch": "ID switch",
    "missed": "Missed",
    "false": "False",
    "class": "Class",
}
_DIRECTIONS: dict[str, Direction | None] = {spec.name: spec.direction for spec in SPECS}
_MEANINGS = {spec.name: spec.description for spec in SPECS}
MARKS = 400
"""Places of the strip below the slider at most."""
_KEYS = "← → one frame, n and p to the next and previous difference, space plays."


def tracking(comparison: Comparison) -> Any:
    """Frames that callbacks fill (``pages.compare_tracking``); nothing for another task."""
    if comparison.target.baseline_report.task != "tracking":
        return None
    return html.Div(
        [
            dcc.Store(id=ids.TRACKS_COMPARISON, data=comparison.key),
            html.Div(loading(1), id=ids.TRACKS_TABLES, className="stack"),
            html.Div(_viewer(comparison), id=ids.TRACKS_VIEWER),
        ],
        className="stack",
        id=ids.TRACKS,
    )


def gone(reason: str) -> Any:
    """Why there are no frames to look at."""
    return dmc.Text(f"No frames and no track lengths: {reason}.", size="sm", className="warn")


def table(data: DataComparison, confidence: float, summary: Summary | None) -> Any:
    """A row for all classes together and one for each; track lengths where files are left."""
    old, new = data.baseline_report, data.candidate_report
    intervals = {("", one.name): one for one in data.metrics}
    intervals |= {(one.name, data.class_metric): one for one in data.per_class}
    views = {"": (old.metrics, new.metrics)}
    classes = dict.fromkeys([*old.per_class, *new.per_class])
    views |= {name: (old.per_class.get(name, {}), new.per_class.get(name, {})) for name in classes}
    rows = [
        html.Tr(
            [
                html.Th(name or "All classes together", scope="row"),
                *(
                    _cell(metric, sides, intervals.get((name, metric)))
                    for metric in (*RATES, *COUNTS)
                ),
                *_lengths(name, sides, summary),
            ],
            className="" if name else "baseline",
        )
        for name, sides in views.items()
    ]
    heads = [*RATES, *COUNTS.values(), "Tracks", *(["Median length"] if summary else [])]
    hints = [*(_MEANINGS[name] for name in (*RATES, *COUNTS)), "Identities, old → new; true ones",
             "Frames of a track, median, old → new; true ones"]  # fmt: skip
    head = [
        html.Th("Class", scope="col"),
        *(
            html.Th(text, scope="col", className="num", title=hint)
            for text, hint in zip(heads, hints, strict=False)
        ),
    ]
    title = "Tracks" if data.role == "target" else "Tracks on the source"
    note = (
        f"Old → new, and the difference with its {level(confidence)} interval where one was "
        "taken. In a class's row an object that changes its class is two objects."
    )
    body = html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)], className="table")
    return panel(title, html.Div(body, className="scroll-x", tabIndex=0), note=note)


def _cell(metric: str, sides: Sides, interval: MetricDelta | None) -> Any:
    """Old and new, below it the difference, below that its interval if there is one."""
    old, new = (side.get(metric) for side in sides)
    change = delta(new, old, _DIRECTIONS[metric])
    if metric in RATES:
        parts = [_value(number(old, 3), number(new, 3)), delta_text(change)]
    else:
        parts = [_value(_whole(old), _whole(new)), _counted(change)]
    if interval is not None and interval.low is not None:
        low, high = (gained(one, interval.unit) for one in (interval.low, interval.high))
        parts.append(html.Span(f"[{low}, {high}]", className="interval"))
    return html.Td(parts, className="num")


def _counted(change: Delta | None) -> Any:
    """A difference of counts, without decimals."""
    if change is None:
        return delta_text(None)
    tone = {True: "good", False: "bad", None: "same"}[change.good]
    sign = "+" if change.value > 0 else MINUS if change.value < 0 else ""
    return html.Span(f"{sign}{abs(change.value):,.0f}", className=f"delta {tone}")


def _value(old: str, new: str) -> Any:
    return html.Span(f"{old} → {new}", className="value")


def _lengths(name: str, sides: Sides, summary: Summary | None) -> list[Any]:
    """How many tracks, and how long they are; the truth below."""
    if summary is None:
        counts = [_whole(side.get("pred_ids")) for side in sides]
        return [_pair([*counts, _whole(sides[0].get("gt_ids"))])]
    none = Lengths(0, None)
    found = [side.get(name or ALL, none) for side in (summary.old, summary.new, summary.truth)]
    return [_pair([f"{one.tracks:,}" for one in found]), _pair([_median(one) for one in found])]


def _median(one: Lengths) -> str:
    return "–" if one.median is None else f"{one.median:g}"


def _pair(texts: Sequence[str]) -> Any:
    """Old, new and true."""
    old, new, true = texts
    below = html.Span(f"true {true}", className="delta")
    return html.Td([_value(old, new), below], className="num")


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _viewer(comparison: Comparison) -> Any:
    sides = (
        ("Old", comparison.baseline.label, ids.TRACKS_OLD, ids.TRACKS_OLD_TEXT),
        ("New", comparison.candidate.label, ids.TRACKS_NEW, ids.TRACKS_NEW_TEXT),
    )
    frames = [
        html.Figure(
            [
                html.Figcaption([html.B(side), " ", html.Span(label, title=label)]),
                html.Img(id=image, alt=f"{side}: no frame yet", src=EMPTY),
                html.Div(id=text, className="track-text"),
            ],
            className="track-side",
        )
        for side, label, image, text in sides
    ]
    return panel(
        "Frames side by side",
        html.Div(id=ids.TRACKS_PROBLEM, className="warn small", role="status"),
        html.Div(
            [_choices(), html.Div(frames, className="two-columns tracks-pair"), _slider()],
            className="tracks-viewer",
            tabIndex=0,
            role="group",
            **{"aria-label": f"Frames of both models. {_KEYS}"},
        ),
        dcc.Store(id=ids.TRACKS_FRAMES),
        note=f"A colour is an identity within its side. {_KEYS}",
    )


_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 9"/>'
EMPTY = f"data:image/svg+xml,{quote(_BLANK)}"


def _choices() -> Any:
    sequence = dmc.Select(
        id=ids.TRACKS_SEQUENCE, size="xs", allowDeselect=False, searchable=True, w=260,
        **{"aria-label": "Sequence, those that changed most first"},
    )  # fmt: skip
    kind = dmc.Select(
        id=ids.TRACKS_KIND, size="xs", value="any", allowDeselect=False, w=200,
        data=[{"value": key, "label": text} for key, text in KINDS.items()],
        **{"aria-label": "Kind of difference to go to"},
    )  # fmt: skip
    only = dmc.Switch(id=ids.TRACKS_ONLY, label="Only differences", checked=False, size="xs")
    truth = dmc.Switch(id=ids.TRACKS_TRUTH, label="Ground truth", checked=False, size="xs")
    return html.Div([sequence, kind, only, truth], className="controls tracks-choices")


def _slider() -> Any:
    buttons = [
        dmc.Button(text, id=id_, size="compact-xs", variant="default", **{"aria-label": meaning})
        for id_, text, meaning in (
            (ids.TRACKS_BEFORE, "⇤ difference", "Previous difference"),
            (ids.TRACKS_BACK, "‹", "Previous frame"),
            (ids.TRACKS_PLAY, "Play", "Play or pause"),
            (ids.TRACKS_ON, "›", "Next frame"),
            (ids.TRACKS_NEXT, "difference ⇥", "Next difference"),
        )
    ]
    handle = dmc.Slider(
        id=ids.TRACKS_SLIDER, value=0, min=0, max=0, step=1, size="sm", label=None,
        updatemode="drag", thumbLabel="Frame to look at",
    )  # fmt: skip
    strip = html.Div(id=ids.TRACKS_STRIP, className="tracks-strip", **{"aria-hidden": "true"})
    return html.Div(
        [
            html.Div([handle, strip], className="tracks-slide"),
            html.Div(
                [html.Div(buttons, className="tracks-buttons"),
                 html.Span(id=ids.TRACKS_TEXT, className="num step-text", role="status")],
                className="tracks-bar",
            ),
        ]
    )  # fmt: skip


def strip(places: list[int], frames: int) -> dict[str, str]:
    """The style of a strip below the slider: a mark where both models differ."""
    if not places or frames < 2:
        return {"visibility": "hidden"}
    steps = min(frames, MARKS) - 1
    marked = dict.fromkeys(round(place * steps / (frames - 1)) for place in places)
    marks = "".join(f'<rect x="{mark - 0.5}" width="1" height="4"/>' for mark in marked)
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {steps} 4" '
        f'preserveAspectRatio="none" fill="{ACCENT}">{marks}</svg>'
    )
    return {"backgroundImage": f'url("data:image/svg+xml,{quote(drawn)}")'}
