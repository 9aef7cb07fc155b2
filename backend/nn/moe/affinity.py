"""Which classes, or object sizes, go to which expert; on foreground only."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from backend.nn.moe.statistics import Totals

COCO_SIZES = (32.0**2, 96.0**2)  # upper area of small and medium, in pixels


def size_bins(areas: Tensor) -> Tensor:
    """0 small, 1 medium, 2 large, by area in pixels of the original image, as COCO has them."""
    return torch.bucketize(areas, torch.tensor(COCO_SIZES, device=areas.device), right=True)


class AffinityTotals(Totals):
    """Mean weight of each expert on the objects of each class (or size bin).

    Fed with the dense weights [M, E] of the matched queries and their classes [M].
    """

    def __init__(self, classes: int, experts: int) -> None:
        super().__init__(torch.zeros(classes, experts + 1, dtype=torch.float64))

    def update(self, weights: Tensor, labels: Tensor) -> None:
        """Add objects: ``Routing.weights`` at the matched queries, and their classes."""
        seen = functional.pad(weights.detach().double(), (0, 1), value=1.0)
        member = functional.one_hot(labels, len(self.total)).double()
        self.add(member.T @ seen)

    def counts(self) -> list[int]:
        """Objects of each class."""
        return [round(count) for count in self.total[:, -1].tolist()]

    def matrix(self) -> list[list[float] | None]:
        """Class by expert, rows sum to 1; None for a class without objects."""
        rows = (self.total[:, :-1] / self.total[:, -1:]).tolist()
        return [row if count else None for row, count in zip(rows, self.counts(), strict=True)]

    def alignment(self, owners: Sequence[int], *, micro: bool = False) -> float | None:
        """Mean weight that the expert in charge of a class (``owners`` [C]) has on it.

        Over classes, or over objects (``micro``); None without objects.
        """
        own = self.total[torch.arange(len(owners)), torch.tensor(owners)]
        seen = self.total[:, -1]
        if not seen.any():
            return None
        if micro:
            return float(own.sum() / seen.sum())
        return float((own[seen > 0] / seen[seen > 0]).mean())

    def specialisation(self) -> float | None:
        """How much the class says about the expert: 0 for uniform and for collapse, 1 for own.

        Entropy of the mean row minus mean entropy of the rows, over ln min(classes seen, E); None
        where only one class or expert exists.
        """
        seen = self.total[:, -1] > 0
        rows = self.total[seen, :-1] / self.total[seen, -1:]
        fewest = min(rows.shape)
        if fewest < 2:
            return None
        mixed = torch.special.entr(rows.mean(0)).sum()
        return float((mixed - torch.special.entr(rows).sum(1).mean()) / math.log(fewest))
