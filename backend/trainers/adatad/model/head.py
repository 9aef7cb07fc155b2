"""The heads: at each point of each level, how likely each class is and where the action ends."""

import math

import torch
from torch import Tensor, nn

from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.masked import MaskedConv
from backend.trainers.adatad.model.points import Outputs, points_of
from backend.trainers.adatad.model.projection import Level

PRIOR = 0.01
"""The score of every class at the start."""
CONVOLUTIONS = 2
NORMALISER = 100.0


class Head(nn.Module):
    """Shared by all levels but for the scale of distances.

    ``loss_normalizer`` is the running mean of positive points that losses are divided by.
    """

    loss_normalizer: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width = geometry.detector_width
        self.cls_convs = _convolutions(width)
        self.reg_convs = _convolutions(width)
        self.cls_head = nn.Conv1d(width, geometry.classes, 3, padding=1)
        self.reg_head = nn.Conv1d(width, 2, 3, padding=1)
        self.scale = nn.ParameterList([torch.ones(()) for _ in range(geometry.levels)])
        nn.init.constant_(self.cls_head.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]  # it has one
        self.register_buffer("loss_normalizer", torch.tensor(NORMALISER))

    def forward(self, levels: list[Level]) -> Outputs:
        """What is found at every point."""
        logits, offsets = [], []
        for (x, valid), scale in zip(levels, self.scale, strict=True):
            logits.append(self.cls_head(_through(self.cls_convs, x, valid)))
            distances = self.reg_head(_through(self.reg_convs, x, valid))
            offsets.append((distances * scale).relu())
        lengths = [x.shape[-1] for x, _ in levels]
        return Outputs(
            logits=torch.cat(logits, -1).transpose(1, 2).float(),
            offsets=torch.cat(offsets, -1).transpose(1, 2).float(),
            valid=torch.cat([valid for _, valid in levels], 1),
            points=points_of(lengths, levels[0][0].device),
        )


def _convolutions(width: int) -> nn.ModuleList:
    return nn.ModuleList([MaskedConv(width, width) for _ in range(CONVOLUTIONS)])


def _through(convolutions: nn.ModuleList, x: Tensor, valid: Tensor) -> Tensor:
    for convolution in convolutions:
        x = convolution(x, valid)
    return x
