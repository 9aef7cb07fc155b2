"""What a config comes to, as its trainer tells it."""

from collections.abc import Iterable

from backend.analysis.report.blocks import Block, cell, facts, table
from backend.core.description import Described, Section


def of(tables: Iterable[Described], section: Section) -> list[Block]:
    """The tables of one section of the report, each below its title."""
    return [
        block
        for found in tables
        if found.section == section
        for block in (f"### {cell(found.title)}", _table(found))
    ]


def _table(found: Described) -> str:
    rows = [tuple(map(cell, row)) for row in found.rows]
    if not any(found.head):
        return facts((row[0], row[1]) for row in rows)
    return table(tuple(map(cell, found.head)), rows, left=len(found.head))
