"""What is kept of a growing run from one judgement to the next, so that each costs only what is
new: its events by type, its curves, and what the rules said at each evaluation."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence

from backend.core.events import (
    Evaluated,
    Event,
    ExpertsObserved,
    FreezeReported,
    MetricsLogged,
    NonfiniteSeen,
    RunFinished,
    RunStarted,
    TracksObserved,
)

AT_THE_END = 1 << 60


class Course:
    """One metric so far; of several values at one step the last counts."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")

    def put(self, step: int, value: float) -> None:
        """Nearly always at the end."""
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.values.append(value)
            return
        place = bisect_left(self.steps, step)
        if self.steps[place] == step:
            self.values[place] = value
        else:
            self.steps.insert(place, step)
            self.values.insert(place, value)


class Memory:
    """The events heard so far. ``known_at``: the step after which each was known. ``broken``: step
    and key of what is no number, in the newest attempt. ``said``: step and number of events known
    then, to rule to verdict."""

    def __init__(self) -> None:
        self._heard = 0
        self._last: Event | None = None
        self.known_at = array("q")
        self.by_type: dict[type[object], list[Event]] = {}
        self.courses: dict[str, Course] = {}
        self.broken: dict[tuple[int, str], float] = {}
        self.said: dict[tuple[int, int], dict[str, object]] = {}

    def hear(self, events: Sequence[Event]) -> "Memory":
        """Take in what is new; of another run, or of one that began again, everything."""
        if self._heard > len(events) or (
            self._heard and events[self._heard - 1] is not self._last
        ):
            self.__dict__.update(Memory().__dict__)
        for event in events[self._heard :]:
            self._take(event)
        self._heard, self._last = len(events), events[-1] if events else None
        return self

    def _take(self, event: Event) -> None:
        self.known_at.append(known_at(event))
        self.by_type.setdefault(type(event), []).append(event)
        if isinstance(event, RunStarted):
            self.broken.clear()
        elif isinstance(event, MetricsLogged):
            for key, value in event.metrics.items():
                if math.isfinite(value):
                    self.courses.setdefault(key, Course()).put(event.step, value)
                    self.broken.pop((event.step, key), None)
                else:
                    self.broken[event.step, key] = value


def surviving(events: Sequence[Event]) -> list[Event]:
    """The events without what a newer attempt has replaced: what came after the epoch that it went
    on from, and what was no number in an earlier attempt, which shows anew if it still is."""
    kept: list[Event] = []
    for event in events:
        if isinstance(event, RunStarted) and kept:
            last = _resumed_at(kept, event.resumed_from or 0)
            kept = [old for old in kept if _holds(old, last)]
        kept.append(event)
    return kept


def _resumed_at(events: Sequence[Event], epoch: int) -> int:
    """The newest step that was told of an epoch, or of one before it."""
    told = (e.step for e in events if isinstance(e, MetricsLogged) and e.epoch <= epoch)
    return max(told, default=0)


def _holds(event: Event, last: int) -> bool:
    told = known_at(event)
    return not isinstance(event, NonfiniteSeen) and (told <= last or told == AT_THE_END)


def known_at(event: Event) -> int:
    """When it was known: what has no step was known from the start, or comes at the end."""
    if isinstance(event, ExpertsObserved):
        return event.report.step
    verified = isinstance(event, FreezeReported) and event.phase == "verified"
    final = isinstance(event, TracksObserved) and event.final
    if verified or final or isinstance(event, RunFinished | Evaluated):
        return AT_THE_END
    return getattr(event, "step", None) or 0
