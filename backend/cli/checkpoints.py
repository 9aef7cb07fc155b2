"""assay promote, rollback."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, home_of, show
from backend.cli.evidence import CHECKPOINT_HELP, ConfigOption, conclusion

if TYPE_CHECKING:
    from backend.core.records import PromotionDecision

NOT_PROMOTED = 3


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(promote)
    app.command()(rollback)


def promote(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    model: Annotated[str, typer.Option(help="The registered model's name.")],
    policy: Annotated[
        Path | None, typer.Option(help="A YAML policy; default: the usual one.")
    ] = None,
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote anyway; recorded as forced.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, but change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint the champion, if the gate agrees (exit code 3 if it does not)."""
    from backend import promote as promoting
    from backend.tracking.store import MlflowStore

    home = home_of(context)
    home.prepare()
    gate = promoting.Gate(
        model=model,
        policy=promoting.load_policy(policy),
        config=config,
        force=force,
        dry_run=dry_run,
    )
    decision, evidence = promoting.promote(home, MlflowStore(home), checkpoint, gate)
    if as_json:
        show(decision.model_dump_json(indent=2))
    else:
        show(*(conclusion(evidence) if evidence else ()), "", *sentences(decision, dry_run))
    if not decision.promote and not decision.forced:
        raise typer.Exit(NOT_PROMOTED)


def sentences(decision: "PromotionDecision", dry_run: bool = False) -> list[str]:
    """The decision, its reasons and what it changed."""
    verdict = "promote" if decision.promote else "do not promote"
    lines = [f"gate: {verdict}", *(f"  - {reason}" for reason in decision.reasons)]
    if dry_run:
        return [*lines, "dry run: nothing was changed"]
    if decision.version:
        forced = " (forced)" if decision.forced else ""
        lines.append(
            f"models:/{decision.model}@champion is now version {decision.version}{forced}"
        )
        if decision.previous:
            lines.append(
                f"the version before, {decision.previous}, is models:/{decision.model}@previous"
            )
    return lines


def rollback(
    context: typer.Context, model: Annotated[str, typer.Argument(help="The registered model.")]
) -> None:
    """Make the previous version the champion again; a second rollback undoes the first."""
    from backend.tracking.registry import Registry

    home = home_of(context)
    home.prepare()
    version = Registry(home).rollback(model)
    show(f"models:/{model}@champion is version {version} again")
