"""assay dashboard."""

import importlib
from typing import Annotated

import typer

from backend.cli._common import home_of


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(dashboard)


def dashboard(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8050,
) -> None:
    """Serve the app."""
    serve = importlib.import_module("dashboard.serve")  # a room above this one, found by name
    home = home_of(context)
    home.prepare()
    serve.check_port(host, port)
    from backend.launch import reap
    from backend.tracking.store import MlflowStore

    reap(home)

    serve.serve(MlflowStore(home), host=host, port=port)
