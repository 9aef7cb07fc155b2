"""Numbers as a careful report prints them: rounded, with a true minus sign, never NaN."""

import math
from collections.abc import Iterable

from backend.core.comparisons import MetricDelta, Verdict

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


def counted(values: Iterable[float | None]) -> bool:
    """Are these numbers of things, and not shares?"""
    found = [value for value in values if value is not None]
    return max(found, default=0) > 1 and all(float(value).is_integer() for value in found)


def digits_of(unit: str, digits: int = 3) -> int:
    """Digits of a metric after the point: none, if it counts."""
    return 0 if unit == "count" else digits


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
    """``97 %``, and 0 or 100 only where it was none or all."""
    if wins is not None and 0 < wins < 0.005:
        return "<1 %"
    if wins is not None and 0.995 < wins < 1:
        return ">99 %"
    return percent(wins)


def interval(delta: MetricDelta, digits: int = 3) -> str:
    """``+0.011 to +0.073``; a dash where there is none."""
    return bounds(delta.low, delta.high, digits)


def bounds(low: float | None, high: float | None, digits: int = 3) -> str:
    """The same of any two bounds."""
    if low is None or high is None:
        return ABSENT
    return f"{signed(low, digits)} to {signed(high, digits)}"


def p_value(value: float | None) -> str:
    """``0.012``; never zero, which no resampling can show."""
    return "<0.001" if value is not None and value < 0.0005 else number(value)


def level(confidence: float) -> str:
    """``95 %``, ``99.5 %``."""
    return f"{100 * confidence:g} %"


def significant(value: float, digits: int = 2) -> str:
    """A signed number to significant digits, without an exponent where that can be read:
    ``+0.00015``."""
    if not math.isfinite(value) or value == 0:
        return number(value, 0)
    if not 1e-7 <= abs(value) < 1e6:
        return f"{value:+.{digits - 1}e}".replace("-", "−")
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value
    return signed(value, max(0, digits - 1 - exponent))


def minutes(seconds: float) -> str:
    """``1.5 min``; seconds and hours where those read better."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def sentence(said: str) -> str:
    """With a capital and a stop; nothing stays nothing."""
    end = "" if said.endswith("?") or not said else "."
    return f"{said[:1].upper()}{said[1:].rstrip('.')}{end}"


def plural(count: int, noun: str) -> str:
    """``1 image``, ``2,000 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def scored_on(units: int, unit: str, split: str) -> str:
    """``120 images of 'holdout'``; files of predictions have no split."""
    return plural(units, unit) + (f" of '{split}'" if split else "")


def plain(value: float | None) -> str:
    """A setting or a measured size as it is, to six digits: ``0.001``, ``12.2``."""
    return ABSENT if value is None else f"{value:g}".replace("-", "−", 1)
