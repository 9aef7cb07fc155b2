"""Numbers, times and signs as people read them. One place, so that every page agrees."""

import math
from datetime import UTC, datetime

MINUS = "−"
SHORT = 8


def number(value: float | None, digits: int = 4) -> str:
    """A metric: four decimals below one, four significant digits above, ``–`` for None.

    Decimals are kept below one so that columns of shares align.
    """
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else f"{MINUS}∞")
    size = abs(value)
    if size == 0 or 5e-4 <= size < 1:
        text = f"{size:.{digits}f}"
    elif 1 <= size < 1e5:
        text = f"{size:.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
    else:
        text = f"{size:.{digits - 2}e}".replace("e-0", "e-").replace("e+0", "e")
    return (MINUS if value < 0 else "") + text.replace("e-", f"e{MINUS}")


def signed(value: float | None) -> str:
    """A difference, always with its sign."""
    return _with_sign(value, number(value))


def measured(value: float | None, unit: str = "") -> str:
    """A metric in its unit: counts are whole, or have one decimal (means of several)."""
    if unit != "count" or value is None or not math.isfinite(value):
        return number(value)
    size = round(abs(value), 1)
    text = f"{size:,.0f}" if size.is_integer() else f"{size:,.1f}"
    return (MINUS if value < 0 and size else "") + text


def gained(value: float | None, unit: str = "") -> str:
    """A difference of a metric in its unit, always with its sign."""
    return _with_sign(value, measured(value, unit))


def _with_sign(value: float | None, text: str) -> str:
    plain = value is None or math.isnan(value) or value <= 0 or text == "0"
    return text if plain else f"+{text}"


def plain(value: object) -> str:
    """A parameter: long numbers cut to four digits, texts as they are, nothing as ``–``."""
    if value is None or value == "":
        return "–"
    text = str(value)
    try:
        as_float = float(text)
    except ValueError:
        return text
    if isinstance(value, str) and len(text) <= SHORT:
        return text  # "1.10" may be a version
    return f"{as_float:.4g}".replace("e-0", "e-").replace("-", MINUS)


def percent(share: float | None) -> str:
    """A share of one in percent."""
    return "–" if share is None else f"{100 * share:.1f} %"


def duration(seconds: float | None) -> str:
    """``42 s``, ``3 min 05 s``, ``2 h 10 min`` or ``3 d 4 h``."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def moment(unix: float | None) -> str:
    """Local date and time to the minute."""
    if unix is None:
        return "–"
    return datetime.fromtimestamp(unix, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def count(n: int, noun: str) -> str:
    """``1 run``, ``1,200 runs``; nouns take a plain s."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def cut(name: str, longest: int = 18) -> str:
    """A name that a person chose, short enough for an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
