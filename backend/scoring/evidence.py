"""What one model did on a set of units, so that the metrics of any multiset of them follow.

A unit is what is drawn as a whole when a comparison resamples: an image, a sequence, a video, a
clip. Predictions are matched to ground truth once, within their unit; drawing a unit twice only
makes its matches count twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from backend.config.schema import Section
from backend.core.records import Direction, MetricSpec, Record

Floats = NDArray[np.float64]
Counts = NDArray[np.uint16]
Arrays = Mapping[str, NDArray[Any]]


class Column(NamedTuple):
    """One number of the table: a metric over all classes, or of the class ``label``."""

    metric: str
    label: str = ""


class Scores(Record):
    """Metrics of one model on one set of units; None where a metric is undefined.

    ``per_class`` and ``per_unit`` map a class or unit to its own metrics.
    """

    task: str
    metrics: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    per_unit: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    units: int
    warnings: tuple[str, ...] = ()


class Evidence(Protocol):
    """The matches of one model, per unit."""

    @property
    def units(self) -> tuple[str, ...]:
        """The units' names, in the order of the columns of ``counts``."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """What ``table`` computes."""

    @property
    def truth_digest(self) -> str:
        """Sha256 over units, classes and ground truth: equal for two models on the same data."""

    def scores(self) -> Scores:
        """The metrics of all units, each counted once."""

    def table(self, counts: Counts) -> Floats:
        """Metrics of multisets of units.

        ``counts`` is (replicates, units): how often each unit was drawn, 0 to leave it out.
        Returns (replicates, columns), NaN where a metric is undefined. A row of ones gives
        the numbers of ``scores``.
        """

    def carrying(self) -> NDArray[np.int64]:
        """For each column, how many units carry ground truth for it."""

    def joined(self, other: Self) -> Self:
        """The units of both, these first: a unit of each model can then be drawn at will.

        Raises DataError if their classes or settings differ.
        """

    def arrays(self) -> Arrays:
        """All of it as arrays without objects, for ``Task.restore``."""


@dataclass(frozen=True)
class Task:
    """A kind of prediction that can be scored.

    ``unit`` is what a comparison resamples; ``primary`` the metric that decides one, and
    ``unit_metric`` the key of ``Scores.per_unit`` that ranks units. ``evaluator`` names code
    and version. ``read`` scores files: ground truth, predictions, an instance of ``options``.
    ``restore`` is the inverse of ``Evidence.arrays``. ``published`` maps metrics to the names
    that the field's evaluator prints, where ours are others.
    """

    name: str
    unit: str
    primary: str
    unit_metric: str
    evaluator: str
    metrics: tuple[MetricSpec, ...]
    options: type[Section]
    read: Callable[[Path, Path, Any], Evidence]
    restore: Callable[[Arrays], Evidence]
    published: Mapping[str, str] = field(default_factory=dict)

    def direction(self, metric: str) -> Direction:
        """Whether more of a metric is better; higher is, where nothing else is said."""
        found = next((spec.direction for spec in self.metrics if spec.name == metric), None)
        return found or "maximize"

    def unit_of(self, metric: str) -> str:
        """What a metric is counted in; empty for shares."""
        return next((spec.unit for spec in self.metrics if spec.name == metric), "")
