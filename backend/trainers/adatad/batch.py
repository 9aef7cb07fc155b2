"""What the network gets: windows of consecutive frames, and the actions in them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """One stretch of one video.

    ``frames`` (T, 3, H, W) uint8 RGB; the model normalises them. ``valid`` (T,) bool: the frames
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


@dataclass(frozen=True)
class Batch:
    """Windows of one size: ``frames`` (B, T, 3, H, W) uint8, ``valid`` (B, T) bool. They differ
    in the number of actions, so ``segments`` and ``labels`` are not stacked."""

    frames: Tensor
    valid: Tensor
    segments: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    names: tuple[str, ...]
    starts: tuple[int, ...]


def collate(windows: Sequence[Window]) -> Batch:
    """Windows of one size as a batch, in their order."""
    return Batch(
        frames=torch.stack([one.frames for one in windows]),
        valid=torch.stack([one.valid for one in windows]),
        segments=tuple(one.segments for one in windows),
        labels=tuple(one.labels for one in windows),
        names=tuple(one.video for one in windows),
        starts=tuple(one.start for one in windows),
    )
