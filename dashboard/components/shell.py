"""The frame around every page: header, help, the stores that callbacks share."""

from collections.abc import Sequence
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html

from dashboard import ids
from dashboard.figures.theme import FONT, MONO, templates

POLL_MS = 5000
KEYS = (
    ("/", "search runs"),
    ("↑ ↓", "move in a table"),
    ("space", "select the run under the cursor"),
    ("b", "make it the baseline"),
    ("c", "compare the selected runs"),
    ("← →", "on the step slider of Experts: the validation before or after"),
    ("n p", "in the frames of Compare: the next and the previous difference"),
    ("?", "this help"),
)
# Mantine's dark greys, a little bluer, as the stylesheet has them.
DARK = ["#d9dde3", "#b6bdc7", "#98a1ac", "#6b7480", "#434a54",
        "#2c3138", "#22262d", "#1b1e23", "#15181c", "#0f1114"]  # fmt: skip
THEME = {
    "fontFamily": FONT,
    "fontFamilyMonospace": MONO,
    "headings": {"fontFamily": FONT, "fontWeight": "600"},
    "colors": {"dark": DARK},
    "primaryColor": "indigo",
    "defaultRadius": "md",
    "cursorType": "pointer",
}


def shell(tabs: Sequence[tuple[str, str]], token: str | None) -> Any:
    """The whole layout; ``tabs`` are path and title of each page."""
    return dmc.MantineProvider(
        [*_stores(token), dcc.Store(id=ids.PAGES, data=list(tabs)), _app(tabs), _help()],
        theme=THEME,
        defaultColorScheme="auto",
    )


def _stores(token: str | None) -> list[Any]:
    return [
        dcc.Location(id=ids.URL, refresh="callback-nav"),
        dcc.Store(id=ids.READY),
        dcc.Store(id=ids.SCHEME),
        dcc.Store(id=ids.TEMPLATES, data=templates()),
        dcc.Store(id=ids.TOKEN, data=token),
        dcc.Interval(id=ids.TICK, interval=POLL_MS),
    ]


def _app(tabs: Sequence[tuple[str, str]]) -> Any:
    return dmc.AppShell(
        [
            html.A("Skip to content", href=f"#{ids.MAIN}", className="skip"),
            dmc.AppShellHeader(_header(tabs)),
            dmc.AppShellMain(
                [
                    html.Div(
                        dmc.Alert(id=ids.PROBLEM, title="", color="orange", hide=True,
                                  withCloseButton=True, mb="md"),
                        role="alert",
                    ),
                    html.Div(id=ids.CONTENT),
                ],
                id=ids.MAIN,
            ),
        ],
        header={"height": 56},
        padding="md",
    )  # fmt: skip


def _header(tabs: Sequence[tuple[str, str]]) -> Any:
    links = [
        dcc.Link(title, href=path, id=tab_id(path), className="page-tab") for path, title in tabs
    ]
    return html.Div(
        [
            dcc.Link(
                [html.Span(className="brand-mark", **{"aria-hidden": "true"}), "Assay"],
                href="/",
                className="brand",
                title="Assay: is the new checkpoint really better?",
            ),
            html.Nav(links, className="page-tabs", id=ids.TABS, **{"aria-label": "Pages"}),
            html.Div([_live(), _help_button(), _scheme_toggle()], className="header-end"),
        ],
        className="header",
    )


def tab_id(path: str) -> str:
    """The id of a page's tab."""
    return f"tab-{path.strip('/') or 'runs'}"


def _live() -> Any:
    return dmc.Tooltip(
        html.Div(
            dmc.Switch(id=ids.LIVE, label="Live", checked=True, size="xs", persistence=True,
                       className="live"),
        ),
        label=f"Look for news every {POLL_MS // 1000} seconds",
        openDelay=400,
    )  # fmt: skip


def _help_button() -> Any:
    return dmc.ActionIcon(
        "?", id=ids.HELP_BUTTON, variant="subtle", color="gray", size="lg",
        **{"aria-label": "Keyboard shortcuts"},
    )  # fmt: skip


def _scheme_toggle() -> Any:
    return dmc.ColorSchemeToggle(
        id=ids.SCHEME_TOGGLE,
        lightIcon=html.Span(className="glyph glyph-sun"),
        darkIcon=html.Span(className="glyph glyph-moon"),
        variant="subtle",
        color="gray",
        size="lg",
        **{"aria-label": "Switch between light and dark"},
    )


def _help() -> Any:
    rows = [html.Tr([html.Td(dmc.Kbd(key)), html.Td(meaning)]) for key, meaning in KEYS]
    return dmc.Modal(
        [
            html.Table(html.Tbody(rows), className="keys"),
            dmc.Text(
                "The address bar holds everything on screen: copy it to share a view, "
                "use the browser's back button to undo.",
                size="sm", c="dimmed", mt="md",
            ),
        ],
        id=ids.HELP,
        title="Keyboard",
        centered=True,
    )  # fmt: skip
