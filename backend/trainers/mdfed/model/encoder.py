"""Skeletons to features per frame: graph blocks shared by both persons, then their fusion.

Specification: specs/mdfed.md, 3.1. Graph convolutions with a learnt residual of the adjacency:
Shi et al., 2s-AGCN, 2019; temporal branches: Duan et al., ST-GCN++, 2022.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from backend.trainers.mdfed.batch import CHANNELS, JOINTS, PERSONS, ROOT, Batch
from backend.trainers.mdfed.model.masked_norm import MaskedBatchNorm

BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12), (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Joints of COCO that are connected: nose 0, eyes, ears, shoulders 5 6, elbows, wrists 9 10,
hips 11 12, knees, ankles 15 16."""
DILATIONS = (1, 2, 4)
KERNEL = 9


class EncoderSize(NamedTuple):
    """Channels after each graph block, and of a person after its joints are read."""

    channels: tuple[int, ...]
    person: int


SIZES = {
    "tiny": EncoderSize((16, 16), 80),
    "base": EncoderSize((64, 64, 64, 64, 128, 128, 128, 256, 256, 256), 256),
}


class SkeletonEncoder(nn.Module):
    """(B, T, 2, 17, 5) joints and (B, T, 2, 4) roots to (B, T, ``width``).

    What stands in frames that are not valid has no influence on the others.
    """

    def __init__(self, size: EncoderSize, fusion: Literal["concat", "mean"] = "concat") -> None:
        super().__init__()
        self.fusion = fusion
        person = size.person + ROOT
        self.width = person * PERSONS if fusion == "concat" else person
        self.joints_norm = MaskedBatchNorm(PERSONS * JOINTS * CHANNELS)
        self.roots_norm = MaskedBatchNorm(PERSONS * ROOT)
        inputs = (CHANNELS, *size.channels[:-1])
        self.blocks = nn.ModuleList(map(GraphBlock, inputs, size.channels))
        self.read = nn.Linear(JOINTS * size.channels[-1], size.person, bias=False)
        self.read_norm = MaskedBatchNorm(size.person)

    def forward(self, batch: Batch) -> Tensor:
        """Features (B, T, width)."""
        bodies = self._bodies(batch)
        roots = self.roots_norm(batch.roots.flatten(2), batch.valid)
        persons = torch.cat([bodies, roots.view(*bodies.shape[:3], ROOT)], dim=-1)
        return persons.mean(2) if self.fusion == "mean" else persons.flatten(2)

    def _bodies(self, batch: Batch) -> Tensor:
        """Each person by itself: (B, T, 2, person)."""
        windows, frames = batch.valid.shape
        joints = self.joints_norm(batch.joints.flatten(2), batch.valid)
        x = joints.view(windows, frames, PERSONS, JOINTS, CHANNELS).transpose(1, 2).flatten(0, 1)
        valid = batch.valid.repeat_interleave(PERSONS, dim=0)
        for block in self.blocks:
            x = block(x, valid)
        read = torch.relu(self.read_norm(self.read(x.flatten(2)), valid))
        return read.view(windows, PERSONS, frames, -1).transpose(1, 2)


class GraphBlock(nn.Module):
    """Neighbours and self by a linear map each, then dilated convolutions in time."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", normalised_adjacency(), persistent=False)
        self.residual = nn.Parameter(torch.zeros(JOINTS, JOINTS))
        self.neighbours = nn.Linear(inputs, outputs, bias=False)
        self.itself = nn.Linear(inputs, outputs, bias=False)
        self.graph_norm = MaskedBatchNorm(outputs)
        self.times = nn.ModuleList(
            nn.Conv2d(outputs, outputs, (KERNEL, 1), padding=(KERNEL // 2 * step, 0),
                      dilation=(step, 1), bias=False)
            for step in DILATIONS
        )  # fmt: skip
        self.time_norm = MaskedBatchNorm(outputs)
        self.skip = nn.Linear(inputs, outputs, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """``x`` (N, T, joints, channels), zero where not valid (N, T)."""
        graph = self.get_buffer("adjacency") + self.residual
        mixed = self.neighbours(graph.to(x.dtype) @ x) + self.itself(x)
        hidden = torch.relu(self.graph_norm(mixed, valid)).permute(0, 3, 1, 2)
        moved = sum((time(hidden) for time in self.times), start=torch.zeros_like(hidden))
        out = self.time_norm(moved.permute(0, 2, 3, 1), valid) + self.skip(x)
        return torch.relu(out)


def normalised_adjacency() -> Tensor:
    """Of COCO's joints: ``D^-1/2 A D^-1/2``. Self-loops are the block's other linear map."""
    adjacency = torch.zeros(JOINTS, JOINTS)
    one, other = torch.tensor(BONES).T
    adjacency[one, other] = adjacency[other, one] = 1
    root = adjacency.sum(1).rsqrt()
    return root[:, None] * adjacency * root
