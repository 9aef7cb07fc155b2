"""What the network gets: frames of one sequence, in order."""

from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """One image with its objects and the detector's boxes.

    ``image`` (3, H, W) float32, normalised. ``boxes`` (n, 4) cxcywh in 0..1, ``labels`` (n,)
    int64 from 0, ``ids`` (n,) int64 from 0. ``proposals`` (m, 4) cxcywh in 0..1,
    ``proposal_scores`` (m,) float32, ``proposal_classes`` (m,) int64, -1 unknown. n and m may
    be 0.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ids: Tensor
    proposals: Tensor
    proposal_scores: Tensor
    proposal_classes: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """The same frame on a device."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=non_blocking)
            for field in fields(self)
        }
        return type(self)(**moved)


Clip = tuple[Frame, ...]


@dataclass(frozen=True)
class Batch:
    """Clips of one pass, each from the sequence and first frame that ``names`` tells. They differ
    in size and number of objects, so nothing is stacked."""

    clips: tuple[Clip, ...]
    names: tuple[str, ...]
