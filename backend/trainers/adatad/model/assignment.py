"""Which points are to find which action (specs/adatad.md, section 2)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from backend.trainers.adatad.model.points import Points

RADIUS = 1.5
"""How far from an action's centre a point may be, in strides."""
SAME_LENGTH = 1e-3
"""Actions whose lengths differ by no more than this are equally short, in positions."""


@dataclass(frozen=True)
class Targets:
    """``classes`` (N, classes) are 1 for those to be found at a point; ``offsets`` (N, 2) are the
    distances to start and end in strides, with a meaning where a class is."""

    classes: Tensor
    offsets: Tensor


@torch.no_grad()
def assign(points: Points, segments: Tensor, labels: Tensor, classes: int) -> Targets:
    """The targets of one window with actions ``segments`` (n, 2) of ``labels`` (n,).

    A point takes an action if it lies inside, at most ``RADIUS`` strides from its centre, and
    the farther end is in its level's range; of several, the shortest. Others that are as short
    give their class too: one action may be annotated as two classes.
    """
    distances = _distances(points, segments)
    if not len(segments):
        size = len(points.positions)
        return Targets(distances.new_zeros(size, classes), distances.new_zeros(size, 2))
    takes = _takes(points, segments, distances)
    lengths = torch.where(takes, segments[:, 1] - segments[:, 0], torch.inf)
    shortest, which = lengths.min(dim=1)
    taken = lengths.isfinite() & (lengths <= shortest[:, None] + SAME_LENGTH)
    found = one_hot(labels, classes).to(distances)
    chosen = distances[torch.arange(len(which), device=which.device), which]
    return Targets((taken.to(distances) @ found).clamp(max=1), chosen / points.strides[:, None])


def _distances(points: Points, segments: Tensor) -> Tensor:
    """(N, n, 2): from each start to the point, from the point to each end."""
    at = points.positions[:, None]
    return torch.stack([at - segments[:, 0], segments[:, 1] - at], dim=-1)


def _takes(points: Points, segments: Tensor, distances: Tensor) -> Tensor:
    """(N, n): whether a point may take an action."""
    centres = segments.mean(dim=1)
    off_centre = (points.positions[:, None] - centres).abs()
    near = off_centre < RADIUS * points.strides[:, None]
    inside = (distances > 0).all(dim=-1)
    farther = distances.amax(dim=-1)
    in_range = (points.lower[:, None] <= farther) & (farther <= points.upper[:, None])
    return near & inside & in_range
