"""RT-DETR v2 with routed experts. Its tensors' names, and a plain detector's: see ``names``.

transformers' network is used as it is: its encoder's maps go through a layer over all tokens,
box heads and query scores are replaced in their places, and class heads run after the decoder,
on what the routers beside the box heads have decided.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import RTDetrV2Config
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import RTDetrV2Model, RTDetrV2ModelOutput

from backend.nn.moe import Router, group_matrix
from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.adapted import BoxHead, HybridEncoder, ScoreHead
from backend.trainers.moe_rtdetr.model.experts import box_head, class_head, token_layer
from backend.trainers.moe_rtdetr.model.gating import Pass, Routed, class_term, mixture
from backend.trainers.moe_rtdetr.model.names import dense_name, part_of
from backend.trainers.moe_rtdetr.model.outputs import Denoising, Gate, Output, Predicted
from backend.trainers.moe_rtdetr.spec import MoeConfig

__all__ = ["MoeRtDetr", "dense_name", "part_of"]


class MoeRtDetr(nn.Module):
    """RT-DETR v2 whose tokens and queries are shared out among experts; dense without groups.

    ``experts`` and ``classes`` are names, ``groups`` [E, C] tells which expert is in charge of
    which class (None for the dense network). Made by ``build.build_network``, which initialises.
    """

    groups: Tensor | None

    def __init__(self, config: RTDetrV2Config, moe: MoeConfig, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes, self.experts = classes, tuple(moe.named_groups)
        owned = [[classes.index(name) for name in group] for group in moe.named_groups.values()]
        groups = group_matrix(owned, len(classes)) if owned else None
        self.register_buffer("groups", groups, persistent=False)
        self.call = Pass(config.num_queries)
        self.tokens = token_layer(config.encoder_hidden_dim, moe)
        self.detector = RTDetrV2Model(config)
        self.detector.encoder = HybridEncoder(config)
        self.detector.enc_bbox_head = BoxHead(config.d_model, config.d_model, 4, num_layers=3)
        self.detector.enc_score_head = ScoreHead(config.d_model, len(classes), self.call)
        layers = range(config.decoder_layers)
        self.detector.decoder.bbox_embed = nn.ModuleList(
            box_head(config, moe, self.call) for _ in layers
        )
        self.class_embed = nn.ModuleList(class_head(config, moe) for _ in layers)

    def forward(
        self,
        images: Tensor,
        targets: Sequence[Target] | None = None,
        gate: Gate | None = None,
        only: int | None = None,
    ) -> Output:
        """What is in ``images`` [B, 3, H, W] (0..1); in training, ``targets`` add denoising.

        ``gate`` is a prompt's effect, ``only`` the one expert that query routers may choose.
        Raises ConfigError for a gate that leaves an image without any expert.
        """
        maps = self._encoded(images)
        sizes = tuple((one.shape[-2], one.shape[-1]) for one in maps)
        allowed = gate.allowed if gate else None
        tokens, routing = self.tokens(torch.cat([one.flatten(2).mT for one in maps], 1), allowed)
        if only is not None:
            one_expert = torch.arange(len(self.experts), device=images.device) == only
            allowed = one_expert.expand(len(images), -1)
        select = class_term(gate) if gate and gate.select else None
        with self.call.open(allowed, select) as routed:
            found = self._decoded(images, tokens, sizes, targets)
        routings = {}
        if routing is not None:
            routings = {"token": (routing,), "query": tuple(each.routing for each in routed)}
        layers = self._layers(found, routed, gate)
        ordinary = slice(-self.call.queries, None)
        denoising = _denoising(layers, found.denoising_meta_values)
        return Output(
            layers=tuple(_rows(layer, ordinary) for layer in layers),
            encoder=self._encoder_guess(found, denoising),
            denoising=denoising,
            routings=routings,
            sizes=sizes,
        )

    def update_biases(self) -> None:
        """Balance without a loss: call it after each optimizer step, in every process."""
        for router in self.modules():
            if isinstance(router, Router) and router.bias_rate:
                router.update_bias()

    def _encoded(self, images: Tensor) -> list[Tensor]:
        """The hybrid encoder's maps [B, d, h, w], finest first."""
        everywhere = images.new_ones(len(images), 1, 1)
        features = self.detector.backbone(images, everywhere)
        projections = self.detector.encoder_input_proj
        inputs = [one(each) for one, (each, _) in zip(projections, features, strict=True)]
        maps: list[Tensor] = self.detector.encoder(inputs).last_hidden_state
        return maps

    def _decoded(
        self,
        images: Tensor,
        tokens: Tensor,
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target] | None,
    ) -> RTDetrV2ModelOutput:
        """Query selection, denoising queries and decoder, on tokens [B, L, d]."""
        levels = torch.split(tokens, [height * width for height, width in sizes], 1)
        maps = [
            one.mT.reshape(len(images), -1, *size) for one, size in zip(levels, sizes, strict=True)
        ]
        labels = None
        if self.training and targets is not None:
            labels = [
                {name: target[name].to(images.device) for name in ("class_labels", "boxes")}
                for target in targets
            ]
        found: RTDetrV2ModelOutput = self.detector(
            None,
            inputs_embeds=images,  # beside encoder_outputs, only their number and device matter
            encoder_outputs=BaseModelOutput(last_hidden_state=maps),
            labels=labels,
        )
        return found

    def _layers(
        self, found: RTDetrV2ModelOutput, routed: Sequence[Routed], gate: Gate | None
    ) -> list[Predicted]:
        """What each decoder layer says, all queries [B, D + Q]."""
        layers = []
        for number, head in enumerate(self.class_embed):
            logits = head(found.intermediate_hidden_states[:, number])
            if routed:
                logits = mixture(logits, routed[number].weights)
            if gate:
                logits = logits + class_term(gate)
            layers.append(Predicted(logits, found.intermediate_reference_points[:, number]))
        return layers

    def _encoder_guess(self, found: RTDetrV2ModelOutput, denoising: Denoising | None) -> Predicted:
        logits = found.enc_topk_logits
        if self.training and denoising is None and self.detector.config.num_denoising:
            # Without an object in the batch, DDP would wait for this gradient forever.
            logits = logits + 0 * self.detector.denoising_class_embed.weight.sum()
        return Predicted(logits, found.enc_topk_bboxes)


def _rows(layer: Predicted, rows: slice) -> Predicted:
    return Predicted(layer.logits[:, rows], layer.boxes[:, rows])


def _denoising(layers: Sequence[Predicted], facts: Mapping[str, Any] | None) -> Denoising | None:
    if facts is None:
        return None
    extra, _ = facts["dn_num_split"]
    groups = facts["dn_num_group"]
    matching = tuple(
        (queries, torch.arange(len(queries) // groups, device=queries.device).repeat(groups))
        for queries in facts["dn_positive_idx"]
    )
    return Denoising(tuple(_rows(layer, slice(extra)) for layer in layers), matching, groups)
