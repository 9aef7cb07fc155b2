"""Encoder and decoder: deformable attention on the maps, self-attention among the queries."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from backend.nn.deformable import DeformableAttention, Shapes
from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.positions import cell_centres, cell_codes, logit, sine_code


@dataclass(frozen=True)
class Memory:
    """Encoded images: ``values`` (B, sum of H*W, d), the maps of ``shapes`` row by row."""

    values: Tensor
    shapes: Shapes

    def frame(self, index: int) -> "Memory":
        """One image's."""
        return Memory(self.values[index : index + 1], self.shapes)


class EncoderLayer(nn.Module):
    """Self-attention of the cells, then a feed-forward network; norms after each."""

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(of.width, of.levels, of.heads, of.points)
        self.norm1 = nn.LayerNorm(of.width)
        self.linear1 = nn.Linear(of.width, of.feedforward)
        self.linear2 = nn.Linear(of.feedforward, of.width)
        self.norm2 = nn.LayerNorm(of.width)
        self.dropout = nn.Dropout(of.dropout)

    def forward(self, x: Tensor, codes: Tensor, centres: Tensor, shapes: Shapes) -> Tensor:
        """Cells (B, N, d) with position ``codes`` at ``centres`` (1, N, levels, 2)."""
        found = self.self_attn(x + codes, centres.expand(len(x), -1, -1, -1), x, shapes)
        x = self.norm1(x + self.dropout(found))
        inner = self.dropout(relu(self.linear1(x)))
        x = self.norm2(x + self.dropout(self.linear2(inner)))
        return x


class DecoderLayer(nn.Module):
    """Self-attention of the queries, then theirs of the maps, then a feed-forward network."""

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        self.cross_attn = DeformableAttention(of.width, of.levels, of.heads, of.points)
        self.norm1 = nn.LayerNorm(of.width)
        self.self_attn = nn.MultiheadAttention(
            of.width, of.heads, dropout=of.dropout, batch_first=True
        )
        self.norm2 = nn.LayerNorm(of.width)
        self.linear1 = nn.Linear(of.width, of.feedforward)
        self.linear2 = nn.Linear(of.feedforward, of.width)
        self.norm3 = nn.LayerNorm(of.width)
        self.dropout = nn.Dropout(of.dropout)

    def forward(self, x: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None) -> Tensor:
        """Queries (1, N, d) at ``boxes`` (1, N, 4); ``mask`` (N, N) is True where a query (row)
        must not see another."""
        codes = sine_code(boxes, x.shape[-1] // 4)
        placed = x + codes
        found = self.self_attn(placed, placed, x, attn_mask=mask, need_weights=False)[0]
        x = self.norm2(x + self.dropout(found))
        reference = boxes[:, :, None].expand(-1, -1, self.cross_attn.levels, -1)
        found = self.cross_attn(x + codes, reference, memory.values, memory.shapes)
        x = self.norm1(x + self.dropout(found))
        inner = self.dropout(relu(self.linear1(x)))
        x = self.norm3(x + self.dropout(self.linear2(inner)))
        return x


class Encoder(nn.Module):
    """Layers over the cells of all maps together."""

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(of) for _ in range(of.encoder_layers))

    def forward(self, x: Tensor, codes: Tensor, shapes: Shapes) -> Tensor:
        """Cells (B, N, d); ``codes`` (N, d)."""
        centres = torch.cat([cell_centres(*shape, x.device) for shape in shapes])
        placed = centres[None, :, None].expand(-1, -1, len(shapes), -1)
        for layer in self.layers:
            x = layer(x, codes, placed, shapes)
        return x


class Decoder(nn.Module):
    """Layers that refine the boxes of the queries, each from where the one before left them.

    ``bbox_embed`` holds the network's box heads: these tensors have two names.
    """

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(of) for _ in range(of.decoder_layers))
        self.bbox_embed: nn.ModuleList

    def forward(
        self, x: Tensor, boxes: Tensor, memory: Memory, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embeddings (layers, N, d) and boxes (layers, N, 4) of queries (N, d) at (N, 4)."""
        x, boxes = x[None], boxes[None]
        embeddings, found = [], []
        for layer, head in zip(self.layers, self.bbox_embed, strict=True):
            x = layer(x, boxes, memory, mask)
            refined = (head(x) + logit(boxes)).sigmoid()
            embeddings.append(x[0])
            found.append(refined[0])
            boxes = refined.detach()
        return torch.stack(embeddings), torch.stack(found)


class Transformer(nn.Module):
    """``level_embed`` (levels, d) is added to the position codes of each map."""

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(of.levels, of.width))
        self.encoder = Encoder(of)
        self.decoder = Decoder(of)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.endswith(_STARTED):
                nn.init.xavier_uniform_(parameter)

    def encode(self, maps: list[Tensor]) -> Memory:
        """Encode maps (B, d, h, w) of images of one size."""
        shapes = [(int(one.shape[2]), int(one.shape[3])) for one in maps]
        codes = [
            cell_codes(*shape, one.shape[1], one.device) + level
            for shape, one, level in zip(shapes, maps, self.level_embed, strict=True)
        ]
        cells = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        return Memory(self.encoder(cells, torch.cat(codes), shapes), shapes)


_STARTED = ("level_embed", "sampling_offsets.weight", "attention_weights.weight")
"""These keep the values that they were made with."""
