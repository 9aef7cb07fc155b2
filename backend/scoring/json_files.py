"""JSON files of annotations and predictions."""

import json
from collections import Counter
from pathlib import Path

from backend.core.errors import DataError


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises DataError with one sentence; also for a key that one object has twice, of which
    Python's reader would silently keep the last.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            data: object = json.load(file, object_pairs_hook=_unique)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    return data


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key '{twice}' occurs twice in one object")
    return found
