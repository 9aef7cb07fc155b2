"""Panels, empty states, badges and other small parts that all pages share."""

import json
from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import html

from backend.core.comparisons import Verdict
from dashboard.palette import run_color
from dashboard.tables import Delta
from dashboard.view import View

_VERDICT_BADGES = {
    "better": ("teal", "▲"),
    "worse": ("orange", "▼"),
    "equivalent": ("blue", "="),
    "undecided": ("gray", "?"),
}


def panel(title: str, *children: Any, aside: Any = None, id_: str = "", note: str = "") -> Any:
    """A titled card. ``aside`` stands at the right of the title, ``note`` under it."""
    head: list[Any] = [dmc.Title(title, order=3, className="panel-title")]
    if note:
        head.append(dmc.Text(note, size="xs", c="dimmed"))
    return dmc.Paper(
        [html.Div([html.Div(head), aside], className="panel-head"), *children],
        className="panel",
        **({"id": id_} if id_ else {}),
    )


def page_head(title: str, subtitle: Any = "", *actions: Any) -> Any:
    """The heading of a page with its actions at the right."""
    return html.Div(
        [
            html.Div([dmc.Title(title, order=1, className="page-title"), subtitle]),
            dmc.Group(list(actions), gap="xs"),
        ],
        className="page-head",
    )


def empty(title: str, text: str, *actions: Any) -> Any:
    """Nothing to show: why, and what to do about it."""
    body = [
        html.Div(className="empty-mark", **{"aria-hidden": "true"}),
        dmc.Title(title, order=2, className="empty-title"),
        dmc.Text(text, c="dimmed", size="sm", ta="center", maw=520),
        *actions,
    ]
    return html.Div(
        dmc.Stack(body, align="center", gap="sm"), className="panel empty", role="status"
    )


def command(text: str) -> Any:
    """A command to type, with a button that copies it."""
    return html.Span(
        [html.Code(text, title=text), copy_button(text, f"Copy the command {text}")],
        className="command",
    )


def copy_button(value: str, label: str) -> Any:
    """A small button that copies ``value``."""
    return dmc.CopyButton(
        value=value, children="Copy", copiedChildren="Copied", size="compact-xs", variant="subtle",
        color="gray", copiedColor="teal", **{"aria-label": label},
    )  # fmt: skip


def state_link(label: Any, path: str, view: View, class_name: str = "", **changes: object) -> Any:
    """A link that changes part of what the address says and keeps the rest."""
    texts = {k: ",".join(v) if isinstance(v, tuple) else v for k, v in changes.items()}
    return html.A(
        label,
        href=view.link(path, **changes),
        className=class_name,
        **{"data-go": json.dumps(texts)},
    )


def run_dot(key: str) -> Any:
    """The colour of a run."""
    return html.Span(
        className="dot", style={"background": run_color(key)}, **{"aria-hidden": "true"}
    )


def state_label(state: str, text: str = "", reason: str = "") -> Any:
    """The state of a run or a trial with its mark; a live one pulses."""
    mark = html.Span(className=f"state-mark state-{state}", **{"aria-hidden": "true"})
    return html.Span([mark, text or state], className="state", title=reason or None)


def delta_text(change: Delta | None) -> Any:
    """A difference with sign, arrow and the colour of its direction."""
    if change is None:
        return html.Span("", className="delta")
    tone = {True: "good", False: "bad", None: "same"}[change.good]
    arrow = "▲" if change.value > 0 else "▼" if change.value < 0 else ""
    return html.Span(
        [html.Span(arrow, className="arrow", **{"aria-hidden": "true"}), change.text],
        className=f"delta {tone}",
    )


def verdict_badge(verdict: Verdict, size: str = "md") -> Any:
    """The verdict in a word, a sign and a colour."""
    color, sign = _VERDICT_BADGES[verdict]
    return dmc.Badge(f"{sign} {verdict}", color=color, variant="light", size=size, tt="none")


def facts(items: Sequence[tuple[str, Any]]) -> Any:
    """Names and values, as a definition list."""
    pairs = [html.Div([html.Dt(name), html.Dd(value)]) for name, value in items]
    return html.Dl(pairs, className="facts")


def loading(rows: int = 3) -> Any:
    """What stands in a page until its first data arrive."""
    return dmc.Stack([dmc.Skeleton(height=120, radius="md") for _ in range(rows)], gap="md")
