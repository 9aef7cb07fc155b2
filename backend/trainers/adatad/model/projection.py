"""ActionFormer's pyramid: features of a window at strides 1, 2, 4 and so on.

Facts on names and shapes: specs/adatad.md, section 2, and the public reference code (OpenTAD).
Tensors are called as there. Sequences are (B, C, T), masks (B, T).
"""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.masked import (
    DepthwiseConv,
    MaskedConv,
    ScaledDropPath,
    channels_last,
    pooled,
    zero_biases,
)

Level = tuple[Tensor, Tensor]
"""Features of one stride, and which of them are valid."""


class Attention(nn.Module):
    """Of every position to every valid one; a convolution before each of query, key and value
    tells positions apart and takes every ``stride``-th."""

    def __init__(self, width: int, heads: int, stride: int) -> None:
        super().__init__()
        self.heads = heads
        self.stride = stride
        for name in ("query", "key", "value"):
            self.add_module(f"{name}_conv", DepthwiseConv(width, stride))
            self.add_module(f"{name}_norm", nn.LayerNorm(width))
            self.add_module(name, nn.Conv1d(width, width, 1))
        self.proj = nn.Conv1d(width, width, 1)
        zero_biases(self)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, C, T) to (B, C, T / stride)."""
        query, key, value = (self._part(name, x, valid) for name in ("query", "key", "value"))
        keys = valid[:, None, None, :: self.stride]
        seen = scaled_dot_product_attention(query, key, value, attn_mask=keys)
        y: Tensor = self.proj(seen.transpose(2, 3).flatten(1, 2))
        return y

    def _part(self, name: str, x: Tensor, valid: Tensor) -> Tensor:
        """(B, heads, T / stride, C / heads)."""
        x = self.get_submodule(f"{name}_conv")(x, valid)
        x = channels_last(self.get_submodule(f"{name}_norm"), x)
        y: Tensor = self.get_submodule(name)(x)
        return y.view(len(y), self.heads, -1, y.shape[-1]).transpose(2, 3)


class TransformerBlock(nn.Module):
    """Attention and an MLP, each behind a norm and beside what it started from."""

    def __init__(self, geometry: Geometry, stride: int) -> None:
        super().__init__()
        width, drop_path = geometry.detector_width, geometry.detector_drop_path
        self.stride = stride
        self.ln1 = nn.LayerNorm(width)
        self.ln2 = nn.LayerNorm(width)
        self.attn = Attention(width, geometry.detector_heads, stride)
        self.mlp = nn.Sequential(
            nn.Conv1d(width, 4 * width, 1), nn.GELU(), nn.Conv1d(4 * width, width, 1)
        )
        self.drop_path_attn = ScaledDropPath(width, drop_path)
        self.drop_path_mlp = ScaledDropPath(width, drop_path)
        zero_biases(self)

    def forward(self, x: Tensor, valid: Tensor) -> Level:
        """(B, C, T) to (B, C, T / stride); what it gives in the padding has no meaning."""
        change = self.attn(channels_last(self.ln1, x), valid)
        if self.stride == 2:
            x, valid = pooled(x, valid), valid[:, ::2]
        x = x + self.drop_path_attn(change)
        change = self.mlp(channels_last(self.ln2, x))
        return x + self.drop_path_mlp(change), valid


class Projection(nn.Module):
    """Features of the backbone to those of each level."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width = geometry.detector_width
        self.embed = nn.ModuleList([MaskedConv(geometry.width, width), MaskedConv(width, width)])
        self.stem = nn.ModuleList([TransformerBlock(geometry, stride=1) for _ in range(2)])
        branches = range(geometry.levels - 1)
        self.branch = nn.ModuleList([TransformerBlock(geometry, stride=2) for _ in branches])

    def forward(self, x: Tensor, valid: Tensor) -> list[Level]:
        """(B, C, T) to as many levels, each half as long as the one before."""
        for convolution in self.embed:
            x = convolution(x, valid)
        for block in self.stem:
            x, valid = block(x, valid)
        levels = [(x, valid)]
        for block in self.branch:
            levels.append(block(*levels[-1]))
        return levels


class Neck(nn.Module):
    """The identity pyramid: a norm per level."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        width = geometry.detector_width
        levels = range(geometry.levels)
        self.fpn_norms = nn.ModuleList([nn.LayerNorm(width, eps=1e-6) for _ in levels])

    def forward(self, levels: list[Level]) -> list[Level]:
        """The same levels, normed."""
        return [
            (channels_last(norm, x), valid)
            for norm, (x, valid) in zip(self.fpn_norms, levels, strict=True)
        ]
