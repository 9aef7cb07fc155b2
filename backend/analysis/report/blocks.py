"""What a report is made of: Markdown, and pictures that only its HTML shows."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARKUP = re.compile(r"[\\`*<\[&~|]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Drawing:
    """An SVG element, drawn for any background, below a heading of its own."""

    title: str
    about: str
    svg: str


@dataclass(frozen=True)
class Photo:
    """An image file that is put into the page."""

    about: str
    path: Path


Block = str | Drawing | Photo


@dataclass(frozen=True)
class Document:
    """A report. Its first block is the title."""

    title: str
    blocks: tuple[Block, ...]

    def markdown(self) -> str:
        """The text and tables."""
        texts = [block for block in self.blocks if isinstance(block, str)]
        return "\n\n".join(texts) + "\n"


def cell(value: str) -> str:
    """A name from elsewhere, on one line and without any meaning as Markdown."""
    return _MARKUP.sub(lambda found: "\\" + found[0], " ".join(value.split()))


def code(value: str) -> str:
    """A name as code, also inside a table."""
    shown = " ".join(value.replace("`", "'").split()).replace("|", "\\|")
    return f"`{shown}`" if shown else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A Markdown table; columns after the first ``left`` are right-aligned."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of names and values; empty values are left out."""
    return table(("", ""), [row for row in rows if row[1]], left=2)


def bullets(sentences: Iterable[str]) -> str:
    """A list of sentences."""
    return "\n".join(f"- {' '.join(sentence.split())}" for sentence in sentences)
