"""assay config show | check | schema."""

from pathlib import Path
from typing import Annotated

import typer

from backend.cli._common import SetOption, show

config = typer.Typer(help="Look at configs without training.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.add_typer(config, name="config")


@config.command("show")
def show_config(path: Path, overrides: SetOption = None) -> None:
    """Print a config with its parents, defaults and overrides resolved."""
    import yaml

    from backend.catalog import load_config
    from backend.config.compose import parse_overrides

    loaded = load_config(path, parse_overrides(overrides or []))
    show(yaml.safe_dump(loaded.model_dump(mode="json"), sort_keys=False))


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
