"""Sine codes of boxes, scores and cells, and the logit that undoes a sigmoid."""

import math

import torch
from torch import Tensor

TEMPERATURE = 10_000
EPSILON = 1e-5
"""Nearest that a coordinate comes to 0 or 1 before its logit is taken."""


def sine_code(values: Tensor, features: int) -> Tensor:
    """Codes (..., k * features) of k values in 0..1 each: sine and cosine in turn."""
    rates = torch.arange(features // 2, device=values.device, dtype=values.dtype)
    angles = values[..., None] * (2 * math.pi) / TEMPERATURE ** (2 * rates / features)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(-3)


def cell_codes(height: int, width: int, features: int, device: torch.device) -> Tensor:
    """Codes (height * width, features) of a map's cells, row by row: first half y, then x."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return sine_code(torch.cartesian_prod(y, x), features // 2)


def cell_centres(height: int, width: int, device: torch.device) -> Tensor:
    """Centres (height * width, 2) of a map's cells, row by row: x, y in 0..1."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
    return torch.cartesian_prod(y, x).flip(-1)


def logit(values: Tensor) -> Tensor:
    """The inverse of a sigmoid, as the reference bounds it: values in 0..1, at least 1e-5."""
    values = values.clamp(0, 1)
    return values.clamp(min=EPSILON).log() - (1 - values).clamp(min=EPSILON).log()
