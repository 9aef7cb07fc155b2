"""What the machine may change in a trainer's config: the keys, and how far down each one goes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from backend.core.events import Setting


@dataclass(frozen=True)
class Size:
    """An image's side or sides, or a clip's frames: an int or a tuple of them at ``key``.

    It is a multiple of ``multiple``. ``tiers`` gives the long side by tier, where that is not
    the usual one; memory's ladder takes ``step`` off the long side (0: one multiple) down to
    half of what was requested, but not below ``floor``.
    """

    key: str
    multiple: int = 32
    floor: int = 320
    step: int = 0
    tiers: Mapping[str, int] = field(default_factory=dict)

    def scaled(self, value: Setting, side: int) -> Setting:
        """The same shape with this long side."""
        sides = self._sides(value)
        made = tuple(max(self._down(one * side / max(sides)), self.multiple) for one in sides)
        return made if isinstance(value, tuple) else made[0]

    def smaller(self, value: Setting, requested: Setting) -> Setting | None:
        """The next smaller one, or None at the floor."""
        lowest = max(self.floor, self._down(self.longest(requested) / 2))
        longest = self.longest(value) - (self.step or self.multiple)
        if longest < lowest:
            return None
        return self.scaled(requested, self._down(longest))

    def longest(self, value: Setting) -> int:
        """The long side."""
        return max(self._sides(value))

    def _sides(self, value: Setting) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (int(value),)

    def _down(self, side: float) -> int:
        return int(side + 1e-6) // self.multiple * self.multiple


@dataclass(frozen=True)
class Knobs:
    """Config keys (dotted); None for what a trainer does not have.

    ``accumulate`` is raised when ``batch`` falls, so that an optimizer step keeps its samples;
    without it the trainer sees to that itself, or not. ``smallest`` is the lowest batch (2
    where batch norm needs it). ``cache`` holds images in memory; off is False. ``threads`` are
    those of each loader process, and ``evaluating`` is the batch of validations and evaluations
    where that is another key. ``by_tier`` gives, by key and tier, what is asked for where that is
    not the usual; its keys may be the trainer's own, if they change no result but by the batch.
    ``models`` are those that a tier takes where ``model`` says ``auto``. ``loads_on_cpu``: are
    there loader processes also where there is no GPU?
    """

    batch: str = "runner.batch"
    accumulate: str | None = "runner.accumulate"
    smallest: int = 1
    size: Size | None = None
    cache: str | None = None
    workers: str | None = "runner.workers"
    prefetch: str | None = "runner.prefetch"
    threads: str | None = None
    evaluating: str | None = None
    by_tier: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    model: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    loads_on_cpu: bool = True

    def on(self, gpu: bool) -> "Knobs":
        """What may change there."""
        return self if gpu or self.loads_on_cpu else replace(self, workers=None)

    @property
    def of_evaluation(self) -> "Knobs":
        """What an evaluation has to give: its batch, down to one sample. Other images would be
        another evaluation, and it has no loader processes."""
        if self.evaluating is None:
            return replace(self.of_batch, smallest=1)
        return Knobs(self.evaluating, None, workers=None, prefetch=None)

    @property
    def of_batch(self) -> "Knobs":
        """The batch of training, and nothing else."""
        return Knobs(self.batch, self.accumulate, self.smallest, workers=None, prefetch=None)

    @property
    def keys(self) -> tuple[str, ...]:
        """All that may change."""
        size = self.size.key if self.size else None
        keys = (self.batch, self.accumulate, size, self.cache, self.workers, self.prefetch,
                self.threads, self.evaluating, self.model, *self.by_tier)  # fmt: skip
        return tuple(dict.fromkeys(key for key in keys if key is not None))
