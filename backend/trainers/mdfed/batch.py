"""What the network gets: B windows of T strided frames."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

PERSONS = 2
JOINTS = 17
CHANNELS = 5
"""Of a joint: relative x, y, velocity x, y, score."""
ROOT = 4
"""Of a person: centre x, y in the image (0 to 1), scale (height over the image's), presence."""


@dataclass(frozen=True)
class Batch:
    """Windows; all float tensors are float32.

    ``joints`` (B, T, 2, 17, 5) and ``roots`` (B, T, 2, 4): far person first, zero where missing.
    ``valid`` (B, T) bool: frames inside the clip whose skeleton is there; all of them with
    ``missing: zeros``. ``coarse`` (B, T) int64: 1 for an event; ``fine`` (B, T, K).
    ``hands`` (B, 2): 1 for a left-handed player, far first. ``starts`` (B,) int64 is the first raw
    frame of each window, ``names`` its clip. ``frames`` (B, T, 3, S, S) in 0..1, for the stages
    with a visual encoder only.
    """

    joints: Tensor
    roots: Tensor
    valid: Tensor
    coarse: Tensor
    fine: Tensor
    hands: Tensor
    starts: Tensor
    names: tuple[str, ...]
    frames: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same batch on a device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        return type(self)(**values | moved)
