"""assay hardware."""

from typing import TYPE_CHECKING

import typer

from backend.cli._common import JsonOption, show, table

if TYPE_CHECKING:
    from backend.hardware.machine import Gpu, Machine
    from backend.hardware.tiers import Choice


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(hardware)


def hardware(as_json: JsonOption = False) -> None:
    """What computes here, and the tier that hardware.auto_scale would choose."""
    import json

    from backend.hardware.machine import survey
    from backend.hardware.tiers import TIERS, choose

    machine = survey()
    choice = choose(machine)
    if as_json:
        said = {
            "machine": machine.model_dump(mode="json"),
            "choice": choice.model_dump(mode="json"),
            "tiers": [tier.model_dump(mode="json") for tier in TIERS.values()],
        }
        show(json.dumps(said, indent=2))
        return
    _show_machine(machine)
    _show_choice(choice)


def _show_machine(machine: "Machine") -> None:
    from backend.hardware.machine import GIB

    if machine.gpus:
        rows = [_row(gpu, gpu in machine.visible) for gpu in machine.gpus]
        columns = ("GPU", "name", "UUID", "memory GiB", "free GiB", "visible")
        show(table(f"GPUs (driver {machine.driver or 'unknown'})", columns, rows))
    if machine.reason:
        show(f"no GPU: {machine.reason}")
    memory = "unknown" if machine.memory is None else f"{machine.memory / GIB:.1f} GiB"
    show(f"host: {machine.cores} cores, {memory} memory")


def _row(gpu: "Gpu", visible: bool) -> tuple[str, ...]:
    from backend.hardware.machine import GIB

    def gib(value: int | None) -> str:
        return "not told" if value is None else f"{value / GIB:.2f}"

    kind = f"{gpu.index} (MIG)" if gpu.mig else str(gpu.index)
    name, uuid = gpu.name or "not told", gpu.uuid or "not told"
    return kind, name, uuid, gib(gpu.total), gib(gpu.free), "yes" if visible else "no"


def _show_choice(choice: "Choice") -> None:
    from backend.hardware.tiers import TIERS

    rows = [
        (
            f"{tier.name} *" if tier == choice.tier else tier.name,
            *(str(value) for value in (tier.batch, tier.size, tier.workers, tier.prefetch)),
        )
        for tier in TIERS.values()
    ]
    columns = ("tier", "batch", "image", "workers", "prefetch")
    show(table("what each tier asks for (* this machine)", columns, rows))
    show(f"tier {choice.tier.name}: {choice.reason}")
    for warning in choice.warnings:
        show(f"warning: {warning}")
    show("used with --set hardware.auto_scale=true; an estimate of a run's memory caps its batch")
