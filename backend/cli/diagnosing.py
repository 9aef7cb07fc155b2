"""assay diagnose, check: what is wrong with a run, or with the data before one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, SetOption, home_of, show

if TYPE_CHECKING:
    from rich.console import Group

    from backend.cli._located import Located
    from backend.core.diagnosis import Diagnosis
    from backend.tracking.home import Home

NOTHING_GRAVE = "nothing in the data speaks against a training"
EXIT_CODES = {None: 0, "info": 0, "warning": 4, "error": 5, "stop": 6}
"""By the gravest finding; see ``backend.cli.main`` for the others."""


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(diagnose)
    app.command()(check)


def diagnose(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(help="A run's key or name, its work directory, or an events.jsonl.")
    ],
    rule: Annotated[
        str | None, typer.Option(metavar="ID", help="What one rule says, such as B04.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also what follows from something else, in full.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Why does it not converge? Findings with numbers, cause and the next config to try.

    The exit code is 0 without a finding above info, 4 with a warning, 5 with an error, and 6
    with one that makes going on a waste.
    """
    from backend.cli._located import locate

    home = home_of(context)
    found = locate(home, run)
    about = {"run": found.title, "where": found.state}
    _tell(_judged(home, found), about, found.notes, (rule, verbose, as_json))


def check(
    config: Annotated[Path, typer.Argument(help="A YAML file; see configs/train.")],
    context: typer.Context,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge the data of a config before anything is trained; exit codes as of diagnose."""
    from backend import launch
    from backend.analysis.diagnostics.actions import Source
    from backend.catalog import load_config
    from backend.config.compose import parse_overrides
    from backend.diagnose import check as checked

    settings = tuple(overrides or ())
    loaded = load_config(config, parse_overrides(settings))
    workers = launch.Workers(launch.spec_for(loaded).preload)
    diagnosis = checked(loaded, Source(str(config), settings), workers)
    if diagnosis.state != "sick":
        diagnosis = diagnosis.model_copy(update={"verdict": NOTHING_GRAVE})
    _tell(diagnosis, {"config": str(config)}, (), (None, False, as_json))


def lines(diagnosis: "Diagnosis", verbose: bool = False) -> "list[str | Group]":
    """A diagnosis as text and tables, for whoever shows it among other things."""
    from backend.cli._diagnosis_text import pages

    return pages(diagnosis, verbose)


def _judged(home: "Home", found: "Located") -> "Diagnosis":
    """The rules on a run's events; of a run whose events are gone, what they said last."""
    from backend.core.errors import StoreError
    from backend.diagnose import diagnose_run
    from backend.tracking.store import MlflowStore

    store = MlflowStore(home)
    if found.events is not None:
        events = [envelope.event for envelope in found.events]
        return diagnose_run(events, found.work, store, found.run)
    assert found.run is not None
    kept = store.diagnosis(found.run.key)
    if kept is None:
        raise StoreError(
            f"run {found.title}: its work directory {found.work.path} is gone, and it was never "
            "diagnosed; import or train it again"
        )
    return kept


def _tell(
    diagnosis: "Diagnosis",
    about: dict[str, str],
    notes: tuple[str, ...],
    how: tuple[str | None, bool, bool],
) -> None:
    """Print it, and end with the exit code of the gravest finding."""
    from backend.cli._diagnosis_text import only

    rule, verbose, as_json = how
    if rule is not None:
        diagnosis = only(diagnosis, rule)
    if as_json:
        told = {**about, "worst": diagnosis.worst, **diagnosis.model_dump(mode="json")}
        show(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        show(": ".join(about.values()), *lines(diagnosis, verbose), *notes)
    if code := EXIT_CODES[diagnosis.worst]:
        raise typer.Exit(code)
