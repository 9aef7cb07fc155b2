"""The course of the metric that ranks checkpoints, turned so that higher is better."""

import math
from dataclasses import dataclass

import numpy as np

from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats
from backend.analysis.diagnostics.rule import Unknown
from backend.analysis.diagnostics.series import (
    TRENDLESS,
    noise,
    rate_share,
    slope,
    tail,
    trend,
)

LEAST_GAIN = 0.005
"""Of a share; of a score up to 100 it is half a point, of a loss half a percent."""
EVALUATIONS = 8
SHARE = 0.2
NEWEST = 5
RATE_LEFT = 0.05
"""Share of the peak learning rate under which no drop is worth waiting for: the last seventh of a
cosine."""


@dataclass(frozen=True)
class Course:
    """Evaluations so far; ``values`` are higher for better, ``curve`` is as logged. ``small`` is a
    gain that nobody would train for, ``least`` the same or the noise, whichever is more; ``most``
    is the highest value that there can be."""

    key: str
    curve: Curve
    values: Floats
    small: float
    least: float
    most: float = math.inf

    @property
    def best(self) -> int:
        """The place of the best evaluation, the first of equals."""
        return int(np.argmax(self.values))

    def newest(self, share: float) -> int:
        """How many evaluations a share of them is, at least five."""
        return max(NEWEST, math.ceil(share * len(self.values)))

    def step(self, place: int) -> int:
        """The optimizer step of an evaluation."""
        return int(self.curve.steps[place])

    def value(self, place: int) -> float:
        """The metric as logged."""
        return float(self.curve.values[place])


def course_of(evidence: Evidence) -> Course | Unknown:
    """The headline's course, or why it cannot be judged yet."""
    key = evidence.headline
    curve, direction = evidence.curve(key), evidence.direction(key)
    if curve is None:
        return Unknown("the metric that ranks checkpoints was not logged")
    if direction is None:
        return Unknown(f"whether {key} is better high or low is not known")
    if len(curve) < EVALUATIONS:
        return Unknown(f"fewer than {EVALUATIONS} evaluations of {key}")
    higher = direction == "maximize"
    size = float(np.abs(curve.values).max())
    scale = (100.0 if size > 1.5 else 1.0) if higher else size
    values = curve.values if higher else -curve.values
    small = LEAST_GAIN * scale
    most = (scale if size <= scale else math.inf) if higher else 0.0
    return Course(key, curve, values, small, max(small, noise(curve.values)), most)


def gain(course: Course) -> float:
    """How much better it has become since the first of the newest fifth, at its best: five
    evaluations are four gains."""
    after = course.newest(SHARE) - 1
    return float(course.values[-after:].max() - course.values[:-after].max())


def settled(course: Course) -> bool:
    """No gain that counts in the newest fifth, and no trend in it. A curve without noise has a
    trend in its last thousandths too; one that makes no small gain over the window is none."""
    newest = tail(course.curve, course.newest(SHARE))
    creeps = abs(slope(newest)) * float(newest.steps[-1] - newest.steps[0]) <= course.small
    return gain(course) <= course.least and (abs(trend(newest.values)) < TRENDLESS or creeps)


def over(evidence: Evidence) -> bool:
    """Is the run at its end, as planned or not?"""
    return evidence.finished is not None or (evidence.progress or 0.0) >= 1


def rate_done(evidence: Evidence) -> bool | None:
    """Is no further drop of the learning rate planned? None if that is not known."""
    if over(evidence) or evidence.config.get("runner.schedule.name") == "constant":
        return True
    share = rate_share(evidence, np.array([evidence.step]))
    return None if share is None else bool(share[0] <= RATE_LEFT)
