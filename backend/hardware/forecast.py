"""What the machine would make of a config, said before anything is trained. Pure.

What a GPU's memory is expected to hold is measured when a run begins, and is not in here.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from backend.config.hardware import HardwareConfig
from backend.config.schema import TrainConfig
from backend.core.errors import ConfigError
from backend.core.events import Order, Setting
from backend.core.knobs import Knobs
from backend.core.records import Record
from backend.hardware.attempts import settings_of, with_floor
from backend.hardware.ladder import step_down
from backend.hardware.machine import Machine
from backend.hardware.tiers import TIERS, Choice, choose, scaled


class Plan(Record):
    """One config key: what is ``requested``, what the ``tier`` asks for in its place (None:
    nothing), and what would be ``planned``."""

    key: str
    requested: Setting
    tier: Setting | None
    planned: Setting


class Forecast(Record):
    """``tiers`` is what each tier asks for where the cores are enough. ``ladder`` are the steps
    down, in words, that a run takes if memory runs out again and again, as many as
    ``hardware.max_attempts`` allows; ``gpu``: would it train on one?"""

    choice: Choice
    gpu: bool
    plans: tuple[Plan, ...]
    tiers: dict[str, dict[str, Setting]]
    ladder: tuple[str, ...]


def tier_for(config: TrainConfig, machine: Machine) -> Choice:
    """The tier of the GPUs that a config would train on. Raises ConfigError."""
    places = _places(config, machine)
    nothing_found = config.device == "auto" and not places
    return choose(machine, _section(config).tier, None if nothing_found else places)


def forecast(config: TrainConfig, knobs: Knobs, machine: Machine) -> Forecast:
    """What would become of a config here. Raises ConfigError."""
    hardware = _section(config)
    choice, places = tier_for(config, machine), _places(config, machine)
    gpu = bool(places) and max(places) < len(machine.visible)
    knobs = knobs.on(gpu)
    requested = settings_of(config, knobs)
    cores = max(machine.cores // _processes(config), 1)
    asked = scaled(requested, knobs, choice.tier, cores, hardware.keep)
    planned = {**requested, **(asked if hardware.auto_scale else {})}
    return Forecast(
        choice=choice,
        gpu=gpu,
        plans=tuple(
            Plan(key=key, requested=value, tier=asked.get(key), planned=planned[key])
            for key, value in requested.items()
        ),
        tiers={
            name: scaled(requested, knobs, tier, None, hardware.keep)
            for name, tier in TIERS.items()
        },
        ladder=_ladder(planned, with_floor(knobs, hardware.smallest_size), hardware),
    )


def _ladder(
    planned: Mapping[str, Setting], knobs: Knobs, hardware: HardwareConfig
) -> tuple[str, ...]:
    if not hardware.recover:
        return ()
    order: Order = "cache" if hardware.recover_order == "cache" else "batch"

    def steps() -> Iterator[str]:
        effective = dict(planned)
        while rung := step_down(planned, effective, knobs, order):
            yield rung.action
            effective = rung.settings

    return tuple(islice(steps(), hardware.max_attempts - 1))


def _section(config: TrainConfig) -> HardwareConfig:
    hardware = getattr(config, "hardware", None)
    return hardware if isinstance(hardware, HardwareConfig) else HardwareConfig()


def _places(config: TrainConfig, machine: Machine) -> tuple[int, ...]:
    """Which of the visible GPUs a config means; none: the CPU. Raises ConfigError."""
    name = config.device.removeprefix("cuda:")
    if config.device in {"cpu", "mps"}:
        return ()
    if name in {"auto", "cuda"}:
        return tuple(range(min(_processes(config), len(machine.visible))))
    if not name.isdigit():
        raise ConfigError(f"device '{config.device}' is unknown; use cpu, cuda:0 or auto")
    return (int(name),)


def _processes(config: TrainConfig) -> int:
    runner: Any = getattr(config, "runner", None)
    return int(runner.processes) if runner else 1
