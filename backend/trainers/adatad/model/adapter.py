"""Adapters: small residual networks after each layer of a backbone that stays as it is.

Facts on names, shapes and initial values: specs/adatad.md, section 2, and the public reference
code (OpenTAD). Both kinds start as the identity.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from backend.trainers.adatad.model.masked import zero_biases


class PlainAdapter(nn.Module):
    """Down, GELU, up: each token alone."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down_proj = nn.Linear(width, hidden)
        self.up_proj = nn.Linear(hidden, width)
        self.gamma = nn.Parameter(torch.ones(1))
        nn.init.trunc_normal_(self.down_proj.weight, std=0.02)
        nn.init.zeros_(self.up_proj.weight)
        zero_biases(self)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Tokens (B, t, n, C) of windows of t steps with n places each; ``valid`` (B, t)."""
        hidden = self.between(gelu(self.down_proj(tokens)), valid)
        change: Tensor = self.up_proj(hidden) * self.gamma
        return tokens + change

    def between(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """What happens between the two projections."""
        return hidden


class TemporalAdapter(PlainAdapter):
    """The temporal-informative adapter: each place also sees its neighbours in time, across
    chunks, over the whole window."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(width, hidden)
        self.dwconv = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.conv = nn.Conv1d(hidden, hidden, 1)
        nn.init.normal_(self.dwconv.weight, std=math.sqrt(2 / 3))
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / hidden))
        zero_biases(self)

    def between(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Padding is as zero as what lies before the window."""
        batch, steps, places, width = hidden.shape
        shown = hidden.masked_fill(~valid[:, :, None, None], 0)
        lines = shown.permute(0, 2, 3, 1).reshape(batch * places, width, steps)
        mixed: Tensor = self.conv(self.dwconv(lines))
        return hidden + mixed.view(batch, places, width, steps).permute(0, 3, 1, 2)
