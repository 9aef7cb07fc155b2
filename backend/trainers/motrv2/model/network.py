"""MOTRv2: the detector's boxes as queries beside learned ones and the tracks so far.

Facts on names, shapes and formulas: specs/motrv2.md and the public reference code (MIT).
"""

import math
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.model.backbone import Backbone
from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.interaction import QueryInteraction
from backend.trainers.motrv2.model.positions import sine_code
from backend.trainers.motrv2.model.queries import Found, Queries, unnamed
from backend.trainers.motrv2.model.transformer import Memory, Transformer

START_SCORE = 0.01
START_SIZE_LOGIT = -2.0


class BoxHead(nn.Module):
    """Three linear maps to changes of a box's logits.

    At the start it changes nothing but the logits of width and height, by ``size_logit``.
    """

    def __init__(self, width: int, size_logit: float) -> None:
        super().__init__()
        last = nn.Linear(width, 4)
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), last])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.bias[2:], size_logit)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., 4)."""
        *inner, last = self.layers
        for layer in inner:
            x = relu(layer(x))
        change: Tensor = last(x)
        return change


class Motr(nn.Module):
    """The network; its tensors are called as in the reference's checkpoints.

    ``yolox_class_embed`` (one vector per class of a detection, zero at the start) is ours.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        width = geometry.width
        self.track_embed = QueryInteraction(geometry)
        self.transformer = Transformer(geometry)
        layers = range(geometry.decoder_layers)
        self.class_embed = nn.ModuleList(class_head(width, geometry.classes) for _ in layers)
        self.bbox_embed = nn.ModuleList(
            BoxHead(width, START_SIZE_LOGIT if layer == 0 else 0.0) for layer in layers
        )
        self.transformer.decoder.bbox_embed = self.bbox_embed
        self.position = nn.Embedding(geometry.queries, 4)
        self.yolox_embed = nn.Embedding(1, width)
        self.query_embed = nn.Embedding(geometry.queries, width)
        if geometry.proposal_classes:
            self.yolox_class_embed = nn.Embedding(geometry.proposal_classes, width)
        if geometry.denoising:
            self.refine_embed = nn.Embedding(1, width)
        backbone = Backbone(geometry.backbone, geometry.levels)
        self.input_proj = _projections(geometry, backbone.channels)
        self.backbone = nn.ModuleList([backbone])
        nn.init.uniform_(self.position.weight)
        if geometry.proposal_classes:
            nn.init.zeros_(self.yolox_class_embed.weight)

    def encode(self, images: Tensor) -> Memory:
        """Encode images (B, 3, H, W)."""
        maps: list[Tensor] = self.backbone[0](images)
        projected = [project(one) for project, one in zip(self.input_proj, maps, strict=False)]
        source = maps[-1]
        for project in self.input_proj[len(maps) :]:
            source = project(source)
            projected.append(source)
        return self.transformer.encode(projected)

    def new_queries(self, frame: Frame) -> Queries:
        """The learned queries, then one per proposal of the frame."""
        code = sine_code(frame.proposal_scores[:, None], self.geometry.width)
        content = code + self.yolox_embed.weight
        if self.geometry.proposal_classes:
            content = content + self._class_vectors(frame.proposal_classes)
        return unnamed(
            torch.cat([self.query_embed.weight, content]),
            torch.cat([self.position.weight, frame.proposals]),
        )

    def decode(
        self, memory: Memory, content: Tensor, anchors: Tensor, mask: Tensor | None = None
    ) -> Found:
        """What is found in one image from queries (N, d) at boxes (N, 4)."""
        embeddings, boxes = self.transformer.decoder(content, anchors, memory, mask)
        heads = zip(self.class_embed, embeddings, strict=True)
        logits = torch.stack([head(embedding) for head, embedding in heads])
        return Found(logits, boxes, embeddings[-1])

    @property
    def prefix_is_frozen(self) -> bool:
        """Whether nothing up to the encoder's output trains."""
        parts = (self.backbone, self.input_proj, self.transformer.encoder)
        parameters = chain.from_iterable(part.parameters() for part in parts)
        trained = any(parameter.requires_grad for parameter in parameters)
        return not trained and not self.transformer.level_embed.requires_grad

    def _class_vectors(self, classes: Tensor) -> Tensor:
        """One vector per proposal; unknown classes (-1) have zeros."""
        vectors: Tensor = self.yolox_class_embed(classes.clamp(min=0))
        return vectors * (classes >= 0)[:, None]


def class_head(width: int, classes: int) -> nn.Linear:
    """A fresh classifier whose scores start near 0.01."""
    head = nn.Linear(width, classes)
    nn.init.constant_(head.bias, -math.log((1 - START_SCORE) / START_SCORE))
    return head


def _projections(of: Geometry, channels: tuple[int, ...]) -> nn.ModuleList:
    """1x1 convolutions of the backbone's maps, then strided ones for coarser levels."""
    convolutions = [nn.Conv2d(inputs, of.width, 1) for inputs in channels]
    inputs = channels[-1]
    for _ in range(of.levels - len(channels)):
        convolutions.append(nn.Conv2d(inputs, of.width, 3, stride=2, padding=1))
        inputs = of.width
    for convolution in convolutions:
        nn.init.xavier_uniform_(convolution.weight)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
    norms = (nn.GroupNorm(of.groups, of.width) for _ in convolutions)
    return nn.ModuleList(nn.Sequential(*pair) for pair in zip(convolutions, norms, strict=True))
