"""The app: a store of records in, a Dash app out. No app exists at module level."""

import logging
from functools import partial
from typing import Any

from dash import ALL, Dash, Input, Output, State, no_update, set_props
from flask import Response

from backend.catalog import CATALOG, Catalog
from backend.core.errors import AssayError
from backend.core.store import RunStore
from dashboard import ids
from dashboard.components.browser import browser
from dashboard.components.cards import empty
from dashboard.components.shell import shell, tab_id
from dashboard.pages import PAGES, Page
from dashboard.scope import READ_AGAIN
from dashboard.view import View

# Chosen before the first paint, so that a dark page never flashes white.
_INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    {%metas%}
    <title>{%title%}</title>
    <link rel="icon" href="/assets/favicon.svg" type="image/svg+xml">
    <script>
      (function () {
        var scheme = "auto";
        try { scheme = localStorage.getItem("mantine-color-scheme-value") || "auto"; } catch (e) {}
        if (scheme !== "light" && scheme !== "dark")
          scheme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
        document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
      })();
    </script>
    {%css%}
  </head>
  <body>
    {%app_entry%}
    <footer>{%config%}{%scripts%}{%renderer%}</footer>
  </body>
</html>
"""

# Nothing may be fetched from or sent to anywhere else, whatever a library tries.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'"
)


UNREADABLE = "The records cannot be read"


def create_app(store: RunStore, catalog: Catalog = CATALOG) -> Dash:
    """An app that shows what ``store`` holds, reading it anew at each request."""
    app = Dash(
        __name__,
        title="Assay",
        update_title=None,
        index_string=_INDEX,
        serve_locally=True,
        use_pages=False,
        pages_folder="",
        suppress_callback_exceptions=True,
        on_error=report,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    tabs = [(page.path, page.title) for page in PAGES]
    app.layout = lambda: shell(tabs, token_at_start(store))
    app.server.after_request(_stay_home)
    _register(app, store)
    for page in PAGES:
        page.register(app, store, catalog)
    return app


def _register(app: Dash, store: RunStore) -> None:
    app.callback(
        Output(ids.CONTENT, "children"),
        Input(ids.URL, "pathname"),
        Input(ids.READY, "data"),
        State(ids.URL, "search"),
    )(partial(route, store))
    app.callback(
        Output(ids.TOKEN, "data"),
        Input(ids.TICK, "n_intervals"),
        State(ids.TOKEN, "data"),
        State(ids.PROBLEM, "title"),
        prevent_initial_call=True,
    )(partial(poll, store))
    app.clientside_callback(browser("boot"), Output(ids.READY, "data"), Input(ids.READY, "id"))
    app.clientside_callback(
        browser("scheme"), Output(ids.SCHEME, "data"),
        Input(ids.SCHEME_TOGGLE, "computedColorScheme"),
    )  # fmt: skip
    app.clientside_callback(
        browser("retheme"),
        Output(ids.graph(ALL, ALL), "figure", allow_duplicate=True),
        Input(ids.SCHEME, "data"),
        State(ids.TEMPLATES, "data"),
        State(ids.graph(ALL, ALL), "figure"),
        prevent_initial_call=True,
    )  # fmt: skip
    app.clientside_callback(
        browser("live"), Output(ids.TICK, "disabled"), Input(ids.LIVE, "checked")
    )
    app.clientside_callback(
        browser("help"), Output(ids.HELP, "opened"), Input(ids.HELP_BUTTON, "n_clicks"),
        prevent_initial_call=True,
    )  # fmt: skip
    app.clientside_callback(
        browser("tabs"),
        [Output(tab_id(page.path), prop) for page in PAGES for prop in ("href", "className")],
        Input(ids.URL, "href"),
        State(ids.PAGES, "data"),
    )


def token_at_start(store: RunStore) -> str | None:
    """What the first pages are drawn from; None if the store cannot be read, as they will say."""
    try:
        return store.change_token()
    except AssayError:
        return None


def route(store: RunStore, path: str, ready: object, search: str | None) -> Any:
    """The page at ``path``."""
    page = find_page(path)
    if page is None:
        return empty("There is no such page", f"Nothing lives at {path}; use the tabs above.")
    return page.layout(store, View.parse(search))


def find_page(path: str) -> Page | None:
    """The page at ``path``, with or without a slash at its end."""
    wanted = "/" + (path or "").strip("/")
    return next((page for page in PAGES if page.path == wanted), None)


def poll(store: RunStore, ticks: int | None, token: str | None, problem: str | None) -> Any:
    """The store's change token, if it is a new one or if the store was unreadable until now."""
    new = store.change_token()
    if problem == UNREADABLE:
        set_props(ids.PROBLEM, {"hide": True, "title": ""})
        return new + READ_AGAIN
    return no_update if new == token else new


def report(error: Exception) -> None:
    """Say what went wrong on the page; what users cannot mend goes to the log as well."""
    title, text = UNREADABLE, str(error)
    if not isinstance(error, AssayError):
        logging.getLogger(__name__).error("callback failed", exc_info=error)
        title = "A part of this page could not be made"
        text = f"{error!r}; the log has the details."
    set_props(ids.PROBLEM, {"title": title, "children": text, "hide": False})


def _stay_home(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response
