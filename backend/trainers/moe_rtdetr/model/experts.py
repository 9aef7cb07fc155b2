"""The places of RT-DETR where experts work: one layer over all tokens, and the query heads.

B images, L tokens, Q queries, E experts, C classes, d width.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import RTDetrV2Config

from backend.nn.moe import Experts, RoutedExperts, Router, Routing
from backend.trainers.moe_rtdetr.model.adapted import BoxHead
from backend.trainers.moe_rtdetr.model.gating import Pass, mixture
from backend.trainers.moe_rtdetr.spec import MoeConfig


class TokenExperts(nn.Module):
    """x + MoE(norm(x)) over the tokens of all levels; each token only costs its own experts."""

    def __init__(self, routed: RoutedExperts) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(routed.router.weight.shape[1])
        self.routed = routed

    def forward(self, x: Tensor, allowed: Tensor | None) -> tuple[Tensor, Routing | None]:
        """Tokens [B, L, d]; ``allowed`` [B, E] is False for experts to skip."""
        each = None if allowed is None else allowed.unsqueeze(1)
        more, routing = self.routed(self.norm(x), allowed=each)
        return x + more, routing


class TokenMlp(nn.Module):
    """x + MLP(norm(x)): what ``TokenExperts`` costs, without experts. Starts as the identity."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        nn.init.xavier_uniform_(self.up.weight)
        for start in (self.up.bias, self.down.weight, self.down.bias):
            nn.init.zeros_(start)

    def forward(self, x: Tensor, allowed: Tensor | None) -> tuple[Tensor, Routing | None]:
        """Tokens [B, L, d]; there is no expert that ``allowed`` could forbid."""
        more: Tensor = self.down(functional.relu(self.up(self.norm(x))))
        return x + more, None


class StackedLinear(nn.Module):
    """E linear layers in one product; ``shared``: they all see the same input.

    All experts are computed and masked by their weights: at hundreds of queries sorting costs
    more than it saves.
    """

    def __init__(self, experts: int, inputs: int, outputs: int, *, shared: bool = False) -> None:
        super().__init__()
        self.equation = "...i,eoi->...eo" if shared else "...ei,eoi->...eo"
        self.weight = nn.Parameter(torch.empty(experts, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(experts, outputs))
        for one in self.weight:
            nn.init.xavier_uniform_(one)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] if shared, else [..., E, inputs], to [..., E, outputs]."""
        return torch.einsum(self.equation, x, self.weight) + self.bias


class BoxExperts(nn.Module):
    """Router and box heads of one decoder layer, in the place of its box head.

    The router's decision is kept in ``call`` for the class heads, so that noise is drawn once.
    """

    def __init__(self, router: Router, call: Pass) -> None:
        super().__init__()
        experts, width = router.weight.shape
        self.router, self.call = router, call
        self.layers = nn.ModuleList(
            StackedLinear(experts, inputs, outputs, shared=number == 0)
            for number, (inputs, outputs) in enumerate(pairwise((width, width, width, 4)))
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [B, D + Q, d] to the fused box step [B, D + Q, 4], before the sigmoid."""
        routed = self.call.route(self.router, hidden)
        *layers, last = self.layers
        for layer in layers:
            hidden = functional.relu(layer(hidden))
        return mixture(last(hidden), routed.weights)


def token_layer(width: int, moe: MoeConfig) -> TokenExperts | TokenMlp:
    """The layer over all tokens; it starts as the identity."""
    if not moe.named_groups:
        return TokenMlp(width, moe.top_k * moe.hidden)
    experts = Experts(len(moe.named_groups), width, moe.hidden, zero_output=True)
    return TokenExperts(RoutedExperts(_router(width, moe, moe.capacity), experts))


def box_head(config: RTDetrV2Config, moe: MoeConfig, call: Pass) -> BoxExperts | BoxHead:
    """A decoder layer's box head, with the router of its queries if there are experts."""
    if not moe.named_groups:
        return BoxHead(config.d_model, config.d_model, 4, num_layers=3)
    # No capacity: a query without an expert would be an answer of logit 0, half a detection.
    return BoxExperts(_router(config.d_model, moe, capacity=0.0), call)


def class_head(config: RTDetrV2Config, moe: MoeConfig) -> StackedLinear | nn.Linear:
    """A decoder layer's class head."""
    if not moe.named_groups:
        return nn.Linear(config.d_model, config.num_labels)
    return StackedLinear(len(moe.named_groups), config.d_model, config.num_labels, shared=True)


def _router(width: int, moe: MoeConfig, capacity: float) -> Router:
    return Router(
        width,
        len(moe.named_groups),
        moe.top_k,
        noise=moe.noise,
        bias_rate=moe.bias_rate if moe.balance == "bias" else 0.0,
        capacity=capacity,
    )
