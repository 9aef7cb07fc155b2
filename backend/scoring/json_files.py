"""JSON files of annotations and predictions."""

import json
import math
import re
from collections import Counter
from numbers import Real
from pathlib import Path
from typing import TypeGuard

from backend.core.errors import DataError

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises DataError with one sentence; also for a key that one object has twice, of which
    Python's reader would silently keep the last.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        data: object = json.loads(text, object_pairs_hook=_unique)
        if _HALF.search(text):  # it may have its other half
            json.dumps(data, ensure_ascii=False).encode()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    except UnicodeEncodeError:
        raise DataError(f"{path}: half a character (\\ud800 to \\udfff) in a text") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    return data


def is_number(value: object) -> TypeGuard[float]:
    """Is it a number that a float can hold, and finite?"""
    try:
        return isinstance(value, float | int | Real) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{twice}' occurs twice in one object")
    return found
