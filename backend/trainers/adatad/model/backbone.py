"""VideoMAE with an adapter after each layer, over windows of many chunks.

The parts with weights are Hugging Face's (``VideoMAELayer``, the patches' convolution), so that
public weights fit by name. Their own ``forward`` has neither a mask nor stochastic depth, and
adapters look across chunks, so the order of operations is written here; without padding and
adapters it gives the bits of ``VideoMAEModel``.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention
from torchvision.ops import StochasticDepth
from transformers.models.videomae.configuration_videomae import VideoMAEConfig
from transformers.models.videomae.modeling_videomae import VideoMAELayer, VideoMAEPatchEmbeddings

from backend.trainers.adatad.model.adapter import PlainAdapter, TemporalAdapter
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.masked import zero_biases

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
RECOMPUTED = "backbone.blocks.*"
"""For ``runner.checkpointing``: a block's activations are computed again when they are needed."""


class Block(nn.Module):
    """A layer of VideoMAE over each chunk, then perhaps an adapter over the window."""

    def __init__(self, geometry: Geometry, config: VideoMAEConfig, drop_path: float) -> None:
        super().__init__()
        self.heads = geometry.heads
        self.steps = geometry.chunk // geometry.tubelet
        self.layer = VideoMAELayer(config)
        _start(self.layer)
        self.drop_path = StochasticDepth(drop_path, "row")
        kinds = {"temporal": TemporalAdapter, "plain": PlainAdapter}
        kind = kinds.get(geometry.adapter)
        self.adapter = kind(geometry.width, geometry.hidden) if kind else None

    def forward(self, tokens: Tensor, valid: Tensor, keys: Tensor | None) -> Tensor:
        """Tokens (B, steps, places, C). ``valid`` (B, steps); ``keys`` (chunks, 1, 1, tokens of a
        chunk) are those that may be looked at, None for all."""
        chunks = tokens.reshape(-1, self.steps * tokens.shape[2], tokens.shape[3])
        tokens = self._layer(chunks, keys).reshape(tokens.shape)
        return tokens if self.adapter is None else self.adapter(tokens, valid)

    def _layer(self, x: Tensor, keys: Tensor | None) -> Tensor:
        layer = self.layer
        x = x + self.drop_path(self._attention(layer.layernorm_before(x), keys))
        inner = layer.intermediate(layer.layernorm_after(x))
        y: Tensor = x + self.drop_path(layer.output.dense(inner))
        return y

    def _attention(self, x: Tensor, keys: Tensor | None) -> Tensor:
        attention = self.layer.attention.attention
        query, key, value = (
            part(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        seen = scaled_dot_product_attention(query, key, value, attn_mask=keys)
        y: Tensor = self.layer.attention.output.dense(seen.transpose(1, 2).flatten(2))
        return y


class Backbone(nn.Module):
    """Frames to one feature vector per frame."""

    mean: Tensor
    std: Tensor
    positions: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        config = _config(geometry)
        self.patches = VideoMAEPatchEmbeddings(config)
        depths = np.linspace(0, geometry.drop_path, geometry.layers).tolist()
        self.blocks = nn.ModuleList([Block(geometry, config, depth) for depth in depths])
        nn.init.xavier_uniform_(self.patches.projection.weight.flatten(1))
        zero_biases(self.patches)
        channels = (3, 1, 1, 1)
        self.register_buffer("mean", torch.tensor(MEAN).view(channels), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(channels), persistent=False)
        self.register_buffer("positions", native_positions(geometry), persistent=False)

    def forward(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Features (B, C, T) float32 of frames (B, T, 3, H, W) uint8; zero in the padding."""
        return self.spread(self.pooled(frames, valid), valid)

    def pooled(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Features (B, steps, C) float32, one for each pair of frames: means over a picture."""
        if self.geometry.chunkwise:
            return self._chunkwise(frames, valid)
        return self._pooled(frames, valid)

    def spread(self, pooled: Tensor, valid: Tensor) -> Tensor:
        """Such features (B, steps, C) as (B, C, T), zero in the padding."""
        return per_frame(pooled.transpose(1, 2), self._steps(valid), valid)

    def _pooled(self, frames: Tensor, valid: Tensor) -> Tensor:
        steps = self._steps(valid)
        tokens = self._tokens(frames, valid)
        keys = self._keys(steps, tokens.shape[2])
        for block in self.blocks:
            tokens = block(tokens, steps, keys)
        return tokens.mean(2).float()

    def _chunkwise(self, frames: Tensor, valid: Tensor) -> Tensor:
        """Each chunk alone, zeros for those of padding: kernels may round by what is computed
        beside, and autocast rounds anyway."""
        chunk, tubelet = self.geometry.chunk, self.geometry.tubelet
        shape = len(frames), valid.shape[1] // tubelet, self.geometry.width
        found = torch.zeros(shape, device=frames.device)
        with torch.no_grad(), torch.autocast(frames.device.type, enabled=False):
            for window, count in enumerate(valid.sum(1).tolist()):
                for start in range(0, count, chunk):
                    seen = slice(window, window + 1), slice(start, start + chunk)
                    steps = slice(start // tubelet, (start + chunk) // tubelet)
                    found[window, steps] = self._pooled(frames[seen], valid[seen])[0]
        return found

    def _steps(self, valid: Tensor) -> Tensor:
        """(B, steps): those with a frame that is no padding."""
        return valid.reshape(len(valid), -1, self.geometry.tubelet).any(-1)

    def _tokens(self, frames: Tensor, valid: Tensor) -> Tensor:
        """(B, steps, places, C), with positions; padding is grey, whatever was there."""
        chunks = frames.reshape(-1, self.geometry.chunk, *frames.shape[2:]).transpose(1, 2)
        shown = valid.reshape(len(chunks), 1, -1, 1, 1)
        pixels = ((chunks - self.mean) / self.std).masked_fill(~shown, 0)
        patches: Tensor = self.patches.projection(pixels)  # (chunks, C, steps, h, w)
        height, width = patches.shape[-2:]
        tokens = patches.flatten(3).permute(0, 2, 3, 1) + self._places(height, width)
        return tokens.reshape(len(frames), -1, height * width, self.geometry.width)

    def _places(self, height: int, width: int) -> Tensor:
        """Positions (steps of a chunk, places, C) for a grid of this size, or the native one's."""
        grids = self.positions  # (steps, C, native, native)
        if grids.shape[-2:] != (height, width):
            grids = interpolate(grids, (height, width), mode="bicubic", align_corners=False)
        return grids.flatten(2).transpose(1, 2)

    def _keys(self, steps: Tensor, places: int) -> Tensor | None:
        """What a chunk's tokens may look at. A chunk of padding looks at itself: what it finds
        is masked, but must be a number."""
        if bool(steps.all()):
            return None
        chunks = steps.reshape(-1, self.geometry.chunk // self.geometry.tubelet)
        shown = chunks | ~chunks.any(1, keepdim=True)
        return shown.repeat_interleave(places, 1)[:, None, None]


def per_frame(features: Tensor, steps: Tensor, valid: Tensor) -> Tensor:
    """(B, C, steps) linearly interpolated to (B, C, T), without the padding's share."""
    weights = steps[:, None].to(features.dtype)
    size = valid.shape[1]
    values = interpolate(features * weights, size, mode="linear", align_corners=False)
    shares = interpolate(weights, size, mode="linear", align_corners=False)
    return (values / shares.clamp(min=1e-6)).masked_fill(~valid[:, None], 0)


def native_positions(geometry: Geometry) -> Tensor:
    """Fixed sine positions (steps of a chunk, C, native grid, native grid), as in VideoMAE."""
    steps, side = geometry.chunk // geometry.tubelet, geometry.native // geometry.patch
    places = np.arange(steps * side * side)[:, None]
    pairs = np.arange(geometry.width) // 2
    angles = places / np.power(10000, 2 * pairs / geometry.width)
    table = np.where(np.arange(geometry.width) % 2, np.cos(angles), np.sin(angles))
    grids = table.astype(np.float32).reshape(steps, side, side, -1)
    return torch.from_numpy(grids).permute(0, 3, 1, 2).contiguous()


def _start(layer: nn.Module) -> None:
    """Initial values of VideoMAE's pre-training; norms stay as they are."""
    zero_biases(layer)
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def _config(geometry: Geometry) -> VideoMAEConfig:
    return VideoMAEConfig(
        image_size=geometry.native,
        patch_size=geometry.patch,
        num_frames=geometry.chunk,
        tubelet_size=geometry.tubelet,
        hidden_size=geometry.width,
        num_hidden_layers=geometry.layers,
        num_attention_heads=geometry.heads,
        intermediate_size=geometry.width * geometry.mlp_ratio,
        layer_norm_eps=1e-6,
        attn_implementation="sdpa",
    )
