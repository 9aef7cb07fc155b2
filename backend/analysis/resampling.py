"""Which units are drawn: bootstrap, jackknife and swapped models, all as counts per unit."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.scoring.evidence import Counts, Evidence, Floats

GROUPS = 100
"""Most groups that the jackknife leaves out, so that its cost does not grow with the data."""


class Tabled(Protocol):
    """What has numbers for any multiset of units."""

    def table(self, counts: Counts) -> Floats:
        """(replicates, columns) of ``counts`` (replicates, units)."""


class Resampled(NamedTuple):
    """The metrics of one model: as they are (columns), in each bootstrap replicate, and with
    each group of units left out (rows, columns)."""

    observed: Floats
    replicates: Floats
    left_out: Floats


def bootstrap_counts(units: int, replicates: int, seed: int) -> Counts:
    """How often each unit was drawn, (replicates, units): with replacement, ``units`` draws."""
    generator = np.random.default_rng(seed)
    counts = np.empty((replicates, units), dtype=np.uint16)
    for row in range(replicates):
        counts[row] = np.bincount(generator.integers(0, units, units), minlength=units)
    return counts


def jackknife_counts(units: int, groups: int = GROUPS) -> Counts:
    """All units but one group, (groups, units); every ``groups``-th unit is of one group."""
    groups = min(groups, units)
    kept = np.arange(units) % groups != np.arange(groups)[:, None]
    return np.asarray(kept, dtype=np.uint16)


def resample(evidence: Tabled, drawn: Counts) -> Resampled:
    """One model on the data, on the multisets ``drawn``, and with each group left out."""
    units = drawn.shape[1]
    as_is = np.ones((1, units), dtype=np.uint16)
    table = evidence.table(np.concatenate([as_is, drawn, jackknife_counts(units)]))
    return Resampled(table[0], table[1 : len(drawn) + 1], table[len(drawn) + 1 :])


def swapped_differences(
    baseline: Evidence, candidate: Evidence, permutations: int, seed: int
) -> Floats:
    """Candidate minus baseline after the models were swapped in random units.

    Returns (permutations, columns). Each row is exact: the metrics of the two mixed sets, not
    a mean over units.
    """
    units = len(baseline.units)
    swap = np.random.default_rng(seed).integers(0, 2, (permutations, units), dtype=np.uint16)
    both = baseline.joined(candidate)
    one, other = np.hstack([swap, 1 - swap]), np.hstack([1 - swap, swap])
    table = both.table(np.concatenate([one, other]))
    return np.asarray(table[:permutations] - table[permutations:])


def p_values(observed: Floats, swapped: Floats) -> NDArray[np.float64]:
    """Two-sided p of each column: the share of swaps with a difference at least as large.

    The data as they are count as one swap, so p is never 0 (Phipson and Smyth 2010).
    """
    as_large = np.abs(swapped) >= np.abs(observed) - 1e-12
    defined = ~np.isnan(swapped)
    return np.asarray((1 + (as_large & defined).sum(axis=0)) / (1 + defined.sum(axis=0)))
