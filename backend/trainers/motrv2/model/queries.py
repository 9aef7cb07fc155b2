"""The queries of a frame, and what the network says about them."""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

UNNAMED = -1
"""The id of a query that stands for no object."""


@dataclass(frozen=True)
class Queries:
    """N queries: content (N, d), ``anchors`` (N, 4) cxcywh in 0..1, ``ids`` (N,) int64.

    ``ious`` (N,) is the last overlap with the object that a query stood for (training);
    ``misses`` (N,) int64 counts frames without it (tracking).
    """

    content: Tensor
    anchors: Tensor
    ids: Tensor
    ious: Tensor
    misses: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def taken(self, chosen: Tensor) -> "Queries":
        """Those of a mask or of indices."""
        return Queries(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def followed_by(self, others: "Queries") -> "Queries":
        """These, then others."""
        pairs = {f.name: (getattr(self, f.name), getattr(others, f.name)) for f in fields(self)}
        return Queries(**{name: torch.cat(pair) for name, pair in pairs.items()})

    def with_ids(self, ids: Tensor) -> "Queries":
        """The same under other ids."""
        return replace(self, ids=ids)


def unnamed(content: Tensor, anchors: Tensor) -> Queries:
    """New queries that stand for no object yet."""
    count, device = len(content), content.device
    return Queries(
        content=content,
        anchors=anchors,
        ids=torch.full((count,), UNNAMED, dtype=torch.int64, device=device),
        ious=torch.ones(count, device=device),
        misses=torch.zeros(count, dtype=torch.int64, device=device),
    )


@dataclass(frozen=True)
class Found:
    """What all L decoder layers say about N queries.

    ``logits`` (L, N, C), ``boxes`` (L, N, 4) cxcywh in 0..1; ``embedding`` (N, d) of the last.
    """

    logits: Tensor
    boxes: Tensor
    embedding: Tensor

    def split(self, count: int) -> tuple["Found", "Found"]:
        """The first ``count`` queries and the others."""
        first = Found(self.logits[:, :count], self.boxes[:, :count], self.embedding[:count])
        others = Found(self.logits[:, count:], self.boxes[:, count:], self.embedding[count:])
        return first, others

    def taken(self, chosen: Tensor) -> "Found":
        """What was found from the queries of a mask."""
        return Found(self.logits[:, chosen], self.boxes[:, chosen], self.embedding[chosen])

    @property
    def scores(self) -> Tensor:
        """The last layer's scores (N,): the highest over the classes, without a graph."""
        return self.logits[-1].detach().float().sigmoid().amax(-1)
