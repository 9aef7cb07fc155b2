"""Text files of any encoding, numbers as people write them, JSON lines that are still written."""

import json
import math
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from backend.core.errors import DataError

EMPTY = frozenset({"", "-", "–", "—", "n/a", "na", "none", "null", "/", "未测", "无"})
LARGEST_BYTES = 1 << 30
DEEPEST = 20


def read_text(path: Path) -> str:
    """A text in UTF-8, UTF-16 or GB18030. Raises DataError."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path}: larger than 1 GiB, which no log is; name the right file")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _decoded(path, data, "utf-16")
    if b"\0" in data[:4096]:
        raise DataError(f"{path}: not a text file; weights and archives are none")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if error.end == len(data) and error.reason == "unexpected end of data":
            return data[: error.start].decode("utf-8-sig")  # a letter half written
        return _decoded(path, data, "gb18030")


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{path}: neither UTF-8 nor {encoding}; save it as UTF-8") from None


def number(text: str, decimal_comma: bool = False) -> float | None:
    """A number as people write it; None for an empty cell. ``68.60%`` is 0.686.

    Raises ValueError for anything else.
    """
    text = unicodedata.normalize("NFKC", text).strip().replace("−", "-")
    if text.lower() in EMPTY:
        return None
    if decimal_comma:
        text = text.replace(",", ".")
    if text.endswith("%"):
        return float(f"{text[:-1].strip()}e-2")
    return float(text)


def is_percent(text: str) -> bool:
    """Is a cell written in percent?"""
    return unicodedata.normalize("NFKC", text).strip().endswith("%")


def json_lines(path: Path) -> Iterator[dict[str, object]]:
    """The objects of a file of one per line; a last line still being written is left out.

    Raises DataError naming the line.
    """
    lines = read_text(path).split("\n")
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            if place == len(lines):
                return
            raise DataError(f"{path}, line {place}: not JSON; repair or remove the line") from None
        if not isinstance(entry, dict):
            raise DataError(f"{path}, line {place}: not an object with keys and values")
        yield entry


def numbers_of(entry: dict[str, object], prefix: str = "") -> tuple[dict[str, float], list[str]]:
    """The numbers of a JSON object by name, nested names joined by ``/``; and what is none."""
    found: dict[str, float] = {}
    other: list[str] = []
    for name, value in entry.items():
        full = prefix + str(name)
        if isinstance(value, dict) and full.count("/") < DEEPEST:
            inner, rest = numbers_of(value, f"{full}/")
            found |= inner
            other += rest
        elif (real := json_number(value)) is not None:
            found[full] = real
        elif value is not None:
            other.append(full)
    return found, other


def json_number(value: object) -> float | None:
    """A JSON value as a number, also if it is written as a text; else None."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        if isinstance(value, int | float):
            return float(value)
        return number(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def whole(value: float) -> int:
    """A counter as an integer, rounded down. Raises ValueError if it is none."""
    if not math.isfinite(value) or value < 0 or value > 2**53:
        raise ValueError(f"{value} counts nothing")
    return math.floor(value)


def modified(path: Path) -> float:
    """When a file was last written, Unix seconds. Raises DataError."""
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
