"""Routing of queries, and how one forward pass reaches layers that get hidden states only."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backend.nn.moe import Router, Routing, route
from backend.trainers.moe_rtdetr.model.outputs import Gate

LEAST = math.exp(-8.0)  # a class that was not asked for loses 8 logits, not infinitely many


class Routed(NamedTuple):
    """``routing`` of the ordinary queries [B, Q], ``weights`` [B, D + Q, E] of all queries."""

    routing: Routing
    weights: Tensor


class Pass:
    """One forward pass, as the layers inside of transformers' network see it.

    ``allowed`` [B, E] is what the query routers may choose, ``select`` [B, 1, C] is added to the
    scores that select queries. Both are set by every pass; what is left of the last one, without
    its graph, serves activation checkpointing, which runs layers again in the backward pass.
    Decisions are only kept while a pass is open. Not for two threads at a time.
    """

    def __init__(self, queries: int) -> None:
        self.queries = queries
        self.allowed: Tensor | None = None
        self.select: Tensor | None = None
        self._routed: list[Routed] | None = None

    @contextmanager
    def open(self, allowed: Tensor | None, select: Tensor | None) -> Iterator[list[Routed]]:
        """Begin a pass; the list fills up in the order of the decoder's layers."""
        self.allowed, self.select = allowed, select
        routed: list[Routed] = []
        self._routed = routed
        try:
            yield routed
        finally:
            self._routed = None
            self.select = None if select is None else select.detach()

    def route(self, router: Router, hidden: Tensor) -> Routed:
        """Route hidden states [B, D + Q, d], of which the last Q are the ordinary queries."""
        extra = hidden.shape[1] - self.queries
        allowed = None if self.allowed is None else self.allowed.unsqueeze(1)
        routing: Routing = router(hidden[:, extra:], allowed=allowed)
        weights = routing.weights
        if extra:
            uncounted = _route_uncounted(router, hidden[:, :extra], allowed)
            weights = torch.cat([uncounted.weights, weights], 1)
        routed = Routed(routing, weights)
        if self._routed is not None:
            self._routed.append(routed)
        return routed


def _route_uncounted(router: Router, x: Tensor, allowed: Tensor | None) -> Routing:
    """Denoising queries: they count in no statistic, so not for the router's bias either."""
    with torch.autocast(x.device.type, enabled=False):
        logits = functional.linear(x.float(), router.weight.float())
        return route(logits, router.k, push=router.bias.float(), allowed=allowed)


def mixture(outputs: Tensor, weights: Tensor) -> Tensor:
    """The experts' ``outputs`` [..., E, x] by their ``weights`` [..., E], in float32: [..., x]."""
    return (outputs * weights.unsqueeze(-1)).sum(-2)


def class_term(gate: Gate) -> Tensor:
    """max(ln r, -8) [B, 1, C] in float32; its gradient is finite at r = 0."""
    return gate.relevance.float().clamp(min=LEAST).log().unsqueeze(1)
