"""Denoising: for each object one more query near it, which only has to find its box."""

import torch
from torch import Tensor


def jittered(boxes: Tensor, amount: float) -> Tensor:
    """Boxes (n, 4) cxcywh moved by up to ``amount`` of their size, and resized by as much."""
    noise = (torch.rand_like(boxes) * 2 - 1) * amount
    centres, sizes = boxes[:, :2], boxes[:, 2:]
    moved, resized = centres + sizes * noise[:, :2], sizes * (1 + noise[:, 2:])
    return torch.cat([moved, resized], dim=-1)


def denoising_mask(ordinary: int, denoising: int, device: torch.device) -> Tensor:
    """True (N, N) where a query must not see another: ordinary ones no denoising ones, which
    come last. The reverse is allowed."""
    mask = torch.zeros(2 * (ordinary + denoising,), dtype=torch.bool, device=device)
    mask[:ordinary, ordinary:] = True
    return mask
