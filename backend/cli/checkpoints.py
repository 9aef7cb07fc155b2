"""assay promote, rollback, promotions."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import JsonOption, home_of, show, table
from backend.cli.evidence import CHECKPOINT_HELP, ConfigOption, conclusion

if TYPE_CHECKING:
    from backend.core.records import PromotionDecision

NOT_PROMOTED = 3

ByOption = Annotated[
    str, typer.Option(envvar="ASSAY_BY", help="Who decides this; default: user@host.")
]


def register(app: typer.Typer) -> None:
    """Add this group's commands."""
    app.command()(promote)
    app.command()(rollback)
    app.command()(promotions)


def promote(
    context: typer.Context,
    checkpoint: Annotated[str, typer.Argument(help=CHECKPOINT_HELP)],
    model: Annotated[str, typer.Option(help="The registered model's name.")],
    policy: Annotated[
        Path | None, typer.Option(help="A YAML policy; default: the usual one.")
    ] = None,
    config: ConfigOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote anyway; recorded, with --because.")
    ] = False,
    because: Annotated[str, typer.Option(help="Why a promotion is forced.")] = "",
    by: ByOption = "",
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
        because=because,
        by=by,
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
    if decision.forced:
        lines.append(f"forced by {decision.by}: {decision.because}")
    if dry_run:
        return [*lines, "dry run: nothing was changed"]
    if decision.version:
        lines.append(f"models:/{decision.model}@champion is now version {decision.version}")
        if decision.previous:
            lines.append(
                f"the version before, {decision.previous}, is models:/{decision.model}@previous"
            )
    return lines


def rollback(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="The registered model.")],
    to: Annotated[str, typer.Option(help="The version; default: the one before.")] = "",
    because: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    by: ByOption = "",
) -> None:
    """Make an earlier version the champion again; a second rollback undoes the first."""
    from backend.promote import whoami
    from backend.tracking.registry import Registry

    home = home_of(context)
    home.prepare()
    version = Registry(home).rollback(model, to, by=by or whoami(), because=because)
    show(f"models:/{model}@champion is version {version} again")


def promotions(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Only of this registered model.")] = None,
    as_json: JsonOption = False,
) -> None:
    """What the gate has decided, newest first: when, by whom, on what evidence."""
    import json

    from backend.tracking.store import MlflowStore

    decisions = MlflowStore(home_of(context)).promotions(model)
    if as_json:
        show(json.dumps([decision.model_dump(mode="json") for decision in decisions], indent=2))
        return
    columns = ("when", "model", "decision", "version", "before", "checkpoint", "by", "evidence")
    show(table("promotions", columns, [_row(decision) for decision in decisions]))
    show(*(f"{_when(d)} {d.model}: because {d.because}" for d in decisions if d.because))


def _row(decision: "PromotionDecision") -> tuple[str, ...]:
    checkpoint = decision.checkpoint
    if "rollback" in decision.policy:
        outcome = "rolled back"
    elif decision.forced:
        outcome = "forced"
    else:
        outcome = "promoted" if decision.promote else "refused"
    return (
        *(_when(decision), decision.model, outcome, decision.version or "–"),
        decision.previous or "–",
        checkpoint.run or Path(checkpoint.path).name,
        *(decision.by or "–", decision.evidence or "–"),
    )


def _when(decision: "PromotionDecision") -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(decision.created).astimezone():%Y-%m-%d %H:%M}"
