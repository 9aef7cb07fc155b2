"""What trials took, as columns and axes: each cost that a study knows."""

from collections.abc import Callable
from dataclasses import dataclass

from backend.core.records import Costs, MemoryKind, StudyRecord, TrialRecord
from backend.hardware.machine import GIB

_THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Cost:
    """One of them; ``said`` has its unit in ``title``."""

    key: str
    title: str
    value: Callable[[Costs], float | None]
    said: Callable[[float], str]

    @property
    def heading(self) -> str:
        """The title with a capital."""
        return self.title[:1].upper() + self.title[1:]

    def of(self, trial: TrialRecord) -> float | None:
        """A trial's, if it is known."""
        return self.value(trial.costs)

    def text(self, trial: TrialRecord, absent: str = "") -> str:
        """A trial's in words."""
        value = self.of(trial)
        return absent if value is None else self.said(value)


def compact(value: float) -> str:
    """A count to three digits: ``950``, ``12.3 k``, ``4.56 M``."""
    for size, letter in _THOUSANDS:
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def _memory(of: MemoryKind) -> Callable[[Costs], float | None]:
    def value(costs: Costs) -> float | None:
        known = costs.memory is not None and costs.memory_of == of
        return costs.memory / GIB if known and costs.memory is not None else None

    return value


def _gib(value: float) -> str:
    return f"{value:.2f}"


COSTS = (
    Cost("trainable", "trainable parameters", lambda costs: costs.trainable, compact),
    Cost(
        "minutes",
        "minutes per epoch",
        lambda costs: None if costs.seconds is None else costs.seconds / 60,
        lambda value: f"{value:.3g}" if value >= 1 else f"{value:.2g}",
    ),
    Cost("device", "peak GPU memory (GiB)", _memory("device"), _gib),
    Cost("host", "peak memory of the process (GiB)", _memory("host"), _gib),
)
NOTE = (
    "Minutes are the median of the epochs, without validation; other work on the machine makes "
    "them longer. GPU memory is what torch allocated, memory of the process what it had resident, "
    "libraries included, loaders not."
)


def known_costs(study: StudyRecord) -> tuple[Cost, ...]:
    """Those that any of its trials tells of."""
    return tuple(
        cost for cost in COSTS if any(cost.of(trial) is not None for trial in study.trials)
    )


def bought(study: StudyRecord, cost: Cost) -> list[TrialRecord]:
    """The completed trials than which none is better at the same cost or as good at a lower one;
    the cheapest first."""
    sign = 1 if study.direction == "maximize" else -1
    found = [
        (price, -sign * trial.value, trial.number, trial)
        for trial in study.trials
        if trial.state == "complete" and trial.value is not None
        if (price := cost.of(trial)) is not None
    ]
    front: list[TrialRecord] = []
    best: float | None = None
    for _, loss, _, trial in sorted(found, key=lambda one: one[:3]):
        if best is None or loss < best:
            front.append(trial)
            best = loss
    return front
