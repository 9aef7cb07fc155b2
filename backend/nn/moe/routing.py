"""Which experts see a token and how much each of them counts.

N tokens, E experts, k choices. Probabilities are a softmax over all experts of the clean logits;
noise and bias move the choice of the k, never a probability, a weight or a loss. The bias is the
balance without a loss of Wang et al. 2024 (arXiv 2408.15664).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.core.errors import ConfigError, TrainingError


@dataclass(frozen=True)
class Routing:
    """The router's decision for tokens of any leading shape.

    ``logits`` [..., E] are clean and at least float32, ``selected`` [..., k] experts by rank,
    ``gates`` [..., k] their weights, which sum to 1. A choice that is not ``active`` (None: all
    are) has weight 0: it is padding, an expert that is not ``allowed`` [..., E] (None: all are),
    or it was ``dropped`` [..., k] (None: nothing was), because the expert had no seat left. Only
    dropped ones are counted, as choices. ``mask`` [...] is True for tokens that are not padding
    (None: all).
    """

    logits: Tensor
    selected: Tensor
    gates: Tensor
    active: Tensor | None = None
    mask: Tensor | None = None
    allowed: Tensor | None = None
    dropped: Tensor | None = None

    @property
    def experts(self) -> int:
        return self.logits.shape[-1]

    @property
    def k(self) -> int:
        return self.selected.shape[-1]

    @cached_property
    def probabilities(self) -> Tensor:
        """[..., E], over all experts."""
        return self.logits.softmax(-1)

    @cached_property
    def weights(self) -> Tensor:
        """[..., E], the gates at their experts and 0 elsewhere."""
        return torch.zeros_like(self.logits).scatter(-1, self.selected, self.gates)

    @cached_property
    def counts(self) -> Tensor:
        """Tokens that chose each expert [E]; their sum is tokens x k unless experts are pruned."""
        if self.active is None or self.dropped is None:
            return self._per_expert(self.active)
        return self._per_expert(self.active | self.dropped)

    @cached_property
    def loads(self) -> Tensor:
        """Tokens that each expert works on [E]: ``counts`` without what was dropped."""
        return self.counts if self.dropped is None else self._per_expert(self.active)

    @cached_property
    def stranded(self) -> Tensor:
        """Tokens whose every choice was dropped."""
        if self.active is None or self.dropped is None:
            return self.selected.new_tensor(0)
        return (self.dropped.any(-1) & ~self.active.any(-1)).sum()

    def unpruned(self) -> "Routing":
        """The same without tokens that may not use every expert: balancing those would push
        towards experts that are to be skipped."""
        return self if self.allowed is None else self.only(self.allowed.all(-1))

    def only(self, tokens: Tensor) -> "Routing":
        """The same with all other tokens treated as padding; ``tokens`` broadcasts to [...]."""
        kept = tokens.expand_as(self.selected[..., 0])
        each = kept.unsqueeze(-1).expand_as(self.selected)
        return replace(
            self,
            gates=self.gates * each,
            active=each if self.active is None else self.active & each,
            mask=kept if self.mask is None else self.mask & kept,
            dropped=None if self.dropped is None else self.dropped & each,
        )

    def _per_expert(self, active: Tensor | None) -> Tensor:
        numbers = torch.arange(self.experts, device=self.selected.device)
        chosen = self.selected.unsqueeze(-1) == numbers
        if active is not None:
            chosen = chosen & active.unsqueeze(-1)
        return chosen.flatten(0, -2).sum(0)

    @cached_property
    def tokens(self) -> Tensor:
        """Tokens that are not padding."""
        if self.mask is not None:
            return self.mask.sum()
        return self.selected.new_tensor(self.selected[..., 0].numel())

    def total(self, values: Tensor) -> Tensor:
        """The sum [X] of ``values`` [..., X] over tokens that are not padding."""
        if self.mask is not None:
            values = values * self.mask.unsqueeze(-1)
        return values.flatten(0, -2).sum(0)


def route(
    logits: Tensor,
    k: int,
    mask: Tensor | None = None,
    *,
    push: Tensor | None = None,
    allowed: Tensor | None = None,
    capacity: float = 0.0,
) -> Routing:
    """Choose the k experts with the largest ``logits + push``; equal ones by lower number.

    Logits are ranked, not probabilities, which underflow to ties. ``push`` (bias, noise) only
    moves the choice. ``allowed`` (True where an expert may be chosen) broadcasts to ``logits``
    [..., E]; a token with fewer than k allowed experts uses those it has. With a ``capacity``
    (0: off) each expert takes at most that many even shares of the choices of a row of tokens
    (an image of [B, L, E], whose answer then does not depend on the rest of the batch): all first
    choices in the order of tokens, then all second ones; weights of the rest are 0 and the
    others' are not raised. Raises ConfigError for a k that is not in 1..E or a token without any
    expert, TrainingError for logits that are not finite outside of padding.
    """
    _check_k(k, logits.shape[-1])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if mask is not None:
        mask = mask.bool()
        logits = logits.masked_fill(~mask.unsqueeze(-1), 0.0)
    _check_finite(logits)
    scores = logits.detach() if push is None else logits.detach() + push
    if allowed is not None:
        if not allowed.any(-1).all():
            raise ConfigError("a token may use no expert at all; allow at least one")
        scores = scores.masked_fill(~allowed, -torch.inf)
    selected = scores.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    routing = _weighted(logits, selected, mask, allowed)
    return _seated(routing, capacity) if capacity else routing


def _weighted(
    logits: Tensor, selected: Tensor, mask: Tensor | None, allowed: Tensor | None
) -> Routing:
    # A softmax over the chosen logits is p renormalised, without 0 / 0 where all p underflow.
    chosen = logits.gather(-1, selected)
    active = None
    if allowed is not None:
        active = allowed.expand_as(logits).gather(-1, selected)
        chosen = chosen.masked_fill(~active, -torch.inf)
    gates = chosen.softmax(-1)
    if mask is not None:
        real = mask.unsqueeze(-1).expand_as(selected)
        active = real if active is None else real & active
        gates = gates * real
    return Routing(logits, selected, gates, active, mask, allowed)


def _seated(routing: Routing, capacity: float) -> Routing:
    """Drop the choices beyond ceil(capacity x choices / experts) of each expert in each row."""
    active = routing.active
    if active is None:
        active = torch.ones_like(routing.selected, dtype=torch.bool)
    queue = routing.selected.transpose(-1, -2).flatten(-2)
    waiting = active.transpose(-1, -2).flatten(-2)
    asked = functional.one_hot(queue, routing.experts) * waiting.unsqueeze(-1)
    place = (asked.cumsum(-2) * asked).sum(-1)
    usable = torch.full_like(waiting.sum(-1), routing.experts)
    if routing.allowed is not None:
        usable = routing.allowed.expand_as(routing.logits).any(-2).sum(-1)
    share = waiting.sum(-1).double() / usable
    seats = (capacity * share - 1e-6).ceil()  # 1.1 x 10 is 11, not 11.000000000000002
    late = place > seats.unsqueeze(-1)
    late = late.view(routing.selected.transpose(-1, -2).shape).transpose(-1, -2)
    gates = routing.gates.masked_fill(late, 0.0)
    return replace(routing, gates=gates, active=active & ~late, dropped=late)


def _check_k(k: int, experts: int) -> None:
    if not 1 <= k <= experts:
        raise ConfigError(f"top-k is {k}, but with {experts} experts it must be 1 to {experts}")


def _check_finite(logits: Tensor) -> None:
    if not logits.isfinite().all():
        bad = int((~logits.isfinite().all(-1)).sum())
        raise TrainingError(
            f"the router's logits are NaN or infinite for {bad} of "
            f"{logits[..., 0].numel()} tokens; lower the learning rate, or train without AMP"
        )


class Router(nn.Module):
    """A linear router, in float32 also under AMP and in a half precision model.

    ``noise``: the choice while training gets Gaussian noise of standard deviation noise / E.
    ``bias_rate`` > 0 balances without a loss: call ``update_bias`` after each optimizer step. The
    bias is a buffer, so it belongs in checkpoints and EMA copies. ``capacity`` as in ``route``.
    """

    bias: Tensor

    def __init__(
        self,
        width: int,
        experts: int,
        k: int,
        *,
        noise: float = 0.0,
        bias_rate: float = 0.0,
        capacity: float = 0.0,
    ) -> None:
        super().__init__()
        _check_k(k, experts)
        if min(noise, bias_rate, capacity) < 0:
            raise ConfigError(
                f"noise ({noise}), bias rate ({bias_rate}) and capacity ({capacity}) "
                "must not be negative"
            )
        self.k, self.noise, self.bias_rate, self.capacity = k, noise, bias_rate, capacity
        self.weight = nn.Parameter(torch.empty(experts, width))
        nn.init.xavier_uniform_(self.weight)
        self.register_buffer("bias", torch.zeros(experts))
        # Not a buffer: DDP would overwrite every process' counts with those of the first.
        self._load: Tensor | None = None

    def forward(
        self, x: Tensor, mask: Tensor | None = None, allowed: Tensor | None = None
    ) -> Routing:
        """Route ``x`` [..., d]; ``mask`` and ``allowed`` as in ``route``, which see for errors."""
        if mask is not None:
            mask = mask.bool()
            x = x.masked_fill(~mask.unsqueeze(-1), 0.0)
        with torch.autocast(x.device.type, enabled=False):
            logits = functional.linear(x.float(), self.weight.float())
            push = self._push(logits)
            routing = route(
                logits, self.k, mask, push=push, allowed=allowed, capacity=self.capacity
            )
        if self.training and self.bias_rate:
            counts = routing.unpruned().counts
            self._load = counts if self._load is None else self._load + counts
        return routing

    def _push(self, logits: Tensor) -> Tensor | None:
        push = self.bias.float() if self.bias_rate else None
        if self.training and self.noise:
            noise = torch.randn_like(logits) * (self.noise / logits.shape[-1])
            push = noise if push is None else push + noise
        return push

    @torch.no_grad()
    def update_bias(self) -> None:
        """Push towards experts that got less than their share since the last call.

        Counts are summed over processes, so every process must call it.
        """
        load = torch.zeros_like(self.bias) if self._load is None else self._load.to(self.bias)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(load)
        self.bias += self.bias_rate * torch.sign(load.mean() - load)
        self._load = None


def load_balance_loss(routing: Routing) -> Tensor:
    """E x sum of usage x mean probability: 1 when even, for every k; 0 without tokens.

    The Switch loss (arXiv 2101.03961) with the k divided out. Its gradient flows through the
    probabilities of all experts, chosen or not. One layer's; average layers, do not pool them:
    opposite collapses would cancel. Tokens that may not use every expert are left out, or the
    loss would push them towards those.
    """
    routing = routing.unpruned()
    usage = routing.counts / routing.counts.sum().clamp(min=1)
    mean_p = routing.total(routing.probabilities) / routing.tokens.clamp(min=1)
    return routing.experts * (usage * mean_p).sum()


def z_loss(routing: Routing) -> Tensor:
    """Mean squared logsumexp of the logits (ST-MoE, arXiv 2202.08906); 0 without tokens."""
    squared = routing.logits.logsumexp(-1, keepdim=True).square()
    return routing.total(squared).squeeze(-1) / routing.tokens.clamp(min=1)
