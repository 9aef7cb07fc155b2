"""assay report."""

import json
from pathlib import Path
from typing import Annotated

import typer

from backend.cli._common import JsonOption, home_of, show


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(report)


def report(
    context: typer.Context,
    ref: Annotated[
        str, typer.Argument(help="A run (key, prefix or name), a study or a comparison's key.")
    ],
    against: Annotated[
        str, typer.Option(help="The run to stand beside; default: its origin or plain trial.")
    ] = "",
    epochs: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="A B", help="Two epochs of a run to set side by side."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Where the HTML goes.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Where the Markdown goes.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a run, a study or a comparison as Markdown and one HTML file."""
    from backend import report as reports
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    made = reports.make(home, MlflowStore(home), ref, against, epochs=epochs)
    written = reports.write(made, markdown, html)
    remarks = [remark._asdict() for remark in made.remarks]
    if as_json:
        about = {"kind": made.kind, "key": made.key, "markdown": str(written.markdown),
                 "html": str(written.html), "conclusions": remarks}  # fmt: skip
        show(json.dumps(about, indent=2, ensure_ascii=False))
        return
    show(*(remark.said for remark in made.remarks), *([""] if remarks else []),
         f"markdown: {written.markdown}", f"html: {written.html}")  # fmt: skip
