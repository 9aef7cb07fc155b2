"""What a config comes to, in words: tables for the report of a run."""

from dataclasses import dataclass
from typing import Literal

Section = Literal["data", "model", "optimisation"]


@dataclass(frozen=True)
class Described:
    """A table for people; ``section`` is the part of the report that it belongs to.

    All cells are plain text. A ``head`` of empty names is a table of facts: a name, its value.
    """

    section: Section
    title: str
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = ("", "")
