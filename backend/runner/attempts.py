"""A training and what the machine has to say of it: scaled to its tier when it begins, and one
step lower after each time that memory ran out."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar, cast

import torch

from backend.config.hardware import HardwareConfig
from backend.config.schema import TrainConfig
from backend.core.errors import TrainingError
from backend.core.events import Event, Noted, Setting
from backend.hardware.knobs import Knobs
from backend.hardware.machine import survey
from backend.hardware.memory import Shortage, diagnose, kernel_kills
from backend.hardware.recovery import Phase, read_memo, stepped_down, write_memo
from backend.hardware.tiers import choose, scaled
from backend.runner.config import RunnerConfig
from backend.runner.device import resolve_device
from backend.runner.estimate import capped, needed
from backend.runner.training import Training


class Scalable(Protocol):
    """A trainer's config (a ``TrainConfig``) with the two sections that this seam reads."""

    @property
    def runner(self) -> RunnerConfig: ...

    @property
    def hardware(self) -> HardwareConfig: ...

    def replace(self, overrides: dict[str, object], /) -> Self: ...


C = TypeVar("C", bound=Scalable)
Build = Callable[[C, Path], Training]


@dataclass(frozen=True)
class Part:
    """The machine's part in a training: the config that was asked for, events to tell when the
    attempt begins, and the tier that it was scaled to."""

    requested: TrainConfig | None = None
    events: tuple[Event, ...] = ()
    tier: str = ""


ALONE = Part()
"""The machine has no part in it."""


@dataclass
class Where:
    """How far an attempt is; ``step`` counts optimizer steps."""

    phase: Phase = "setup"
    step: int | None = None


class MemoryRanOutError(TrainingError):
    """Memory ran out in an attempt."""

    def __init__(self, shortage: Shortage, where: Where) -> None:
        super().__init__(shortage, where)
        self.shortage = shortage
        self.where = where

    def __str__(self) -> str:
        return (
            f"out of memory ({self.shortage.cause}); lower runner.batch (and raise "
            "runner.accumulate), or recompute activations (runner.checkpointing)"
        )


@contextmanager
def noticing(where: Where) -> Iterator[None]:
    """Raise MemoryRanOutError for what is a lack of memory; everything else passes."""
    kills = kernel_kills()
    try:
        yield
    except Exception as error:
        shortage = diagnose(error, kernel_kills() - kills)
        if shortage is None:
            raise
        raise MemoryRanOutError(shortage, where) from None


class Attempts(Generic[C]):
    """The attempts of one run. Raises ConfigError, StoreError, and TrainingError when the
    process of the last one died for memory and nothing is left to lower."""

    def __init__(self, build: Build[C], config: C, work_dir: Path, knobs: Knobs) -> None:
        self._build = build
        self._asked = config
        self._work_dir = work_dir
        self._knobs = knobs
        self._events: list[Event] = []
        self._memo = read_memo(work_dir)
        self._requested = _settings(config, knobs)
        if config.hardware.auto_scale and self._memo.planned is None:
            self._plan()
        if self._memo.died:
            self.step_down(self._memo.died, Where("unknown"))

    @property
    def config(self) -> C:
        """What to train with now."""
        changed = {
            key: value
            for key, value in self._memo.overrides.items()
            if value != self._requested[key]
        }
        return self._asked.replace(dict(changed)) if changed else self._asked

    def part(self) -> Part:
        """What ``fit`` is to know; its events are told once."""
        events, self._events = tuple(self._events), []
        return Part(cast(TrainConfig, self._asked), events, self._memo.tier)

    def step_down(self, shortage: Shortage, where: Where) -> None:
        """Take the ladder's next rung. Raises TrainingError at its end, or if that is not
        wanted."""
        if not self._asked.hardware.recover:
            raise TrainingError(
                f"{MemoryRanOutError(shortage, where)}; hardware.recover is false, so it ends here"
            )
        spare = shortage.kind == "host" and self._device().type == "cuda"
        self._memo = stepped_down(
            self._memo, self._requested, self._knobs, shortage, (where.phase, where.step), spare
        )
        write_memo(self._work_dir, self._memo)
        self._events.append(self._memo.recovered[-1])

    def _plan(self) -> None:
        """Let the tier choose, within what memory is estimated to hold."""
        machine, places = survey(), self._places()
        choice = choose(machine, self._asked.hardware.tier, places)
        cores = max(machine.cores // self._asked.runner.processes, 1)
        asked = scaled(self._requested, self._knobs, choice.tier, cores)
        planned = asked if not places or choice.free is None else self._capped(asked, choice.free)
        warnings = list(choice.warnings)
        if machine.visible and not places:
            warnings.append("there is a GPU, but this run trains on the CPU")
        if planned != asked:
            batches = (asked[self._knobs.batch], planned[self._knobs.batch])
            warnings.append("the tier's batch is {}; by the estimate {} fit".format(*batches))
        told = ", ".join(f"{key} {self._requested[key]} -> {v}" for key, v in planned.items())
        message = f"scaled to tier {choice.tier.name} ({choice.reason}): {told}"
        self._events.append(Noted(level="info", message=message))
        self._events += [Noted(level="warning", message=warning) for warning in warnings]
        self._memo = self._memo.model_copy(update={"tier": choice.tier.name, "planned": planned})
        write_memo(self._work_dir, self._memo)

    def _capped(self, asked: dict[str, Setting], free: int) -> dict[str, Setting]:
        training = self._build(self._asked.replace(dict(asked)), self._work_dir)
        return capped(asked, self._requested, self._knobs, needed(training), free)

    def _places(self) -> tuple[int, ...]:
        """The visible GPUs that it trains on."""
        device, processes = self._device(), self._asked.runner.processes
        if device.type != "cuda":
            return ()
        return tuple(range(processes)) if processes > 1 else (device.index or 0,)

    def _device(self) -> torch.device:
        name = cast(TrainConfig, self._asked).device
        return resolve_device(name, self._asked.runner.processes)


def release() -> None:
    """Give back what a failed attempt held."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _settings(config: Any, knobs: Knobs) -> dict[str, Setting]:
    """The config's values under the keys that the machine may change."""
    found: dict[str, Setting] = {}
    for key in knobs.keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = value
    return found
