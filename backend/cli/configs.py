"""assay config show | check | schema."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import FastOption, SetOption, show, source, table

if TYPE_CHECKING:
    from backend.catalog import Loaded

config = typer.Typer(help="Look at configs without training.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(config, name="config")


@config.command("show")
def show_config(
    path: Path,
    overrides: SetOption = None,
    fast: FastOption = False,
    origins: Annotated[
        bool, typer.Option("--origins", help="Print where each value comes from.")
    ] = False,
) -> None:
    """Print a config with its parents, defaults and overrides resolved."""
    import yaml

    from backend.catalog import load
    from backend.config.compose import parse_overrides

    loaded = load(path, parse_overrides(overrides or []), fast)
    if origins:
        _show_origins(loaded)
        return
    show(yaml.safe_dump(loaded.config.model_dump(mode="json"), sort_keys=False))


def _show_origins(loaded: "Loaded") -> None:
    """Each value with its source, and with what this machine's tier chooses in its place."""
    from backend.hardware.forecast import forecast
    from backend.hardware.machine import survey

    flat = loaded.config.flat()
    rows = [[key, value, source(loaded.origins[key])] for key, value in flat.items()]
    columns = ["key", "value", "from"]
    knobs = loaded.spec.knobs
    if knobs and flat.get("hardware.auto_scale") == "True":
        told = forecast(loaded.config, knobs, survey())
        tier = {plan.key: plan.tier for plan in told.plans if plan.tier is not None}
        columns.append(f"tier {told.choice.tier.name}")
        rows = [[*row, str(tier.get(row[0], ""))] for row in rows]
    show(table("values and where they come from", columns, rows))


@config.command()
def check(paths: list[Path]) -> None:
    """Validate config files; the first wrong one ends the command with exit code 1."""
    from backend.catalog import load_config

    for path in paths:
        load_config(path)
        show(f"{path}: ok")


@config.command()
def schema(
    kind: str,
    write: Annotated[
        Path | None, typer.Option(help="Write <kind>.json into this folder instead.")
    ] = None,
) -> None:
    """Print a trainer's JSON Schema, for editors."""
    from backend.catalog import json_schema, spec_of
    from backend.core.workdir import write_atomic

    text = json_schema(spec_of(kind, "schema"))
    if write is None:
        show(text)
    else:
        write_atomic(write / f"{kind}.json", text)
