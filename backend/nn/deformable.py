"""Multi-scale deformable attention in plain torch: sample a few learned places on every map.

Facts: Zhu et al., Deformable DETR (2021); parameter names as in its public code (Apache-2.0).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

Shapes = Sequence[tuple[int, int]]
"""Height and width of each map."""


class DeformableAttention(nn.Module):
    """Each query looks at ``points`` places of every map around its reference, in every head."""

    def __init__(self, width: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        places = heads * levels * points
        self.sampling_offsets = nn.Linear(width, 2 * places)
        self.attention_weights = nn.Linear(width, places)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self._start()

    def forward(self, query: Tensor, reference: Tensor, source: Tensor, shapes: Shapes) -> Tensor:
        """New values (B, N, d) for the queries (B, N, d).

        ``source`` (B, sum of H*W, d) are the maps of ``shapes``, row by row. ``reference``
        (B, N, levels, 2) are points, whose offsets count in cells of the map; (B, N, levels, 4)
        are boxes (cx, cy, w, h), whose offsets count in halves of the box over ``points``. Both
        are in 0..1.
        """
        batch, count, _ = query.shape
        grid = (batch, count, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).view(*grid, 2)
        weights = self.attention_weights(query).view(batch, count, self.heads, -1).softmax(-1)
        value = self.value_proj(source).unflatten(-1, (self.heads, -1))
        places = self._places(offsets, reference[:, :, None, :, None], shapes)
        found = sampled(value, shapes, places, weights.view(grid))
        mixed: Tensor = self.output_proj(found)
        return mixed

    def _places(self, offsets: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        if reference.shape[-1] == 4:
            return reference[..., :2] + offsets / self.points * reference[..., 2:] * 0.5
        cells = offsets.new_tensor([(width, height) for height, width in shapes])
        return reference + offsets / cells[:, None]

    @torch.no_grad()
    def _start(self) -> None:
        """Offsets as rays, one direction per head; equal attention weights."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        rays = torch.stack([angles.cos(), angles.sin()], -1)
        rays = rays / rays.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.points + 1)
        bias = rays[:, None, None] * steps[:, None]
        nn.init.zeros_(self.sampling_offsets.weight)
        self.sampling_offsets.bias.copy_(bias.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)


def sampled(value: Tensor, shapes: Shapes, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (B, N, heads * c) of bilinear samples of ``value`` (B, sum of H*W, heads, c).

    ``places`` (B, N, heads, levels, points, 2) are x, y in 0..1, zero outside of the map;
    ``weights`` (B, N, heads, levels, points).
    """
    batch, count, heads = weights.shape[:3]
    grids = (2 * places - 1).transpose(1, 2).flatten(0, 1)  # (B * heads, N, levels, points, 2)
    maps = torch.split(value, [height * width for height, width in shapes], dim=1)
    found = []
    for level, ((height, width), part) in enumerate(zip(shapes, maps, strict=True)):
        image = part.permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
        found.append(grid_sample(image, grids[:, :, level], align_corners=False))
    samples = torch.stack(found, dim=3)  # (B * heads, c, N, levels, points)
    mixed = (samples * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum((-2, -1))
    return mixed.view(batch, heads, -1, count).permute(0, 3, 1, 2).flatten(2)
