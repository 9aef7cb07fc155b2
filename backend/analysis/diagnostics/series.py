"""Numbers of noisy curves that more than one rule needs."""

import math
from bisect import insort
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from scipy.stats import theilslopes

from backend.analysis.diagnostics.evidence import Curve, Evidence, Floats, Ints

TREND = 1.96
"""Mann-Kendall z of a trend (5 %, two-sided)."""
TRENDLESS = 1.645
"""Below it no trend is shown."""
FALL = 0.03
"""Share of its level by which a course must fall to be falling."""
PAIRED = 200
"""Points of a curve of which every pair is compared."""
LATE = 0.2
"""Share of the planned steps after which a run should have left its start."""


def ema(values: Sequence[float] | Floats, alpha: float = 0.5) -> Floats:
    """The exponential moving average, which starts at the first value."""
    given = np.asarray(values, dtype=np.float64).tolist()
    return np.array(list(accumulate(given, lambda last, new: alpha * new + (1 - alpha) * last)))


def newest_ema(values: Sequence[float] | Floats, count: int) -> Floats:
    """The last ``count`` values of the average; what is 50 values older counts less than a bit."""
    return ema(values[-count - 50 :])[-count:]


def noise(values: Sequence[float] | Floats) -> float:
    """Sigma of the noise around any slow course: 1.4826 times the median absolute deviation of the
    first differences, over the root of 2; 0 for less than three values."""
    steps = np.diff(np.asarray(values, dtype=np.float64))
    if len(steps) < 2:
        return 0.0
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / math.sqrt(2))


def running_median(values: Sequence[float] | Floats) -> Floats:
    """The median of all values before each; infinity at the first, which has none."""
    before = np.full(len(values), np.inf)
    seen: list[float] = []
    for place, value in enumerate(np.asarray(values, dtype=np.float64).tolist()):
        half = place // 2
        if place:
            before[place] = seen[half] if place % 2 else (seen[half - 1] + seen[half]) / 2
        insort(seen, value)
    return before


def trend(values: Sequence[float] | Floats) -> float:
    """Mann-Kendall z with ties corrected, positive for a rise; 0 for less than three values."""
    given = np.asarray(values, dtype=np.float64)
    given = given[_thinned(len(given))]
    n = len(given)
    if n < 3:
        return 0.0
    rows, columns = np.triu_indices(n, 1)
    s = float(np.sign(given[columns] - given[rows]).sum())
    ties = np.unique(given, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()) / 18
    return float((s - np.sign(s)) / math.sqrt(variance)) if variance > 0 else 0.0


def falls(values: Sequence[float] | Floats, count: int) -> bool:
    """Did the smoothed course fall by more than its noise and 3 % in its last ``count`` values?"""
    recent = newest_ema(values, count)
    fall = float(recent[0] - recent[-1])
    return fall > FALL * float(recent[0]) and fall > noise(values)


def slope(curve: Curve) -> float:
    """Theil-Sen slope per step; 0 for less than two values."""
    if len(curve) < 2:
        return 0.0
    kept = _thinned(len(curve))
    return float(theilslopes(curve.values[kept], curve.steps[kept])[0])


def _thinned(count: int) -> Ints:
    """At most so many places, evenly spread: these statistics take every pair of points."""
    return np.unique(np.linspace(0, count - 1, min(count, PAIRED)).astype(np.int64))


def planned_evaluations(evidence: Evidence) -> int:
    """How many evaluations the run was to have; those that were made if nothing was told."""
    plan, started = evidence.plan, evidence.started
    planned = plan.validations if plan else 0
    return planned or (started.epochs if started else 0) or len(evidence.evaluations)


def window(evidence: Evidence) -> int:
    """K, the evaluations that a rule looks at: a tenth of the planned ones, at least 3."""
    return max(3, math.ceil(planned_evaluations(evidence) / 10))


def late(evidence: Evidence) -> bool:
    """Is a fifth of the planned steps done? A run without a known plan is late when it ended."""
    progress = evidence.progress
    return evidence.finished is not None if progress is None else progress >= LATE


def tail(curve: Curve, count: int) -> Curve:
    """The last ``count`` points."""
    return Curve(curve.steps[-count:], curve.values[-count:])


def since(curve: Curve, step: int) -> Curve:
    """The points from ``step`` on."""
    start = int(np.searchsorted(curve.steps, step))
    return Curve(curve.steps[start:], curve.values[start:])


def warm(evidence: Evidence, curve: Curve) -> Curve:
    """The points after the warm-up."""
    return since(curve, evidence.plan.warmup_steps if evidence.plan else 0)


def parts(evidence: Evidence, split: str) -> tuple[str, ...]:
    """The parts of the loss that were logged for a split; the total is none of them."""
    planned = evidence.plan.losses if evidence.plan else ()
    names = planned or tuple(
        key.partition("/")[2]
        for key in evidence.curves
        if key.startswith(f"{split}/") and key.endswith("_loss")
    )
    return tuple(n for n in names if n != "loss" and evidence.curve(f"{split}/{n}") is not None)


def settled(evidence: Evidence, split: str, name: str) -> Curve | None:
    """A loss of a split. That of training is the mean since its epoch began, so it begins after
    the epoch in which its scale still moved."""
    curve, plan = evidence.curve(f"{split}/{name}"), evidence.plan
    if curve is None or plan is None or not plan.settling or split != "train":
        return curve
    epochs = math.ceil(plan.settling / plan.steps_per_epoch)
    after = since(curve, epochs * plan.steps_per_epoch + 1)
    return after if len(after) else None


def total_loss(evidence: Evidence, split: str) -> Curve | None:
    """The loss of a split: as logged, else the sum of its parts; None without any."""
    logged = settled(evidence, split, "loss")
    if logged is not None:
        return logged
    names = parts(evidence, split)
    found = [curve for name in names if (curve := settled(evidence, split, name)) is not None]
    if not found:
        return None
    steps = found[0].steps
    for curve in found[1:]:
        steps = np.intersect1d(steps, curve.steps)
    values = sum((at(curve, steps) for curve in found), np.zeros(len(steps)))
    return Curve(steps, values)


def loss_at_evaluations(evidence: Evidence, split: str) -> Curve | None:
    """The loss of a split as it stood at each evaluation; None without any."""
    loss = total_loss(evidence, split)
    steps = np.array(evidence.evaluations, dtype=np.int64)
    if loss is None or not len(loss) or not len(steps):
        return None
    steps = steps[steps >= loss.steps[0]]
    return Curve(steps, at(loss, steps))


def at(curve: Curve, steps: Ints) -> Floats:
    """The curve's newest value at or before each step; the first one before it began."""
    places = np.searchsorted(curve.steps, steps, side="right") - 1
    return curve.values[np.maximum(places, 0)]


def rate_share(evidence: Evidence, steps: Ints) -> Floats | None:
    """The learning rate at each step as a share of its highest planned or seen value, over all
    groups; None if no rate was logged. Ratios are judged against it: they follow the schedule."""
    shares = [
        at(curve, steps) / float(curve.values.max())
        for key, curve in evidence.curves.items()
        if key.startswith("lr/") and len(curve) and curve.values.max() > 0
    ]
    return np.max(shares, axis=0) if shares else None
