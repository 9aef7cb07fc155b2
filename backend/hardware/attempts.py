"""A training and what the machine has to say of it: scaled to its tier when it begins, and one
step lower after each time that memory ran out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar, cast

from backend.config.hardware import HardwareConfig
from backend.config.schema import TrainConfig
from backend.core.errors import TrainingError
from backend.core.events import Event, Noted, Setting
from backend.core.knobs import Knobs
from backend.core.trainer import TrainOutcome
from backend.hardware.estimate import Need, capped
from backend.hardware.machine import survey
from backend.hardware.memory import Shortage, diagnose, kernel_kills
from backend.hardware.recovery import Phase, exhausted, read_memo, stepped_down, write_memo
from backend.hardware.tiers import choose, scaled


class Scalable(Protocol):
    """A trainer's config (a ``TrainConfig``) with the section that this module reads."""

    @property
    def hardware(self) -> HardwareConfig: ...

    def replace(self, overrides: dict[str, object], /) -> Self: ...


C = TypeVar("C", bound=Scalable)


@dataclass(frozen=True)
class Site:
    """Where a run trains: the visible GPUs at ``gpus`` (empty: the CPU), by how many
    processes."""

    gpus: tuple[int, ...] = ()
    processes: int = 1


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
        return f"out of memory ({self.shortage.cause}); lower the batch"


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
    """The attempts of one run. ``needed`` measures what a config needs of a GPU's memory.

    Raises ConfigError, StoreError, and TrainingError when the process of the last one died for
    memory and nothing is left to lower.
    """

    def __init__(
        self, config: C, work_dir: Path, knobs: Knobs, site: Site, needed: Callable[[C], Need]
    ) -> None:
        self._asked = config
        self._work_dir = work_dir
        self._knobs = _with_floor(knobs, config.hardware.smallest_size)
        self._site = site
        self._needed = needed
        self._events: list[Event] = []
        self._memo = read_memo(work_dir)
        self._requested = settings_of(config, knobs)
        if config.hardware.auto_scale and self._memo.planned is None:
            self._plan()
        if self._memo.died:
            self._step_down(self._memo.died, Where("unknown"))

    @property
    def config(self) -> C:
        """What to train with now."""
        changed = {
            key: value
            for key, value in self._memo.overrides.items()
            if value != self._requested[key]
        }
        return self._asked.replace(dict(changed)) if changed else self._asked

    def run(
        self, attempt: Callable[[C, Part], TrainOutcome], release: Callable[[], None]
    ) -> TrainOutcome:
        """The outcome of the first attempt for which memory lasts; ``release`` gives back what a
        failed one held. Raises TrainingError at the ladder's end, or if that is not wanted."""
        while True:
            events, self._events = tuple(self._events), []
            part = Part(cast(TrainConfig, self._asked), events, self._memo.tier)
            try:
                return attempt(self.config, part)
            except MemoryRanOutError as error:
                ran_out = error.shortage, error.where
            release()  # only now: the exception held the frames, and they the tensors
            self._step_down(*ran_out)

    def _step_down(self, shortage: Shortage, where: Where) -> None:
        hardware = self._asked.hardware
        if not hardware.recover:
            raise TrainingError(
                f"out of memory ({shortage.cause}); lower {self._knobs.batch}; "
                "hardware.recover is false, so it ends here"
            )
        spare = shortage.kind == "host" and bool(self._site.gpus)
        order = hardware.recover_order
        if order == "auto":
            order = "cache" if spare else "batch"
        if len(self._memo.recovered) + 1 >= hardware.max_attempts:
            end = f"hardware.max_attempts is {hardware.max_attempts}"
            raise exhausted(self._memo, shortage, end)
        self._memo = stepped_down(
            self._memo,
            self._requested,
            self._knobs,
            shortage,
            (where.phase, where.step),
            order,
        )
        write_memo(self._work_dir, self._memo)
        self._events.append(self._memo.recovered[-1])

    def _plan(self) -> None:
        """Let the tier choose, within what memory is estimated to hold."""
        machine, places, keep = survey(), self._site.gpus, self._asked.hardware.keep
        choice = choose(machine, self._asked.hardware.tier, places)
        cores = max(machine.cores // self._site.processes, 1)
        asked = scaled(self._requested, self._knobs, choice.tier, cores, keep)
        planned = self._capped(asked, choice.free) if places else asked
        warnings = list(choice.warnings)
        if machine.visible and not places:
            warnings.append("there is a GPU, but this run trains on the CPU")
        if planned != asked:
            batches = (asked[self._knobs.batch], planned[self._knobs.batch])
            warnings.append("the tier's batch is {}; by the estimate {} fit".format(*batches))
        told = ", ".join(f"{key} {self._requested[key]} -> {v}" for key, v in planned.items())
        message = f"scaled to tier {choice.tier.name} ({choice.reason}): {told or 'nothing'}"
        self._events.append(Noted(level="info", message=message))
        self._events += [Noted(level="warning", message=warning) for warning in warnings]
        self._memo = self._memo.model_copy(update={"tier": choice.tier.name, "planned": planned})
        write_memo(self._work_dir, self._memo)

    def _capped(self, asked: dict[str, Setting], free: int | None) -> dict[str, Setting]:
        """A batch that a person insists on is not lowered before it is tried."""
        if free is None or self._knobs.batch not in asked:
            return asked
        need = self._needed(self._asked.replace(dict(asked)))
        return capped(asked, self._requested, self._knobs, need, free)


def settings_of(config: Any, knobs: Knobs) -> dict[str, Setting]:
    """The config's values under the keys that the machine may change."""
    found: dict[str, Setting] = {}
    for key in knobs.keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = value
    return found


def _with_floor(knobs: Knobs, floor: int | None) -> Knobs:
    if floor is None or knobs.size is None:
        return knobs
    return replace(knobs, size=replace(knobs.size, floor=floor))
