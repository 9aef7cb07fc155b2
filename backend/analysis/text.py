"""Numbers as a careful report prints them: rounded, with a true minus sign, never NaN."""

import math

from backend.core.records import MetricDelta, Verdict

ABSENT = "–"

_SAID: dict[Verdict, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "equivalent": "is equivalent to",
    "undecided": "cannot be told apart from",
}


def said(verdict: Verdict) -> str:
    """What the candidate is, ahead of the baseline's name."""
    return _SAID[verdict]


def number(value: float | None, digits: int = 3) -> str:
    """``0.412``; a dash for what is undefined. What rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return ABSENT
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def signed(value: float | None, digits: int = 3) -> str:
    """``+0.041`` or ``−0.041``; zero has no sign."""
    text = number(value, digits)
    plain = value is None or text == ABSENT or float(text.replace("−", "-")) <= 0
    return text if plain else f"+{text}"


def percent(share: float | None, digits: int = 0) -> str:
    """``97 %``; a dash for what is undefined."""
    return ABSENT if share is None else f"{number(100 * share, digits)} %"


def share(wins: float | None) -> str:
    """A share of replicates: ``97 %``, and 0 or 100 only where it was none or all."""
    if wins is not None and 0 < wins < 0.005:
        return "<1 %"
    if wins is not None and 0.995 < wins < 1:
        return ">99 %"
    return percent(wins)


def interval(delta: MetricDelta, digits: int = 3) -> str:
    """``+0.011 to +0.073``; a dash where there is none."""
    if delta.low is None or delta.high is None:
        return ABSENT
    return f"{signed(delta.low, digits)} to {signed(delta.high, digits)}"


def level(confidence: float) -> str:
    """``95 %``, ``99.5 %``."""
    return f"{100 * confidence:g} %"
