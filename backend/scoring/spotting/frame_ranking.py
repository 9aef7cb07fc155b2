"""Average precision and AUROC of scored frames, for any multiset of clips."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FrameScores:
    """One entry per scored frame: its score, its clip's position, whether it is an event's.

    Both metrics change only at scores that a true frame has. Frames are therefore binned: one
    bin for each such score and one between each two, and a drawn clip only weighs its bins.
    """

    value: Floats
    unit: NDArray[np.int32]
    event: NDArray[np.bool_]

    @property
    def bins(self) -> int:
        """How many numbers a replicate needs."""
        return sum(part.shape[0] for part in self._binned)

    def joined(self, other: Self, units: int) -> Self:
        """These frames, then those of ``other``, whose clips come after ``units`` clips."""
        return type(self)(
            np.concatenate([self.value, other.value]),
            np.concatenate([self.unit, other.unit + np.int32(units)]),
            np.concatenate([self.event, other.event]),
        )

    def rank(self, drawn: Floats) -> tuple[Floats, Floats]:
        """AP and AUROC for draws (clips, replicates); NaN where one kind of frame is missing.

        AP sums precision over steps of recall without interpolation; equal scores are one step,
        and count half in AUROC.
        """
        true, background = (part @ drawn for part in self._binned)
        right, wrong = true.cumsum(axis=0), background.cumsum(axis=0)
        above, tied = wrong[1::2], background[1::2]
        positives, negatives = true.sum(axis=0), background.sum(axis=0)
        precision = right / np.maximum(right + above, 1)
        beaten = negatives - above + tied / 2
        with np.errstate(invalid="ignore"):
            return (
                np.asarray((true * precision).sum(axis=0) / positives),
                np.asarray((true * beaten).sum(axis=0) / (positives * negatives)),
            )

    @cached_property
    def _binned(self) -> tuple[csr_array, csr_array]:
        """True frames as (scores of true frames, clips), falling; the others as (bins, clips)."""
        groups, group = np.unique(-self.value, return_inverse=True)
        carries = np.bincount(group, weights=self.event, minlength=len(groups)) > 0
        before: NDArray[np.int64] = np.cumsum(carries) - carries
        bins = (2 * before + carries)[group]
        size, clips = int(carries.sum()), int(self.unit.max(initial=-1)) + 1
        true, rest = self.event, ~self.event
        return (
            _counted(bins[true] // 2, self.unit[true], (size, clips)),
            _counted(bins[rest], self.unit[rest], (2 * size + 1, clips)),
        )


def _counted(row: NDArray[np.int64], unit: NDArray[np.int32], shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(row)), (row, unit)), shape=shape)
