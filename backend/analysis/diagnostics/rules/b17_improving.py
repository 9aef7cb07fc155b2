"""B17: the metric still rises, so more epochs are worth their time."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

from backend.analysis.diagnostics.evidence import Evidence, Floats
from backend.analysis.diagnostics.gains import Course, course_of, rate_done, settled
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.series import TREND, trend
from backend.analysis.text import plain
from backend.core.diagnosis import Fact, Shown

SHARE = 0.3
MORE = 1.5
FITS = 0.8
"""R squared of the fit that a forecast needs."""
FITTED = 5
"""Values that three unknowns are fitted to."""
REACH = 1.96


@dataclass(frozen=True)
class Forecast:
    """How much the metric is expected to gain by half as many steps again, and within what."""

    gain: float
    low: float
    high: float
    fits: float


def judge(evidence: Evidence) -> Verdict:
    """A trend in the newest evaluations, or the best of all at the very end."""
    course = course_of(evidence)
    if isinstance(course, Unknown):
        return course
    if settled(course) and rate_done(evidence):
        return Clear()  # B16 speaks
    z = trend(course.values[-course.newest(SHARE) :])
    ahead = float(course.values[-1] - course.values[:-1].max())
    if z <= TREND and ahead <= course.least:
        return Clear()
    return _rising(course, z, evidence)


def _rising(course: Course, z: float, evidence: Evidence) -> Fired:
    forecast = _shown(course, extrapolate(course, (evidence.steps or evidence.step) * MORE))
    now = course.value(course.best)
    facts = [
        Fact(name=f"best {course.key}", value=now, step=course.step(course.best)),
        Fact(name="trend of the newest evaluations (z)", value=z, limit=TREND),
    ]
    expected = ""
    if forecast:
        expected = (
            f"; half as many epochs again should gain {plain(round(forecast.gain, 4))} "
            f"({plain(round(forecast.low, 4))} to {plain(round(forecast.high, 4))})"
        )
        facts += [
            Fact(name="expected gain", value=forecast.gain),
            Fact(name="R squared of the fit", value=forecast.fits, limit=FITS),
        ]
    return Fired(
        severity="info",
        headline=f"Still improving: {course.key} is {plain(now)} and rises{expected}",
        cause="the metric had not settled when it was last measured",
        advice=ADVICE,
        evidence=tuple(facts),
        curves=(Shown(key=course.key),),
        step=course.step(len(course.values) - 1),
    )


def _shown(course: Course, forecast: Forecast | None) -> Forecast | None:
    """Within what the metric can reach; None if its interval includes no gain."""
    if forecast is None or forecast.low <= 0:
        return None
    room = course.most - float(course.values.max())
    gain, low, high = (min(v, room) for v in (forecast.gain, forecast.low, forecast.high))
    return Forecast(gain, low, high, forecast.fits)


def extrapolate(course: Course, end: float) -> Forecast | None:
    """An exponential approach to a limit, ``a - b exp(-t / tau)``, from the first value that rises
    on; None if it explains less than 80 % of the spread. The interval is of the fitted course
    (95 %, delta method)."""
    start = int(np.argmin(course.values))
    t = course.curve.steps[start:].astype(np.float64)
    y = course.values[start:]
    if len(y) < FITTED:
        return None
    t0, span = float(t[0]), float(t[-1] - t[0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", OptimizeWarning)
            found, covariance = curve_fit(
                _approach, (t - t0) / span, y, p0=(y.max(), float(np.ptp(y)), 0.5),
                bounds=((-np.inf, 0, 0.01), (np.inf, np.inf, 100)), maxfev=2000,
            )  # fmt: skip
    except (RuntimeError, OptimizeWarning):
        return None
    fits = 1 - float(
        ((y - _approach((t - t0) / span, *found)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    )
    if fits <= FITS:
        return None
    return _forecast(found, covariance, (end - t0) / span, fits)


def _approach(t: Floats, a: float, b: float, tau: float) -> Floats:
    return np.asarray(a - b * np.exp(-t / tau))


def _forecast(found: Floats, covariance: Floats, end: float, fits: float) -> Forecast:
    """The gain from the last evaluation, at 1, to ``end``."""
    _, b, tau = (float(v) for v in found)
    near, far = math.exp(-1 / tau), math.exp(-end / tau)
    gradient = np.array([0.0, near - far, b * (near / tau**2 - far * end / tau**2)])
    gain = b * (near - far)
    reach = REACH * math.sqrt(max(0.0, float(gradient @ covariance @ gradient)))
    return Forecast(gain, max(0.0, gain - reach), gain + reach, fits)


ADVICE = Advice(
    text="Train half as many epochs again",
    change=(Turn("epochs", times=(MORE,)),),
)

RULE = Rule(
    id="B17",
    title="Not yet converged",
    judge=judge,
    needs="The metric that ranks checkpoints, at 8 evaluations or more.",
    condition="The last 30 % of the evaluations rise (Mann-Kendall z > 1.96), or the last one is "
    "the best by more than half a point or the noise, unless the run has converged (B16).",
    threshold="z > 1.96; a forecast is given only if an exponential fit has R squared over 0.8 "
    "and its interval is above 0, and ends where the metric does.",
    source="Mann-Kendall test; exponential approach by least squares, interval by the delta "
    "method.",
    example="A run that is stopped at 40 % of its steps is best at its last evaluation.",
    confirm=1,
)
