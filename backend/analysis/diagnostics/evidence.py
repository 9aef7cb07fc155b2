"""The evidence that rules judge: a run's events, its config and its comparisons, indexed once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from backend.analysis.diagnostics.memory import AT_THE_END, Memory, surviving
from backend.core.comparisons import Comparison
from backend.core.events import (
    DataSurveyed,
    Evaluated,
    Event,
    ExpertsObserved,
    FreezeReported,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    NonfiniteSeen,
    PredictionsObserved,
    Recovered,
    RunFinished,
    RunStarted,
)
from backend.core.evidence import Baselines, DataSurvey, TrainingPlan
from backend.core.records import Direction

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Some = TypeVar("Some")


@dataclass(frozen=True)
class Curve:
    """One metric over the training: optimizer steps, rising, and a value at each."""

    steps: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)


class _Begun(Mapping[str, Curve]):
    """The curves up to a step, each cut when it is asked for."""

    def __init__(self, whole: Mapping[str, Curve], step: int) -> None:
        self._whole = whole
        self._step = step

    def __getitem__(self, key: str) -> Curve:
        curve = self._whole[key]
        end = int(np.searchsorted(curve.steps, self._step, side="right"))
        if end == 0:
            raise KeyError(key)
        return Curve(curve.steps[:end], curve.values[:end])

    def __iter__(self) -> Iterator[str]:
        return (key for key, curve in self._whole.items() if curve.steps[0] <= self._step)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class Evidence:
    """What is known of a run up to now. Everything absent is None or empty.

    ``config`` is flat: dotted key to text. ``seeds`` are final headline values of other runs that
    differ in nothing but the seed; ``picked_of`` how many trials the run was chosen from.
    ``memory`` spares a run that is judged again and again what was there before; it serves one
    Evidence at a time. ``whole`` is the run of which this is the beginning (see ``until``).
    """

    events: tuple[Event, ...]
    config: Mapping[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    seeds: tuple[float, ...] = ()
    picked_of: int = 1
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    whole: "Evidence | None" = field(default=None, repr=False, compare=False)
    cut: int = AT_THE_END

    def until(self, step: int) -> "Evidence":
        """The same as it was known right after ``step``; made once for all rules."""
        if self.whole is not None:
            return self.whole.until(step)
        if step not in self._earlier:
            known = np.array(self._heard.known_at, dtype=np.int64) <= step
            self._earlier[step] = Evidence(
                tuple(compress(self.events, known.tolist())), self.config,
                self.comparisons, self.seeds, self.picked_of, whole=self, cut=step,
            )  # fmt: skip
        return self._earlier[step]

    def said(self, step: int) -> dict[str, object]:
        """What rules said of it right after ``step``, by rule, as far as they were asked."""
        if self.whole is not None:
            return self.whole.said(step)
        count = int(np.searchsorted(self._known_by, step, side="right"))
        return self._heard.said.setdefault((step, count), {})

    @cached_property
    def verdicts(self) -> dict[str, object]:
        """What rules said of it, by rule: one asks the other (``confirm``)."""
        return {} if self.whole is None else self.whole.said(self.cut)

    @cached_property
    def _earlier(self) -> dict[int, "Evidence"]:
        return {}

    @cached_property
    def _heard(self) -> Memory:
        return self.memory.hear(self.events)

    @cached_property
    def _known_by(self) -> Ints:
        return np.sort(np.array(self._heard.known_at, dtype=np.int64))

    @cached_property
    def _by_type(self) -> Mapping[type[object], list[Event]]:
        if self.whole is None:
            return self._heard.by_type
        found: dict[type[object], list[Event]] = {}
        for event in self.events:
            found.setdefault(type(event), []).append(event)
        return found

    def all(self, kind: type[Some]) -> list[Some]:
        """The events of one type, in order."""
        return [event for event in self._by_type.get(kind, ()) if isinstance(event, kind)]

    def last(self, kind: type[Some]) -> Some | None:
        """The newest event of one type."""
        found = self.all(kind)
        return found[-1] if found else None

    @cached_property
    def started(self) -> RunStarted | None:
        """The newest start."""
        return self.last(RunStarted)

    @cached_property
    def plan(self) -> TrainingPlan | None:
        """What was planned, as far as it was told."""
        return self.started.plan if self.started else None

    @cached_property
    def finished(self) -> RunFinished | None:
        """The end, if the last event is one."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, RunFinished) else None

    @cached_property
    def survey(self) -> DataSurvey | None:
        """What the data is."""
        told = self.last(DataSurveyed)
        return told.survey if told else None

    def baselines(self, split: str) -> Baselines | None:
        """The trivial baselines of a split."""
        found = self.survey.baselines if self.survey else ()
        return next((b for b in found if b.split == split), None)

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        """Every metric by its key, without what is no number."""
        if self.whole is not None:
            return _Begun(self.whole.curves, self.cut)
        return {
            key: Curve(np.array(course.steps), np.array(course.values))
            for key, course in self._heard.courses.items()
        }

    @cached_property
    def broken(self) -> dict[tuple[int, str], float]:
        """Step and key of each logged value that is no number, since the newest start."""
        if self.whole is None:
            return self._heard.broken
        return {place: v for place, v in self.whole.broken.items() if place[0] <= self.cut}

    def curve(self, key: str) -> Curve | None:
        """A metric's curve, None if it was never logged."""
        return self.curves.get(key)

    @cached_property
    def headline(self) -> str:
        """The key of the metric that ranks checkpoints; empty if nothing was started."""
        return self.started.headline if self.started else ""

    def direction(self, key: str) -> Direction | None:
        """Which way a metric is better, as the trainer declares it."""
        name = key.partition("/")[2]
        specs = self.started.metrics if self.started else ()
        return next((m.direction for m in specs if m.name == name), None)

    @cached_property
    def evaluations(self) -> tuple[int, ...]:
        """The steps at which the headline metric was measured, rising."""
        curve = self.curve(self.headline)
        return tuple(int(step) for step in curve.steps) if curve else ()

    def epoch(self, step: int) -> int | None:
        """The epoch in which a step lies, as it was logged."""
        return next((e.epoch for e in reversed(self.all(MetricsLogged)) if e.step == step), None)

    @cached_property
    def step(self) -> int:
        """The newest optimizer step that was told of."""
        return max((e.step for e in self.all(MetricsLogged)), default=0)

    @cached_property
    def steps(self) -> int | None:
        """Planned optimizer steps; None if they are not known."""
        if self.plan:
            return self.plan.steps
        epochs = [(e.step, e.epoch) for e in self.all(MetricsLogged) if e.step > 0]
        if not self.started or not epochs or not self.started.epochs:
            return None
        step, epoch = epochs[-1]
        return round(step / epoch * self.started.epochs) if epoch else None

    @property
    def warm(self) -> bool:
        """Is the warm-up over?"""
        return self.step >= (self.plan.warmup_steps if self.plan else 0)

    @property
    def progress(self) -> float | None:
        """Share of the planned steps that are done."""
        return self.step / self.steps if self.steps else None

    @property
    def movements(self) -> list[MovementObserved]:
        """What moved, at each look."""
        return self.all(MovementObserved)

    @property
    def predictions(self) -> list[PredictionsObserved]:
        """What was predicted, at each validation."""
        return self.all(PredictionsObserved)

    @property
    def probes(self) -> list[InputProbed]:
        """The input permutation probes."""
        return self.all(InputProbed)

    @property
    def nonfinite(self) -> list[NonfiniteSeen]:
        """Values that are no number."""
        return self.all(NonfiniteSeen)

    @property
    def experts(self) -> list[ExpertsObserved]:
        """What the experts did."""
        return self.all(ExpertsObserved)

    @property
    def freezing(self) -> list[FreezeReported]:
        """What was declared frozen, and what was verified."""
        return self.all(FreezeReported)

    @property
    def recoveries(self) -> list[Recovered]:
        """When memory ran out."""
        return self.all(Recovered)

    @property
    def report(self) -> Evaluated | None:
        """The final evaluation."""
        return self.last(Evaluated)


def evidence_of(
    events: Sequence[Event],
    config: Mapping[str, str] | None = None,
    comparisons: Sequence[Comparison] = (),
    seeds: Sequence[float] = (),
    picked_of: int = 1,
    memory: Memory | None = None,
) -> Evidence:
    """The evidence in a run's events, without what a newer attempt has replaced."""
    return Evidence(
        tuple(surviving(events)), config or {}, tuple(comparisons), tuple(seeds), picked_of,
        memory or Memory(),
    )  # fmt: skip
