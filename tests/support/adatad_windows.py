"""Small windows and networks for AdaTAD, made from a seed."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from backend.trainers.adatad.batch import Batch, Window, collate
from backend.trainers.adatad.model.geometry import SMALL
from backend.trainers.adatad.model.network import AdaTad

GEOMETRY = replace(
    SMALL,
    width=24,
    layers=2,
    heads=2,
    patch=8,
    native=16,
    detector_width=16,
    levels=3,
)
"""Chunks of 16 frames and points of up to 4 positions: windows are multiples of 16 frames."""
SIDE = 16


def network(seed: int = 0, **sizes: Any) -> AdaTad:
    """A network in evaluation mode."""
    torch.manual_seed(seed)
    return AdaTad(replace(GEOMETRY, **sizes)).eval()


def with_trained_adapters(model: AdaTad, seed: int = 1) -> AdaTad:
    """As if adapters were trained: they are no longer the identity."""
    chance = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("up_proj.weight"):
            nn.init.normal_(parameter, std=0.5, generator=chance)
    return model


def frames(length: int, seed: int = 0) -> Tensor:
    """Noise (length, 3, SIDE, SIDE)."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (length, 3, SIDE, SIDE), dtype=torch.uint8, generator=chance)


def window(length: int = 32, valid: int | None = None, seed: int = 0, start: int = 0) -> Window:
    """Noise with two actions, of which the first ``valid`` frames are real."""
    return Window(
        frames=frames(length, seed),
        valid=torch.arange(length) < (length if valid is None else valid),
        segments=torch.tensor([[2.0, 9.0], [12.5, 15.0]]),
        labels=torch.tensor([0, 2]),
        video=f"video{seed}",
        start=start,
    )


def batch(*windows: Window) -> Batch:
    """Two windows, one with padding, unless others are given."""
    return collate(windows or (window(), window(valid=21, seed=1)))
