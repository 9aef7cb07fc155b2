"""What an importer finds in a run that others trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend.core.errors import DataError
from backend.core.records import Direction, EvalReport, MetricSpec
from backend.importers.keys import direction_of, headline_among


@dataclass(frozen=True)
class Point:
    """Values at one step. ``step`` is the epoch where nothing finer is known; ``time`` is Unix
    seconds."""

    step: int
    epoch: int
    time: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Weights:
    """A weight file, never opened but for its digest. ``best``: the source calls it so."""

    path: Path
    epoch: int
    step: int
    best: bool = False


@dataclass(frozen=True)
class Asked:
    """What a person says of a source that it does not say itself.

    ``rename`` maps a name of the source to a metric key; ``epochs`` is how many were planned.
    """

    name: str = ""
    headline: str = ""
    direction: Direction | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    epochs: int | None = None


@dataclass(frozen=True)
class Found:
    """A source as read: the whole of it, each time.

    ``trainer`` is who logged it. ``paths`` identify the source; ``points`` are in order of
    step. ``epochs`` is what was planned (0: unknown). ``finished``: has it come to its end?
    None where the source cannot say. ``texts`` are kept as they are, never executed.
    ``score`` evaluates predictions and writes the evidence to a folder. ``named``: a person chose
    the name.
    """

    trainer: str
    paths: tuple[Path, ...]
    name: str
    points: tuple[Point, ...] = ()
    weights: tuple[Weights, ...] = ()
    params: dict[str, object] = field(default_factory=dict)
    texts: tuple[Path, ...] = ()
    epochs: int = 0
    headline: str = ""
    specs: tuple[MetricSpec, ...] = ()
    notes: tuple[str, ...] = ()
    finished: bool | None = None
    started: float | None = None
    score: Callable[[Path], EvalReport] | None = None
    named: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All metric keys, sorted."""
        return tuple(sorted({key for point in self.points for key in point.metrics}))


def described(found: Found, asked: Asked) -> Found:
    """``found`` with its name, headline metric, directions and planned epochs.

    Raises DataError for a source without values or a headline that it does not have.
    """
    if not any(point.metrics for point in found.points):
        raise DataError(f"{_shown(found)}: no measured value in it, so there is nothing to import")
    headline = _headline(found, asked)
    specs = tuple(_spec(key, headline, asked.direction) for key in found.keys)
    planned = asked.epochs or found.epochs
    epochs = {point.epoch for point in found.points}
    finished = found.finished
    if finished is None and planned:
        finished = max(epochs) + (min(epochs) == 0) >= planned
    if direction_of(headline) is None and asked.direction is None:
        found = _noting(
            found,
            f"nobody said whether more or less of {headline} is better, so no epoch is called "
            "the best; say --direction maximize or minimize",
        )
    return replace(
        found,
        name=asked.name or found.name,
        named=bool(asked.name),
        headline=headline,
        specs=tuple({spec.name: spec for spec in specs}.values()),
        epochs=planned or max(epochs),
        finished=finished,
    )


def _headline(found: Found, asked: Asked) -> str:
    wanted = asked.headline or found.headline
    if not wanted:
        return headline_among(found.keys)
    matches = [key for key in found.keys if wanted in (key, key.split("/", 1)[1])]
    if not matches:
        raise DataError(
            f"{_shown(found)}: no metric '{wanted}' for the headline; there is: "
            f"{', '.join(found.keys)}"
        )
    return matches[-1]


def _spec(key: str, headline: str, asked: Direction | None) -> MetricSpec:
    direction = direction_of(key)
    if key == headline and asked is not None:
        direction = asked
    return MetricSpec(name=key.split("/", 1)[1], direction=direction)


def _noting(found: Found, note: str) -> Found:
    return replace(found, notes=(*found.notes, note))


def _shown(found: Found) -> str:
    return ", ".join(str(path) for path in found.paths)
