"""Comparisons repeated on many simulated data sets whose true difference is known."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.analysis.paired import compare_evidence
from backend.analysis.settings import ComparisonSettings
from backend.core.comparisons import MetricDelta
from backend.scoring.evidence import Evidence, Task
from tests.support.evidence import Drawn


@dataclass
class Outcome:
    """What the comparisons of one scenario said.

    ``held`` is how often the interval of each metric held the true difference, and ``asked``
    how often there was one; ``small`` counts p-values of the primary metric below 0.05.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    small: int = 0
    trials: int = 0

    def add(self, deltas: Sequence[MetricDelta], primary: str, truth: dict[str, float]) -> None:
        """Take in one comparison."""
        self.trials += 1
        for delta in deltas:
            if delta.low is None or delta.high is None or np.isnan(truth[delta.name]):
                continue
            self.asked[delta.name] += 1
            self.held[delta.name] += delta.low <= truth[delta.name] <= delta.high
            if delta.name == primary:
                self.verdicts[delta.verdict] += 1
                self.small += delta.p_value is not None and delta.p_value < 0.05

    def share(self, *verdicts: str) -> float:
        """The share of comparisons with one of these verdicts."""
        return sum(self.verdicts[word] for word in verdicts) / self.trials

    def coverage(self, *metrics: str) -> float:
        """The share of intervals of these metrics (none given: of all) that held the truth."""
        names = metrics or tuple(self.asked)
        return sum(self.held[n] for n in names) / sum(self.asked[n] for n in names)


def repeat(
    task: Task,
    pools: tuple[Evidence, Evidence],
    units: int,
    trials: int,
    settings: ComparisonSettings,
    alike: bool = False,
) -> Outcome:
    """Compare two models on ``trials`` data sets of ``units`` units, drawn with replacement.

    ``pools`` are both models on one large set of units: its metrics are the true values of the
    population that the data sets come from. ``alike`` hands each unit's two results to the two
    sides by chance, so that the sides are two draws of one model and the truth is exactly zero.
    """
    old, new = pools
    pool_units = len(old.units)
    eye = np.eye(pool_units, dtype=np.uint16)
    defined = ~np.isnan(old.table(eye))
    ones = np.ones((1, pool_units), dtype=np.uint16)
    truth = dict(zip(old.columns, (new.table(ones) - old.table(ones))[0], strict=True))
    wanted = {c.metric: 0.0 if alike else float(v) for c, v in truth.items() if not c.label}
    for spec in task.metrics:
        if spec.unit == "count" and spec.name in wanted:  # sums grow with the data
            wanted[spec.name] *= units / pool_units
    both = old.joined(new) if alike else None
    rng = np.random.default_rng(7)
    outcome = Outcome()
    for trial in range(trials):
        places = rng.integers(0, pool_units, units)
        if both is None:
            sides = (Drawn(old, places, defined), Drawn(new, places, defined))
        else:
            sides = _dealt(both, np.vstack([defined, defined]), places, rng)
        seeded = settings.model_copy(update={"seed": trial})
        found = compare_evidence(task, *sides, seeded)
        outcome.add(found.metrics, task.primary, wanted)
    return outcome


def _dealt(
    both: Evidence, defined: NDArray[np.bool_], places: NDArray[np.intp], rng: np.random.Generator
) -> tuple[Drawn, Drawn]:
    swap = rng.integers(0, 2, len(places)) * (len(defined) // 2)
    return (
        Drawn(both, places + swap, defined),
        Drawn(both, places + len(defined) // 2 - swap, defined),
    )
