"""What several command groups share."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from backend.tracking.home import Home

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; may be repeated."),
]
FastOption = Annotated[
    bool,
    typer.Option("--fast", help="A short first training: fewer epochs, a smaller model."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def home_of(context: typer.Context) -> "Home":
    """The home that the top command was given."""
    from backend.tracking.home import Home

    assert isinstance(context.obj, Home)
    return context.obj


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Group":
    """A plain table below its title; text columns left, numbers right."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table(show_edge=False, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows) and bool(rows)
        made.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        made.add_row(*row)
    return Group(Text(title, style="italic"), made)


def show(*things: object) -> None:
    """Print tables and texts; wide enough for a pipe."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for thing in things:
        console.print(thing, soft_wrap=isinstance(thing, str), markup=not isinstance(thing, str))


def source(origin: str) -> str:
    """Where a config's value comes from; a file by its way from here."""
    path = Path(os.path.normpath(origin))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def number(value: float | None, digits: int = 4) -> str:
    """A metric as text; a dash where it is undefined."""
    from backend.analysis import text

    return text.number(value, digits)


def signed(value: float | None, digits: int = 4) -> str:
    """A difference as text, always with its sign."""
    from backend.analysis import text

    return text.signed(value, digits)


def _is_number(text: str) -> bool:
    try:
        float(text.replace("−", "-").replace("–", "0").replace("%", ""))
    except ValueError:
        return False
    return True
