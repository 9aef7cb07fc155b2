"""What the network says of a batch. B images, Q queries, C classes, E experts, k choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from backend.nn.moe import Routing


@dataclass(frozen=True)
class Predicted:
    """Of one layer: ``logits`` [B, Q, C] and ``boxes`` [B, Q, 4] (cx, cy, w, h in 0..1)."""

    logits: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Denoising:
    """What the denoising queries [B, D] of each decoder layer found.

    ``matching`` is known: per image the queries and the targets that they were made from.
    ``groups`` is how many noisy copies of each target there are, which divides the loss.
    """

    layers: tuple[Predicted, ...]
    matching: tuple[tuple[Tensor, Tensor], ...]
    groups: int


@dataclass(frozen=True)
class Output:
    """``layers`` of the decoder for the ordinary queries, the last one is the answer;
    ``encoder`` is the query selection's own guess, trained like a layer. ``denoising`` is None
    outside of training. ``routings`` has ``token`` (one router, tokens [B, L]) and ``query``
    (one per decoder layer, ordinary queries [B, Q] only); empty for the dense model.
    ``sizes`` are height and width of each level's map, finest first, in the order of the tokens.
    """

    layers: tuple[Predicted, ...]
    encoder: Predicted
    denoising: Denoising | None = None
    routings: Mapping[str, tuple[Routing, ...]] = field(default_factory=dict)
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Gate:
    """A prompt's effect on a batch (stage 2).

    ``relevance`` [B, C] in 0..1 is added as max(ln r, -8) to the class logits of the decoder
    (and, with ``select``, to the scores that select queries). ``allowed`` [B, E] is False for
    experts to skip; each image keeps at least one.
    """

    relevance: Tensor
    allowed: Tensor | None = None
    select: bool = False
