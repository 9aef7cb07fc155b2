"""assay demo."""

import importlib
from typing import Annotated

import typer

from backend.cli._common import home_of, show


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(demo)


def demo(
    context: typer.Context,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Make the demo's datasets and end.")
    ] = False,
    trials: Annotated[int, typer.Option(min=4, help="Trials of each study.")] = 8,
) -> None:
    """Real handwriting: pre-train, search, compare, promote. Under ten minutes on two cores."""
    demos = importlib.import_module("studies._demo")  # a room above this one, found by name
    home = home_of(context)
    if data_only:
        data = demos.make_data(home)
        show(*(f"{name}: {path}" for name, path in data.items()))
        return
    demos.Demo(home, trials).run()
