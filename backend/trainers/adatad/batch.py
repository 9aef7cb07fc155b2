"""What the network gets: windows of consecutive frames, and the actions in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """One stretch of one video.

    ``frames`` (T, 3, H, W) uint8 RGB; the model normalises them. Where ``features`` (steps, C)
    float32 of a frozen backbone are given instead (``Backbone.pooled``), there is no frame:
    (0, 3, H, W). ``valid`` (T,) bool: the frames
    that the video has, first of all and at least one; the rest is padding. ``segments`` (n, 2)
    float32: start and end in positions of the feature grid, counted from the window's start.
    ``labels`` (n,) int64 from 0. ``start`` is the window's first frame position in ``video``.
    """

    frames: Tensor
    valid: Tensor
    segments: Tensor
    labels: Tensor
    video: str
    start: int
    features: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Windows of one size: ``frames`` (B, T, 3, H, W) uint8, ``valid`` (B, T) bool, ``features``
    (B, steps, C) or None. They differ in the number of actions, so ``segments`` and ``labels`` are
    not stacked."""

    frames: Tensor
    valid: Tensor
    segments: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    names: tuple[str, ...]
    starts: tuple[int, ...]
    features: Tensor | None = None


def collate(windows: Sequence[Window]) -> Batch:
    """Windows of one size as a batch, in their order: all with features, or none."""
    features = [one.features for one in windows if one.features is not None]
    return Batch(
        frames=torch.stack([one.frames for one in windows]),
        valid=torch.stack([one.valid for one in windows]),
        segments=tuple(one.segments for one in windows),
        labels=tuple(one.labels for one in windows),
        names=tuple(one.video for one in windows),
        starts=tuple(one.start for one in windows),
        features=torch.stack(features) if features else None,
    )
