"""A slider over the validations of a run, and the address that follows it."""

from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html

from dashboard import ids
from dashboard.components.browser import browser


def step_bar(slider: str, text: str, class_name: str) -> Any:
    """The slider with its words beside it; the browser fills both."""
    handle = dmc.Slider(
        id=slider, value=0, min=0, max=0, step=1, size="sm", label=None,
        className="spring", updatemode="drag", thumbLabel="Validation to look at",
    )  # fmt: skip
    return html.Div(
        [html.Span("Step", className="control-label"), handle,
         html.Span(id=text, className="num step-text", role="status")],
        className=class_name,
    )  # fmt: skip


def register_steps(app: Dash, slider: str, text: str, steps: str) -> None:
    """Slider and address follow each other; ``steps`` is the store of what can be chosen."""
    app.clientside_callback(
        browser("showStep"),
        Output(slider, "max"),
        Output(slider, "value"),
        Output(slider, "disabled"),
        Output(text, "children"),
        Input(ids.URL, "search"),
        Input(steps, "data"),
    )
    app.clientside_callback(
        browser("pickStep"), Input(slider, "value"), State(steps, "data"),
        prevent_initial_call=True,
    )  # fmt: skip
