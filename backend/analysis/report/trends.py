"""The trend of one curve, and the headline metric of a run."""

from dataclasses import dataclass

from backend.analysis import text
from backend.analysis.epochs import EpochComparison, compare_epochs
from backend.analysis.report.course import Curve
from backend.core.records import Direction

LEAST = 5
"""With fewer values even an unbroken rise has an interval of the slope that means little."""


@dataclass(frozen=True)
class Trend:
    """The slope per epoch over ``first`` to ``last``; ``up`` None: it may be zero."""

    first: int
    last: int
    measured: int
    slope: float
    low: float
    high: float

    @property
    def up(self) -> bool | None:
        if self.low > 0:
            return True
        return False if self.high < 0 else None

    def said(self) -> str:
        """Its numbers."""
        return (
            f"{text.significant(self.slope)} per epoch (95 % interval "
            f"{text.significant(self.low)} to {text.significant(self.high)}) over epochs "
            f"{self.first} to {self.last} ({self.measured} measured)"
        )


@dataclass(frozen=True)
class Watched:
    """The headline metric of one run. ``planned`` is the epoch that it was to reach."""

    name: str
    direction: Direction
    curve: Curve
    planned: int

    @property
    def share(self) -> bool:
        """Is this a share from 0 to 1, for which a margin of importance is known?"""
        within = all(0 <= value <= 1 for value in self.curve.values())
        return self.direction == "maximize" and within

    @property
    def best(self) -> int:
        """The first epoch with the best value."""
        sign = 1 if self.direction == "maximize" else -1
        return max(self.curve, key=lambda epoch: (sign * self.curve[epoch], -epoch))

    def good(self, trend: Trend) -> bool | None:
        """Does it get better? None: neither is shown."""
        return None if trend.up is None else trend.up == (self.direction == "maximize")


def trend_of(name: str, curve: Curve) -> Trend | None:
    """The trend of the last measured epochs; None where there are too few."""
    epochs = list(curve)
    if len(epochs) < LEAST:
        return None
    change = compared(name, None, curve, (epochs[-2], epochs[-1])).metrics[0]
    if change.slope is None or change.slope_low is None or change.slope_high is None:
        return None
    first, last = change.window or (epochs[0], epochs[-1])
    return Trend(first, last, change.measured, change.slope, change.slope_low, change.slope_high)


def compared(
    name: str, direction: Direction | None, curve: Curve, pair: tuple[int, int]
) -> EpochComparison:
    """One curve at two epochs."""
    return compare_epochs({name: curve}, {name: direction}, pair, headline=name)
