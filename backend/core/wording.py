"""Names in sentences."""

from collections.abc import Iterable


def some(names: Iterable[str]) -> str:
    """Names for a sentence: not more than a few."""
    listed = list(names)
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return ", ".join(listed[:5]) + more
