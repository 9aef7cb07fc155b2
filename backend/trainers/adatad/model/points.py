"""The points of all levels, and what the network says at each."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BEYOND = 10_000.0
"""The last level takes whatever is longer than the others take, in positions."""


@dataclass(frozen=True)
class Points:
    """``positions`` (N,) on the feature grid, the ``strides`` (N,) of their levels, and the
    ``lower`` and ``upper`` (N,) distances to an action's farther end that a level is for."""

    positions: Tensor
    strides: Tensor
    lower: Tensor
    upper: Tensor


@dataclass(frozen=True)
class Outputs:
    """Of windows, for all N points level by level: ``logits`` (B, N, classes) and ``offsets``
    (B, N, 2), distances to start and end in strides, both float32; ``valid`` (B, N)."""

    logits: Tensor
    offsets: Tensor
    valid: Tensor
    points: Points

    @property
    def segments(self) -> Tensor:
        """(B, N, 2): start and end in positions of the feature grid."""
        return ends(self.points, self.offsets)


def ends(points: Points, offsets: Tensor) -> Tensor:
    """Offsets (..., N, 2) in strides as start and end on the feature grid."""
    before, after = (offsets * points.strides[:, None]).unbind(-1)
    return torch.stack([points.positions - before, points.positions + after], dim=-1)


def points_of(lengths: Sequence[int], device: torch.device) -> Points:
    """The points of levels of these lengths; level l has stride 2^l and is for actions whose
    farther end is 2^(l+1) to 2^(l+2) positions away, the first one from 0, the last without end.
    """
    sizes = torch.tensor(lengths, device=device)
    level = torch.arange(len(lengths), device=device, dtype=torch.float32)
    lower = 2 ** (level + 1)
    upper = 2 * lower
    lower[0], upper[-1] = 0.0, BEYOND
    strides = (2**level).repeat_interleave(sizes)
    places = torch.cat([torch.arange(length, device=device) for length in lengths])
    return Points(
        positions=places * strides,
        strides=strides,
        lower=lower.repeat_interleave(sizes),
        upper=upper.repeat_interleave(sizes),
    )
