"""Layers for sequences with padding at their end: padding is as good as no sequence at all.

Sequences are (B, C, T) and come with ``valid`` (B, T) bool. Where the reference lets a norm's
bias or a padded zero into a neighbour's convolution or pooling, these do not: a padded window
gives what the same window without padding gives.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool1d
from torchvision.ops import StochasticDepth


class MaskedConv(nn.Module):
    """A convolution of three positions with LayerNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.LayerNorm(outputs, eps=1e-6)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, inputs, T) to (B, outputs, T), zero in the padding."""
        x = channels_last(self.norm, self.conv(masked(x, valid))).relu()
        return masked(x, valid)


class DepthwiseConv(nn.Module):
    """A convolution of each channel with itself, every ``stride`` positions."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, stride, padding=1, groups=width, bias=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T / stride)."""
        y: Tensor = self.conv(masked(x, valid))
        return y


class ScaledDropPath(nn.Module):
    """A residual branch times a learned factor per channel, left out of some samples at random.

    The factors start at 1e-4 (Touvron et al. 2021), so that a network starts near the identity.
    """

    def __init__(self, width: int, probability: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, width, 1), 1e-4))
        self.drop = StochasticDepth(probability, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        y: Tensor = self.drop(self.scale * x)
        return y


def masked(x: Tensor, valid: Tensor) -> Tensor:
    """(B, C, T) with zeros in the padding, whatever was there."""
    return x.masked_fill(~valid[:, None], 0)


def channels_last(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm over the channels of (B, C, T)."""
    y: Tensor = norm(x.transpose(1, 2))
    return y.transpose(1, 2)


def pooled(x: Tensor, valid: Tensor) -> Tensor:
    """The highest of three positions, every second one: (B, C, T) to (B, C, T / 2).

    Where position 2i is valid, i is; elsewhere the result is zero.
    """
    lowest = x.masked_fill(~valid[:, None], -torch.inf)
    return masked(max_pool1d(lowest, 3, stride=2, padding=1), valid[:, ::2])


def zero_biases(module: nn.Module) -> None:
    """As the reference starts them, where torch would draw them."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
