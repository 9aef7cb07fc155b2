"""assay demo."""

import importlib
from enum import StrEnum
from typing import Annotated

import typer

from backend.cli._common import home_of, show


class System(StrEnum):
    """What can be shown, by the system it runs on."""

    yolo = "yolo"
    moe = "moe"
    mdfed = "mdfed"
    motrv2 = "motrv2"
    adatad = "adatad"


class Failure(StrEnum):
    """Ways to end with every F1 at zero."""

    skeletons = "skeletons"
    rate = "rate"
    weighting = "weighting"


MODULES = {
    System.yolo: "studies._demo",
    System.moe: "studies._demo_moe",
    System.mdfed: "studies._demo_mdfed",
    System.motrv2: "studies._demo_motrv2",
    System.adatad: "studies._demo_adatad",
}
"""In a room above this one, found by name."""


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(demo)


def demo(
    context: typer.Context,
    system: Annotated[
        System,
        typer.Argument(
            help="yolo: search, compare, promote; moe: the experts of an RT-DETR; mdfed: why an "
            "event spotter does not converge, and the cure; motrv2: a tracker from one class to "
            "eight, and what it forgets; adatad: actions in long videos, with adapters."
        ),
    ] = System.yolo,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Make the demo's datasets and end.")
    ] = False,
    trials: Annotated[int, typer.Option(min=4, help="Trials of each study (yolo).")] = 8,
    failure: Annotated[
        Failure,
        typer.Option(
            help="What goes wrong (mdfed): the skeletons are not found, the learning rate is too "
            "high, or an event counts less than any other frame."
        ),
    ] = Failure.skeletons,
) -> None:
    """Train, compare and promote on made data, in about ten minutes on two cores."""
    demos = importlib.import_module(MODULES[system])
    home = home_of(context)
    if data_only:
        data = demos.make_data(home)
        show(*(f"{name}: {path}" for name, path in data.items()))
    elif system is System.yolo:
        demos.Demo(home, trials).run()
    elif system is System.mdfed:
        demos.Demo(home, failure.value).run()
    else:
        demos.Demo(home).run()
