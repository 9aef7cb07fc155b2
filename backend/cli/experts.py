"""assay experts: what the experts of a run do, once or while it trains."""

from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, home_of, show

if TYPE_CHECKING:
    from backend.cli._experts_source import Observed
    from backend.cli._experts_tables import Drawn
    from backend.core.store import RunStore
    from backend.tracking.home import Home

SECONDS = 2.0


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(experts)


def experts(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(help="A run's key or name, its work directory, or an events.jsonl.")
    ],
    step: Annotated[
        int | None, typer.Option(help="The validation at this step; default: the last word.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh until the training ends.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Usage, entropy, affinity and losses of a run's experts, and the dense model beside them."""
    if watch and as_json:
        raise typer.BadParameter("--watch draws a table; without --json")
    if watch and step is not None:
        raise typer.BadParameter("--watch shows the newest step; without --step")
    home = home_of(context)
    if watch:
        _watch(home, run)
    observed = _observe(home, run)
    if as_json:
        from backend.cli._experts_tables import as_json as written

        show(written(observed, step))
        return
    from backend.cli._experts_tables import pages

    show(*pages(observed, step))


def tables(store: "RunStore", run: str) -> "list[Drawn]":
    """The tables and sentences of a run, for whoever prints them among others."""
    from backend.cli._experts_source import recorded
    from backend.cli._experts_tables import pages

    return pages(recorded(store, store.run(run)), None)


def _observe(home: "Home", ref: str) -> "Observed":
    from backend.cli._experts_source import observe

    return observe(home, ref)


def _watch(home: "Home", ref: str) -> None:
    """Draw again and again, until the run is over; what was drawn last is wiped."""
    import time

    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from backend.cli._experts_tables import pages

    with Live(transient=True, auto_refresh=False) as live:
        while not (observed := _observe(home, ref)).over:
            drawn = [Text(p) if isinstance(p, str) else p for p in pages(observed, None)]
            live.update(Group(*drawn), refresh=True)
            time.sleep(SECONDS)
