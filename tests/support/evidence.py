"""Small evidence of our own: what a comparison needs of a task, and nothing more."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.config.schema import Section
from backend.core.records import MetricSpec
from backend.scoring.evidence import Arrays, Column, Counts, Evidence, Floats, Scores, Task


@dataclass(frozen=True)
class CountEvidence:
    """Hits, inventions and misses per unit: F1, its value per class, and the misses.

    ``counts`` is (units, classes, 3). A class without hits and misses is undefined.
    """

    found: NDArray[np.int64]
    digest: str = "t" * 64

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(f"unit {number}" for number in range(len(self.found)))

    @property
    def columns(self) -> tuple[Column, ...]:
        classes = range(self.found.shape[1])
        return (
            Column("f1"),
            Column("missed"),
            *(Column("f1", f"class {label}") for label in classes),
        )

    @property
    def truth_digest(self) -> str:
        return self.digest

    def table(self, counts: Counts) -> Floats:
        flat = self.found.reshape(len(self.found), -1).astype(np.float64)
        totals = (counts.astype(np.float64) @ flat).reshape(len(counts), -1, 3)
        hits, inventions, misses = np.moveaxis(totals, 2, 0)
        with np.errstate(invalid="ignore"):
            f1 = np.where(hits + misses > 0, 2 * hits / (2 * hits + inventions + misses), np.nan)
        defined = ~np.isnan(f1)
        mean = np.full(len(f1), np.nan)
        some = defined.any(axis=1)
        mean[some] = np.nanmean(f1[some], axis=1)
        return np.column_stack([mean, misses.sum(axis=1), f1])

    def scores(self) -> Scores:
        ones = np.ones((1, len(self.units)), dtype=np.uint16)
        alone = self.table(np.eye(len(self.units), dtype=np.uint16))
        values = [None if np.isnan(v) else float(v) for v in self.table(ones)[0]]
        return Scores(
            task="counts",
            metrics={"f1": values[0], "missed": values[1]},
            per_class={f"class {label}": {"f1": v} for label, v in enumerate(values[2:])},
            per_unit={
                unit: {"f1": None if np.isnan(row[0]) else float(row[0])}
                for unit, row in zip(self.units, alone, strict=True)
            },
            units=len(self.units),
        )

    def carrying(self) -> NDArray[np.int64]:
        truths = self.found[:, :, 0] + self.found[:, :, 2] > 0
        some = truths.any(axis=1).sum()
        return np.array([some, some, *truths.sum(axis=0)], dtype=np.int64)

    def joined(self, other: Self) -> Self:
        return type(self)(np.concatenate([self.found, other.found]))

    def arrays(self) -> Arrays:
        return {"found": self.found, "digest": np.array(self.digest)}


def counted(
    units: int = 60, skill: float = 0.6, seed: int = 0, truth: int = 0, classes: int = 2
) -> CountEvidence:
    """A model that finds each of some 4 objects a class and unit with the chance ``skill``.

    ``truth`` seeds the objects, ``seed`` what the model makes of them.
    """
    objects = np.random.default_rng(truth).poisson(4, (units, classes))
    rng = np.random.default_rng([seed, 1])
    hits = rng.binomial(objects, skill)
    inventions = rng.poisson(4 * (1 - skill), (units, classes))
    return CountEvidence(np.stack([hits, inventions, objects - hits], axis=2))


def _read(gt: Path, pred: Path, options: Any) -> Evidence:
    raise NotImplementedError(f"made evidence is in no file: {gt}, {pred}, {options}")


COUNTS = Task(
    name="counts",
    unit="unit",
    primary="f1",
    unit_metric="f1",
    evaluator="counts 1",
    metrics=(
        MetricSpec(name="f1", direction="maximize"),
        MetricSpec(name="missed", direction="minimize", unit="objects"),
    ),
    options=Section,
    read=_read,
    restore=lambda arrays: CountEvidence(arrays["found"], str(arrays["digest"])),
)


@dataclass(frozen=True)
class Drawn:
    """A data set of units drawn from a large pool of evidence, with replacement.

    Matching was done once, in the pool; ``places`` are the pool's units in the data set, which
    may stand there more than once. For simulations: the pool's own metrics are the truth.
    """

    pool: Evidence
    places: NDArray[np.intp]
    defined: NDArray[np.bool_] = field(repr=False)

    @property
    def units(self) -> tuple[str, ...]:
        return tuple(str(number) for number in range(len(self.places)))

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.pool.columns

    @property
    def truth_digest(self) -> str:
        return "drawn"

    def table(self, counts: Counts) -> Floats:
        spread = np.zeros((len(self.pool.units), len(counts)), dtype=np.uint16)
        np.add.at(spread, self.places, counts.T)
        return self.pool.table(np.ascontiguousarray(spread.T))

    def scores(self) -> Scores:
        ones = np.ones((1, len(self.places)), dtype=np.uint16)
        row = zip(self.columns, self.table(ones)[0], strict=True)
        metrics = {c.metric: None if np.isnan(v) else float(v) for c, v in row if not c.label}
        return Scores(task="drawn", metrics=metrics, units=len(self.places))

    def carrying(self) -> NDArray[np.int64]:
        return np.asarray(self.defined[self.places].sum(axis=0))

    def joined(self, other: Self) -> Self:
        return type(self)(self.pool, np.concatenate([self.places, other.places]), self.defined)

    def arrays(self) -> Arrays:
        raise NotImplementedError("a drawn data set is not kept")
