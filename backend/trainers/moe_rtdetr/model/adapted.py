"""Modules of transformers' RT-DETR v2, each with one change; their tensors keep their names."""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2HybridEncoder,
    RTDetrV2MLPPredictionHead,
)

from backend.trainers.moe_rtdetr.model.gating import Pass


class HybridEncoder(RTDetrV2HybridEncoder):  # type: ignore[misc]
    """The hybrid encoder, which leaves the list that it is given as it is.

    The library's puts its attention's result there. Run again for activation checkpointing, it
    would attend twice and give wrong gradients without a word.
    """

    def forward(self, maps: Sequence[Tensor]) -> BaseModelOutput:
        """Maps [B, d, h, w] to fused maps of the same shapes, finest first."""
        return super().forward(list(maps))


class BoxHead(RTDetrV2MLPPredictionHead):  # type: ignore[misc]
    """The plain box head; its step is added to the reference in float32, as the experts' is.

    bfloat16 would round a corner of the image by two pixels in 640.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states [B, D + Q, d] to the box step [B, D + Q, 4], before the sigmoid."""
        step: Tensor = super().forward(x)
        return step.float()


class ScoreHead(nn.Linear):
    """The linear layer that scores places as queries, with a prompt's term where asked for."""

    def __init__(self, inputs: int, outputs: int, call: Pass) -> None:
        super().__init__(inputs, outputs)
        self.call = call

    def forward(self, x: Tensor) -> Tensor:
        """Places [B, L, d] to class logits [B, L, C]."""
        scores = super().forward(x)
        return scores if self.call.select is None else scores + self.call.select
