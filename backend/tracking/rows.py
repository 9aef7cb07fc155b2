"""What the store asks of a database, before it becomes records.

Two ways answer: ``SqliteRows`` reads a home's file, ``ClientRows`` any MLflow, a server too.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backend.tracking.names import Kind

INFINITE = 1.7976931348623157e308  # MLflow's databases keep infinity as the largest double
Point = tuple[int, float | None, float]
"""Step, value as stored (None: not a number), Unix time in seconds."""


@dataclass(frozen=True)
class RunRow:
    """An MLflow run; times in milliseconds, ``metrics`` the latest values."""

    run_id: str
    name: str
    status: str
    started: int
    ended: int | None
    artifacts: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ModelRow:
    """A LoggedModel: a checkpoint of a run."""

    model_id: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class VersionRow:
    """A version of a registered model, and where its files are."""

    model: str
    version: str
    source: str
    tags: Mapping[str, str]


class Rows(Protocol):
    """Reads an MLflow database; deleted runs and models are left out."""

    def runs(self, kind: Kind) -> list[RunRow]:
        """Newest first."""

    def history(self, run_id: str, key: str) -> list[Point]:
        """All values of a metric, ordered by step and then by time."""

    def models(self, run_id: str) -> list[ModelRow]:
        """The checkpoints of a run, in the order of their logging."""

    def aliased(self, alias: str) -> list[VersionRow]:
        """The version behind an alias, for each registered model that has it."""

    def text(self, run: RunRow, name: str) -> str | None:
        """An artifact of a run, if there is one of that name."""

    def files(self, run: RunRow, folder: str) -> dict[str, bytes]:
        """The artifacts in a folder of a run, by name."""


class NoRows:
    """A home in which nothing was ever logged."""

    def runs(self, kind: Kind) -> list[RunRow]:
        return []

    def history(self, run_id: str, key: str) -> list[Point]:
        return []

    def models(self, run_id: str) -> list[ModelRow]:
        return []

    def aliased(self, alias: str) -> list[VersionRow]:
        return []

    def text(self, run: RunRow, name: str) -> str | None:
        return None

    def files(self, run: RunRow, folder: str) -> dict[str, bytes]:
        return {}


def real(value: float | None) -> float:
    """A stored value as it was logged."""
    if value is None:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) >= INFINITE else value


def contents(folder: Path | None) -> dict[str, bytes]:
    """The finished files of a folder by name, sorted; hidden ones are still being written."""
    if folder is None:
        return {}
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in paths}


def local_file(uri: str, artifacts: Path, name: str) -> Path | None:
    """A file below a local artifact URI, even after the home was moved.

    Ours are ``artifacts/<experiment>/<id>/artifacts`` or, for models,
    ``artifacts/<experiment>/models/<id>/artifacts``.
    """
    folder = Path(uri.removeprefix("file://"))
    moved = [artifacts.joinpath(*folder.parts[-count:]) for count in (3, 4)]
    found = [place / name for place in (folder, *moved) if (place / name).exists()]
    return found[0] if found else None
