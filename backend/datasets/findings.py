"""How the check of a data set tells what it found, and what must not be trained on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from backend.core.errors import DataError
from backend.core.evidence import DataFinding

Level = Literal["error", "warning", "note"]


def finding(code: str, level: Level, split: str, sentence: str, **numbers: float) -> DataFinding:
    """A finding; the sentence without its full stop."""
    return DataFinding(
        code=code, level=level, split=split, sentence=f"{sentence}.", numbers=numbers
    )


def errors_of(findings: Sequence[DataFinding]) -> tuple[DataFinding, ...]:
    """The findings that training must not begin with."""
    return tuple(one for one in findings if one.level == "error")


def refuse(source: Path, findings: Sequence[DataFinding], lister: str) -> None:
    """Raise DataError with the first error, if there is one; the command ``lister`` lists all."""
    errors = errors_of(findings)
    if not errors:
        return
    first, more = errors[0], len(errors) - 1
    where = f"{source}{f', {first.split}' if first.split else ''}"
    rest = f" (and {more} more: {lister} lists them)" if more else ""
    raise DataError(f"{where}: {first.code}: {first.sentence.removesuffix('.')}{rest}")
