"""Is one number really higher than another? Intervals and verdicts of paired replicates.

The interval is the *expanded percentile* interval (Hesterberg, The American Statistician 2015):
quantiles of the replicates' differences, taken a little further out because a bootstrap over n
units is too narrow by sqrt((n-1)/n) and knows no t-distribution. It was chosen after a trial on
simulated detectors (400 to 500 data sets per size, differences of mAP, 95 % intervals): BCa
covered the true difference in 89 to 91 % of the cases at 10 images and in 91 to 93 % at 20, the
plain percentile in 90 to 93 %, the expanded one in 93 to 97 % at 10, 20, 40 and 80. BCa brought
nothing there, since the bias that it mends cancels in a paired difference, and costs a jackknife.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from backend.analysis.reweighting import Floats
from backend.core.records import Direction, MetricDelta, Verdict

_TIE = 1e-12  # two sums of the same numbers may differ by this much


@dataclass(frozen=True)
class Paired:
    """One metric of both sides: on the data as they are, and in each replicate.

    A value is NaN where the metric is undefined. ``units`` is the number of units that carry
    ground truth for the metric; it decides how far the interval is widened.
    """

    name: str
    baseline: float
    candidate: float
    baseline_replicates: Floats
    candidate_replicates: Floats
    units: int
    direction: Direction = "maximize"


def judge(pair: Paired, confidence: float, margin: float) -> MetricDelta:
    """Candidate minus baseline with its interval, share of wins and verdict.

    Replicates in which the metric is undefined are left out. With fewer than two units that
    carry ground truth nothing can be said of the spread: no interval, and undecided.
    """
    if math.isnan(pair.baseline) or math.isnan(pair.candidate):
        return _undefined(pair)
    delta = _settled(np.array([pair.candidate - pair.baseline]))[0]
    differences = _settled(pair.candidate_replicates - pair.baseline_replicates)
    differences = differences[~np.isnan(differences)]
    low = high = wins = None
    if pair.units >= 2 and differences.size:
        low, high = interval(differences, confidence, pair.units)
        better = differences if pair.direction == "maximize" else -differences
        wins = float(((better > 0) + 0.5 * (better == 0)).mean())
    return MetricDelta(
        name=pair.name,
        direction=pair.direction,
        baseline=pair.baseline,
        candidate=pair.candidate,
        delta=float(delta),
        low=low,
        high=high,
        wins=wins,
        verdict=verdict(low, high, margin, pair.direction),
    )


def interval(differences: Floats, confidence: float, units: int) -> tuple[float, float]:
    """Expanded percentile interval of finite replicates over ``units`` (at least 2) units."""
    upper = (1 + confidence) / 2
    stretched = math.sqrt(units / (units - 1)) * student_quantile(upper, units - 1)
    tail = NormalDist().cdf(-stretched)
    low, high = np.quantile(differences, (tail, 1 - tail))
    return float(low), float(high)


def verdict(
    low: float | None, high: float | None, margin: float, direction: Direction = "maximize"
) -> Verdict:
    """Four words for an interval of the difference; the first that holds.

    - equivalent: the whole interval lies within ``margin`` of zero, ends included, even if it
      does not contain zero: a difference that is real but too small to matter;
    - better: it lies wholly on the good side of zero;
    - worse: it lies wholly on the bad side of zero;
    - undecided: it contains zero and reaches beyond the margin, or there is no interval.
    """
    if low is None or high is None:
        return "undecided"
    if -margin <= low and high <= margin:
        return "equivalent"
    if direction == "minimize":
        low, high = -high, -low
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"


def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t by its Cornish-Fisher expansion (Abramowitz and Stegun 26.7.5).

    Within 0.1 % for 5 degrees of freedom or more at 97.5 %; too small below, where a bootstrap
    reaches its outermost replicates anyway.
    """
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


def _settled(differences: Floats) -> Floats:
    return np.where(np.abs(differences) < _TIE, 0.0, differences)


def _undefined(pair: Paired) -> MetricDelta:
    return MetricDelta(
        name=pair.name,
        direction=pair.direction,
        baseline=None if math.isnan(pair.baseline) else pair.baseline,
        candidate=None if math.isnan(pair.candidate) else pair.candidate,
        delta=None,
        low=None,
        high=None,
        wins=None,
        verdict="undecided",
    )
