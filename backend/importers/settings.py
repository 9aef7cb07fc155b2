"""A table of settings, such as a report has them: a row per setting, a column per case."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from backend.core.errors import DataError

CHANGES = frozenset(
    {"change", "delta", "diff", "difference", "improvement", "gain", "变化", "差", "δ", "提升"}
)
"""Columns of differences, which are no measurements and no settings."""

NAMES = frozenset(
    {"setting", "settings", "option", "parameter", "parameters", "param", "item", "config"}
    | {"配置项", "配置", "参数", "项目", "选项", "设置"}
)
"""What the column of their names is called."""

Row = tuple[int, Sequence[str]]
"""A line's number and its cells."""


def is_settings(header: Sequence[str]) -> bool:
    """Do the rows of a table with this header hold settings?"""
    return len(header) > 1 and header[0].strip().lower() in NAMES


def read_settings(
    path: Path, header: Sequence[str], rows: Sequence[Row]
) -> tuple[dict[str, str], list[str]]:
    """Values by name, behind their column's name and a dot if there are several; and notes.

    Raises DataError for a setting that is there twice with two values.
    """
    notes = [
        f"{path.name}: column '{name}' is left out: a difference, not a setting"
        for name in header[1:]
        if name.strip().lower() in CHANGES
    ]
    cases = [at for at in range(1, len(header)) if header[at].strip().lower() not in CHANGES]
    found: dict[str, str] = {}
    for line, cells in rows:
        for at in cases:
            case = f"{_name(header[at])}." if len(cases) > 1 else ""
            key = case + _name(cells[0])
            value = cells[at].replace("*", "").replace("`", "").strip()
            if found.setdefault(key, value) != value:
                raise DataError(
                    f"{path}, line {line}: '{key}' is '{found[key]}' above and '{value}' here; "
                    "keep one of them"
                )
    return found, notes


def _name(text: str) -> str:
    """Without markup, and without the dot that parts a name from its section."""
    plain = unicodedata.normalize("NFKC", text)
    return " ".join(re.sub(r"[^\w\-: ]", " ", plain).split())
