"""From frame to frame: which queries stay, and what they carry on (specs/motrv2.md, 1.3)."""

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.ops import box_convert, box_iou

from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.positions import sine_code
from backend.trainers.motrv2.model.queries import UNNAMED, Found, Queries

CONFIDENT = 0.5
"""Score above which an unnamed query stays in training."""
LOST = 0.5
"""Overlap up to which a query loses its id in training."""
HEADS = 8
"""Of the reference, whatever the other attentions have."""


@dataclass(frozen=True)
class Passing:
    """How queries pass to the next frame.

    ``update_threshold`` is the score above which a query is renewed; ``gate`` ``matched`` renews
    those with an object in this frame too. In training, ``drop`` is the share of kept queries
    left out, ``insert`` the chance of each to bring the unnamed one nearest to it. ``limit`` is
    the number of kept queries.
    """

    update_threshold: float = 0.5
    gate: Literal["score", "matched"] = "score"
    drop: float = 0.0
    insert: float = 0.0
    limit: int = 300


class QueryInteraction(nn.Module):
    """Version 2 of the reference; its position update is off by default."""

    def __init__(self, of: Geometry) -> None:
        super().__init__()
        width, inner = of.width, of.feedforward
        self.features = width // 4
        self.self_attn = nn.MultiheadAttention(width, HEADS, of.dropout, batch_first=True)
        self.linear1 = nn.Linear(width, inner)
        self.linear2 = nn.Linear(inner, width)
        self.position_update = of.position_update
        if of.position_update:
            self.linear_pos1 = nn.Linear(width, inner)
            self.linear_pos2 = nn.Linear(inner, width)
            self.norm_pos = nn.LayerNorm(width)
        self.linear_feat1 = nn.Linear(width, inner)
        self.linear_feat2 = nn.Linear(inner, width)
        self.norm_feat = nn.LayerNorm(width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        if of.position_update:
            self.norm3 = nn.LayerNorm(width)  # the reference has it and never uses it
        self.dropout = nn.Dropout(of.dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, queries: Queries, found: Found, good: Tensor) -> Queries:
        """Kept queries with their output; ``good`` (N,) are renewed."""
        if not len(queries):
            return queries
        chosen = good[:, None]
        anchors = torch.where(chosen, found.boxes[-1].detach(), queries.anchors)
        code = sine_code(anchors, self.features)
        h = found.embedding
        placed = (code + h)[None]
        seen = self.self_attn(placed, placed, h[None], need_weights=False)[0][0]
        x = self.norm1(h + self.dropout(seen))
        x = self.norm2(x + self._through(self.linear1, self.linear2, x))
        update = self._through(self.linear_feat1, self.linear_feat2, x)
        renewed = self.norm_feat(queries.content + update)
        others = queries.content
        if self.position_update:
            others = self.norm_pos(code + self._through(self.linear_pos1, self.linear_pos2, x))
        content = torch.where(chosen, renewed, others)
        return replace(queries, content=content, anchors=anchors)

    def _through(self, first: nn.Linear, second: nn.Linear, x: Tensor) -> Tensor:
        changed: Tensor = self.dropout(second(self.dropout(relu(first(x)))))
        return changed


def kept_in_training(queries: Queries, found: Found, passing: Passing) -> Tensor:
    """Which queries (N,) stay after a frame of training: named or confident ones."""
    scores = found.scores
    kept = (queries.ids >= 0) | (scores > CONFIDENT)
    if passing.drop > 0:
        stays = torch.rand_like(scores) > passing.drop
        kept = kept & stays if bool((kept & stays).any()) else kept
    if passing.insert > 0:
        kept = kept | _false_ones(queries, found, kept, passing.insert)
    return within(kept, queries.ids, scores, passing.limit)


def forget_poor(queries: Queries) -> Queries:
    """Take the id from queries that hardly overlap with their object."""
    poor = queries.ious <= LOST
    return queries.with_ids(queries.ids.masked_fill(poor, UNNAMED))


def within(kept: Tensor, ids: Tensor, scores: Tensor, limit: int) -> Tensor:
    """At most ``limit`` of the ``kept`` (N,): named ones first, by score. Warns of a cut."""
    if int(kept.sum()) <= limit:
        return kept
    warnings.warn(
        f"more than {limit} track queries in a frame (max_track_queries): the least sure ones "
        "are left out, false positives pile up",
        stacklevel=2,
    )
    worth = (scores + (ids >= 0)).masked_fill(~kept, -1)
    best = torch.zeros_like(kept)
    best[worth.topk(limit).indices] = True
    return best


def _false_ones(queries: Queries, found: Found, kept: Tensor, chance: float) -> Tensor:
    """Unnamed queries that overlap most with kept ones drawn by ``chance`` (N,)."""
    free = torch.nonzero(~kept & (queries.ids < 0)).flatten()
    drawn = kept & (torch.rand_like(found.scores) < chance)
    inserted = torch.zeros_like(kept)
    if len(free) and bool(drawn.any()):
        corners = box_convert(found.boxes[-1].detach(), "cxcywh", "xyxy")
        inserted[free[box_iou(corners[drawn], corners[free]).argmax(-1)]] = True
    return inserted
