"""Frames to features per frame: a small CNN whose channels look one frame back and one ahead.

Stages 2 and 3 (specs/mdfed.md, 3.4). The shift: Lin et al., Temporal Shift Module, 2019.
"""

import torch
from torch import Tensor, nn

from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.spec import VisualConfig

SHIFTED = 4
"""One channel in four comes from the frame before, another one from the frame after."""
GROUPS = 4
GRID = 4
"""The most cells of a side in which it is kept where something stands."""
SMALLER = 16
"""A frame's side over that of the last map."""
FEATURES = 8
"""Features of a frame, times the config's width."""


class VisualEncoder(nn.Module):
    """``batch.frames`` (B, T, 3, S, S) to (B, T, ``width``); 0 where a frame is not valid.

    Group norm: no statistics are carried along, and frames that are padding touch no others.
    """

    def __init__(self, config: VisualConfig) -> None:
        super().__init__()
        channels = (config.width, 2 * config.width, 4 * config.width)
        self.width = FEATURES * config.width
        self.stem = nn.Conv2d(3, config.width, 3, stride=2, padding=1)
        self.stages = nn.ModuleList(map(_Stage, (config.width, *channels[:-1]), channels))
        side = config.size // SMALLER
        cell = -(-side // GRID)  # no adaptive pooling, whose gradient differs from run to run
        self.pool = nn.AvgPool2d(cell, ceil_mode=True)
        self.project = nn.Linear(channels[-1] * (-(-side // cell)) ** 2, self.width)

    def forward(self, batch: Batch) -> Tensor:
        """Features of every frame. The batch must have ``frames``."""
        assert batch.frames is not None, "a batch of stage 2 or 3 has frames"
        windows, length = batch.valid.shape
        shown = batch.valid[..., None, None, None]
        x = torch.relu(self.stem((batch.frames * shown).flatten(0, 1)))
        for stage in self.stages:
            x = stage(x, length)
        features = torch.relu(self.project(self.pool(x).flatten(1)))
        return features.reshape(windows, length, -1) * batch.valid[..., None]


class _Stage(nn.Module):
    """A map of half the size, shifted in time: the next layer sees three frames."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm = nn.GroupNorm(GROUPS, outputs)

    def forward(self, x: Tensor, length: int) -> Tensor:
        """``x`` (B * T, C, H, W), T = ``length``."""
        smaller: Tensor = torch.relu(self.norm(self.conv(x)))
        return shifted(smaller, length)


def shifted(x: Tensor, length: int) -> Tensor:
    """A quarter of the channels of each frame replaced by the frame's before, another by the
    frame's after; 0 beyond the window. ``x`` is (B * T, C, H, W)."""
    frames = x.reshape(-1, length, *x.shape[1:])
    part = x.shape[1] // SHIFTED
    empty = torch.zeros_like(frames[:, :1])
    before = torch.cat([empty, frames[:, :-1]], dim=1)[:, :, :part]
    after = torch.cat([frames[:, 1:], empty], dim=1)[:, :, part : 2 * part]
    return torch.cat([before, after, frames[:, :, 2 * part :]], dim=2).flatten(0, 1)
