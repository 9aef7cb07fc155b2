"""Experts, each run once on the tokens that chose it.

Tokens are sorted by expert, every expert multiplies its slice, and the result is put back and
summed over the choices. Both permutations are gathers, forward and backward, so the result does
not depend on the order of atomic additions on a GPU.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from backend.core.errors import ConfigError
from backend.nn.moe.routing import Router, Routing

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "silu": functional.silu,
}


class Experts(nn.Module):
    """E feed-forward networks d -> f -> d with weights stacked over experts.

    Stacked, so that an expert without tokens has a zero gradient and not a missing one, at which
    DDP would wait forever. ``zero_output``: the second layer starts at 0, so that a residual
    branch starts as the identity. ``grouped``: use torch's grouped matmul instead of slices.
    """

    def __init__(
        self,
        experts: int,
        width: int,
        hidden: int,
        *,
        activation: str = "relu",
        zero_output: bool = False,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
        if grouped and (width % 8 or hidden % 8):
            raise ConfigError(
                f"grouped matmul needs widths that are multiples of 8, not {width} and {hidden}"
            )
        self.activation = activation
        self.grouped = grouped
        self.up_weight = nn.Parameter(torch.empty(experts, hidden, width))
        self.up_bias = nn.Parameter(torch.zeros(experts, hidden))
        self.down_weight = nn.Parameter(torch.zeros(experts, width, hidden))
        self.down_bias = nn.Parameter(torch.zeros(experts, width))
        for weight in (self.up_weight,) if zero_output else (self.up_weight, self.down_weight):
            for one in weight:
                nn.init.xavier_uniform_(one)

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """The weighted sum of each token's experts: [N, d] to [N, d]; 0 without any."""
        order, back, counts = _plan(routing)
        rows = _spread(x, order, back, routing.k)
        done = (self._grouped if self.grouped else self._sliced)(rows, counts)
        done = _spread(done, back, order, 1)
        gates = routing.gates.reshape(-1, routing.k, 1)
        mixed: Tensor = (done.view(-1, routing.k, x.shape[1]) * gates).sum(1)
        return mixed.to(x.dtype)

    def every(self, x: Tensor) -> Tensor:
        """All experts on all tokens: [N, d] to [N, E, d]."""
        up = torch.einsum("nd,efd->nef", x, self.up_weight) + self.up_bias
        active = ACTIVATIONS[self.activation](up)
        return torch.einsum("nef,edf->ned", active, self.down_weight) + self.down_bias

    def _sliced(self, rows: Tensor, counts: list[int]) -> Tensor:
        *slices, rest = torch.split(rows, [*counts, len(rows) - sum(counts)])
        act = ACTIVATIONS[self.activation]
        # unbind, not indexing: its gradient is one stack, not E full-size tensors added up.
        layers = (self.up_weight, self.up_bias, self.down_weight, self.down_bias)
        done = [
            functional.linear(act(functional.linear(part, up, up_bias)), down, down_bias)
            for part, up, up_bias, down, down_bias in zip(
                slices, *(layer.unbind() for layer in layers), strict=True
            )
        ]
        return torch.cat([*done, done[0].new_zeros(rest.shape)])

    def _grouped(self, rows: Tensor, counts: list[int]) -> Tensor:
        kind = rows.device.type
        if torch.is_autocast_enabled(kind):  # grouped_mm does not do this itself
            rows = rows.to(torch.get_autocast_dtype(kind))
        used = torch.tensor(counts, device=rows.device)
        expert = torch.arange(len(counts), device=rows.device).repeat_interleave(used)
        # The bias by a product: its gradient is one too, where indexing would add row by row.
        chosen = functional.one_hot(expert, len(counts)).to(rows.dtype)
        ends = used.cumsum(0).to(torch.int32)
        up = functional.grouped_mm(
            rows[: len(expert)], self.up_weight.mT.to(rows.dtype), offs=ends
        )
        hidden = ACTIVATIONS[self.activation](up + chosen @ self.up_bias)
        done = (
            functional.grouped_mm(hidden, self.down_weight.mT.to(rows.dtype), offs=ends)
            + chosen @ self.down_bias
        )
        return torch.cat([done, done.new_zeros(len(rows) - len(done), rows.shape[1])])


def _plan(routing: Routing) -> tuple[Tensor, Tensor, list[int]]:
    """Order of the choices by expert, inactive ones last; its inverse; tokens per expert."""
    expert = routing.selected
    if routing.active is not None:
        expert = expert.masked_fill(~routing.active, routing.experts)
    order = expert.flatten().argsort(stable=True)
    back = torch.empty_like(order).scatter_(
        0, order, torch.arange(len(order), device=order.device)
    )
    return order, back, routing.loads.tolist()


def _spread(x: Tensor, order: Tensor, back: Tensor, k: int) -> Tensor:
    """Row r of the result is row order[r] // k of ``x``; ``back`` is the inverse of ``order``."""
    rows: Tensor = _Spread.apply(x, order, back, k)  # type: ignore[no-untyped-call]
    return rows


class _Spread(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, back: Tensor, k: int) -> Tensor:
        ctx.save_for_backward(back)
        ctx.k = k
        return x.index_select(0, order // k)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (back,) = ctx.saved_tensors
        rows = gradient.index_select(0, back)
        return rows.view(-1, ctx.k, rows.shape[1]).sum(1), None, None, None


class RoutedExperts(nn.Module):
    """Router and experts; norm and residual are the caller's."""

    def __init__(self, router: Router, experts: Experts) -> None:
        super().__init__()
        routes, width = router.weight.shape
        if (routes, width) != (len(experts.up_weight), experts.up_weight.shape[2]):
            raise ConfigError(
                f"the router is for {routes} experts of width {width}, the experts are "
                f"{len(experts.up_weight)} of width {experts.up_weight.shape[2]}"
            )
        self.router, self.experts = router, experts

    def forward(
        self, x: Tensor, mask: Tensor | None = None, allowed: Tensor | None = None
    ) -> tuple[Tensor, Routing]:
        """Tokens [..., d] to the same shape, and how they were routed. Raises as ``route``."""
        routing: Routing = self.router(x, mask, allowed)
        return self.experts(x.reshape(-1, x.shape[-1]), routing).view(x.shape), routing
