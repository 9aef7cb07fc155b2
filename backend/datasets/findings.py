"""How the check of a data set tells what it found."""

from typing import Literal

from backend.core.evidence import DataFinding

Level = Literal["error", "warning", "note"]


def finding(code: str, level: Level, split: str, sentence: str, **numbers: float) -> DataFinding:
    """A finding; the sentence without its full stop."""
    return DataFinding(
        code=code, level=level, split=split, sentence=f"{sentence}.", numbers=numbers
    )
