"""assay hardware."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli._common import FastOption, JsonOption, SetOption, show, source, table

if TYPE_CHECKING:
    from backend.catalog import Loaded
    from backend.hardware.forecast import Forecast
    from backend.hardware.machine import Gpu, Machine
    from backend.hardware.tiers import Choice


def register(app: typer.Typer) -> None:
    """Add this group's command."""
    app.command()(hardware)


def hardware(
    config: Annotated[
        Path | None, typer.Argument(help="What would become of this config here?")
    ] = None,
    overrides: SetOption = None,
    fast: FastOption = False,
    as_json: JsonOption = False,
) -> None:
    """What computes here, the tier that hardware.auto_scale would choose, and what it would make
    of a CONFIG."""
    if config is not None:
        _forecast(config, overrides or [], fast, as_json)
    elif overrides or fast:
        raise typer.BadParameter("name the CONFIG that this is for")
    else:
        _machine(as_json)


def _machine(as_json: bool) -> None:
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


def _forecast(path: Path, assignments: list[str], fast: bool, as_json: bool) -> None:
    import json

    from backend.catalog import load
    from backend.config.compose import parse_overrides
    from backend.core.errors import ConfigError
    from backend.hardware.forecast import forecast
    from backend.hardware.machine import survey

    loaded = load(path, parse_overrides(assignments), fast)
    if loaded.spec.knobs is None:
        raise ConfigError(
            f"{path}: the trainer '{loaded.spec.kind}' leaves nothing to the machine"
        )
    told = forecast(loaded.config, loaded.spec.knobs, survey())
    if as_json:
        origins = {plan.key: loaded.origins[plan.key] for plan in told.plans}
        show(json.dumps({**told.model_dump(mode="json"), "origins": origins}, indent=2))
        return
    _show_plans(told, loaded)
    _show_tiers(told)
    _show_ladder(told, loaded.config.flat())


def _show_plans(told: "Forecast", loaded: "Loaded") -> None:
    scaled = loaded.config.flat()["hardware.auto_scale"] == "True"
    name = told.choice.tier.name
    rows = [
        (
            plan.key,
            str(plan.requested),
            source(loaded.origins[plan.key]),
            "" if plan.tier is None else str(plan.tier),
            str(plan.planned),
        )
        for plan in told.plans
    ]
    columns = ("key", "requested", "from", f"tier {name}", "planned")
    show(table("what this machine would make of it", columns, rows))
    show(f"tier {name}: {told.choice.reason}")
    for warning in told.choice.warnings:
        show(f"warning: {warning}")
    if not scaled:
        show("hardware.auto_scale is false: the tier changes nothing")
    elif told.gpu:
        show("when the run begins, an estimate of its memory may lower the tier's batch")
    else:
        show("on the CPU no estimate of its memory is made")


def _show_tiers(told: "Forecast") -> None:
    from backend.hardware.ladder import in_words

    ours = told.choice.tier.name
    keys = tuple(dict.fromkeys(key for asked in told.tiers.values() for key in asked))
    rows = [
        (f"{name} *" if name == ours else name, *(in_words(asked.get(key, "")) for key in keys))
        for name, asked in told.tiers.items()
    ]
    title = "what each tier asks of it (* this machine), where the cores are enough"
    show(table(title, ("tier", *keys), rows))


def _show_ladder(told: "Forecast", flat: dict[str, str]) -> None:
    if flat["hardware.recover"] != "True":
        show("hardware.recover is false: the run ends when memory runs out")
        return
    attempts = flat["hardware.max_attempts"]
    if not told.ladder:
        show(f"if memory runs out, nothing is left to lower (attempts: {attempts})")
        return
    rows = [(str(at), action) for at, action in enumerate(told.ladder, 1)]
    title = f"if memory runs out again and again (attempts: {attempts})"
    show(table(title, ("step", "goes on with"), rows))


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
