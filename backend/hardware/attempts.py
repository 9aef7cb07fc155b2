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
from backend.core.events import Event, Noted, Recovered, Setting
from backend.core.knobs import Knobs
from backend.core.sinks import Tail
from backend.core.trainer import StopSignal, TrainOutcome
from backend.core.workdir import WorkDir
from backend.hardware.estimate import Need, capped
from backend.hardware.machine import GIB, Machine, survey
from backend.hardware.memory import Shortage, diagnose, kernel_kills
from backend.hardware.recovery import (
    Death,
    Memo,
    Phase,
    exhausted,
    read_memo,
    stepped_down,
    write_memo,
)
from backend.hardware.tiers import choose, scaled


class Changeable(Protocol):
    """A trainer's config (a ``TrainConfig``)."""

    def replace(self, overrides: dict[str, object], /) -> Self: ...


class Scalable(Changeable, Protocol):
    """One with the section that this module reads."""

    @property
    def hardware(self) -> HardwareConfig: ...


C = TypeVar("C", bound=Scalable)
Asked = TypeVar("Asked", bound=Changeable)


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


class LeftToNextError(Exception):
    """The run goes on, in another process: this one is to end with the exit code ``AGAIN``."""


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
        self._knobs = with_floor(knobs, config.hardware.smallest_size)
        self._site = site
        self._needed = needed
        self._memo = read_memo(work_dir)
        self._events: list[Event] = list(_untold(self._memo, WorkDir(work_dir)))
        self._requested = settings_of(config, knobs)
        if self._memo.planned is None and not self._memo.recovered:
            self._begin()
        if died := self._memo.died:
            self._keep(died=None)  # at the ladder's end a later continuation may try once more
            self._step_down(died.shortage, Where(died.phase, died.step))

    @property
    def config(self) -> C:
        """What to train with now."""
        return _changed(self._asked, self._memo, self._knobs)

    def run(
        self,
        attempt: Callable[[C, Part], TrainOutcome],
        release: Callable[[], None],
        stop: StopSignal,
    ) -> TrainOutcome:
        """The outcome of the first attempt for which memory lasts; ``release`` gives back what a
        failed one held. Who asks to ``stop`` meanwhile need not wait for another one. Raises
        TrainingError at the ladder's end, or if that is not wanted, and LeftToNextError."""
        while True:
            events, self._events = tuple(self._events), []
            part = Part(cast(TrainConfig, self._asked), events, self._memo.tier)
            try:
                return attempt(self.config, part)
            except MemoryRanOutError as error:
                ran_out = error.shortage, error.where
            release()  # only now: the exception held the frames, and they the tensors
            if (reason := stop.reason()) is not None:
                return TrainOutcome(status="stopped", best=None, reason=reason)
            if self._leaves(ran_out[0]):
                self._leave(*ran_out)
            self._step_down(*ran_out)

    def _leaves(self, shortage: Shortage) -> bool:
        """A process never gives back all that it took of the host's memory; if somebody
        supervises it, a fresh one takes the next step."""
        supervised = WorkDir(self._work_dir).held()
        return shortage.kind == "host" and self._asked.hardware.recover and supervised

    def _leave(self, shortage: Shortage, where: Where) -> None:
        self._keep(died=Death(shortage=shortage, phase=where.phase, step=where.step))
        raise LeftToNextError

    def _keep(self, **changed: object) -> None:
        self._memo = self._memo.model_copy(update=changed)
        write_memo(self._work_dir, self._memo)

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
        at = (where.phase, where.step)
        memo = stepped_down(self._memo, self._requested, self._knobs, shortage, at, order)
        self._keep(recovered=memo.recovered)
        self._events.append(memo.recovered[-1])

    def _begin(self) -> None:
        """What the machine has to say of a run before its first attempt."""
        machine = survey()
        if self._asked.hardware.auto_scale:
            self._plan(machine)
        self._check_floor()
        wanted = cast(TrainConfig, self._asked).device == "auto"
        if wanted and machine.visible and not self._site.gpus:
            gpu, driver = machine.visible[0].name, machine.driver
            message = (
                f"the driver ({driver or 'version unknown'}) has a GPU ({gpu or 'no name'}), but "
                "torch sees none, so this run trains on the CPU; install a torch with CUDA that "
                "the driver can serve"
            )
            self._events.append(Noted(level="warning", message=message))

    def _check_floor(self) -> None:
        """Is the smallest image that was asked for one that a run could step down to?"""
        size, hardware = self._knobs.size, self._asked.hardware
        if size is None or hardware.smallest_size is None or not hardware.recover:
            return
        longest = size.longest(settings_of(self.config, self._knobs)[size.key])
        if hardware.smallest_size > longest:
            message = (
                f"hardware.smallest_size {hardware.smallest_size} is above {size.key} {longest}: "
                "if memory runs out, the images stay as they are"
            )
            self._events.append(Noted(level="warning", message=message))

    def _plan(self, machine: Machine) -> None:
        """Let the tier choose, within what memory is estimated to hold."""
        hardware, places = self._asked.hardware, self._site.gpus
        choice = choose(machine, hardware.tier, places)
        cores = max(machine.cores // self._site.processes, 1)
        asked = scaled(self._requested, self._knobs, choice.tier, cores, hardware.keep)
        planned, warnings = asked, choice.warnings
        if places and choice.free is not None and self._knobs.batch in asked:
            planned, warning = self._capped(asked, choice.free)
            warnings += warning
        told = ", ".join(f"{key} {self._requested[key]} -> {v}" for key, v in planned.items())
        message = f"scaled to tier {choice.tier.name} ({choice.reason}): {told or 'nothing'}"
        self._events.append(Noted(level="info", message=message))
        self._events += [Noted(level="warning", message=warning) for warning in warnings]
        self._keep(tier=choice.tier.name, asked=asked, planned=planned)

    def _capped(
        self, asked: dict[str, Setting], free: int
    ) -> tuple[dict[str, Setting], tuple[str, ...]]:
        """What of the tier's batch is expected to fit, and what to say of it."""
        need = self._needed(self._asked.replace(dict(asked)))
        planned = capped(asked, self._requested, self._knobs, need, free)
        key = self._knobs.batch
        batch = int(str(planned[key]))
        if not need.fits(batch, free):
            return planned, (
                f"the tier's {key} is {asked[key]}; by the estimate not even {batch} fits: it "
                f"takes {need.of(batch) / GIB:.1f} GiB, and {free / GIB:.1f} GiB are free",
            )
        if planned == asked:
            return planned, ()
        return planned, (f"the tier's {key} is {asked[key]}; by the estimate {batch} fit",)


def _untold(memo: Memo, work: WorkDir) -> Iterator[Recovered]:
    """Steps down of attempts whose process died before it could tell of them."""
    if memo.recovered and work.events.exists():
        events = (envelope.event for envelope in Tail(work.events).poll())
        told = {event.attempt for event in events if isinstance(event, Recovered)}
        yield from (step for step in memo.recovered if step.attempt not in told)


def trained_with(config: Asked, work_dir: Path, knobs: Knobs) -> Asked:
    """The config that was asked for, with what the machine made of it in a work directory.

    Raises StoreError.
    """
    return _changed(config, read_memo(work_dir), knobs)


def _changed(config: Asked, memo: Memo, knobs: Knobs) -> Asked:
    asked = settings_of(config, knobs)
    changes = {k: v for k, v in memo.overrides.items() if v != asked[k]}
    return config.replace(dict(changes)) if changes else config


def settings_of(config: Any, knobs: Knobs) -> dict[str, Setting]:
    """The config's values under the keys that the machine may change."""
    found: dict[str, Setting] = {}
    for key in knobs.keys:
        value: Any = config
        for name in key.split("."):
            value = getattr(value, name)
        found[key] = value
    return found


def with_floor(knobs: Knobs, floor: int | None) -> Knobs:
    if floor is None or knobs.size is None:
        return knobs
    return replace(knobs, size=replace(knobs.size, floor=floor))
