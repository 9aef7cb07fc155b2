"""Which experts see a token and how much each of them counts.

N tokens, E experts, k choices. Probabilities are a softmax over all experts of the clean logits;
noise and bias move the choice of the k, never a probability, a weight or a loss. The bias is the
balance without a loss of Wang et al. 2024 (arXiv 2408.15664).
"""

from dataclasses import dataclass
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
    are) is padding or a pruned expert: weight 0, not counted. ``mask`` [...] is True for tokens
    that are not padding (None: all).
    """

    logits: Tensor
    selected: Tensor
    gates: Tensor
    active: Tensor | None = None
    mask: Tensor | None = None

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
        numbers = torch.arange(self.experts, device=self.selected.device)
        chosen = self.selected.unsqueeze(-1) == numbers
        if self.active is not None:
            chosen = chosen & self.active.unsqueeze(-1)
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
) -> Routing:
    """Choose the k experts with the largest ``logits + push``; equal ones by lower number.

    Logits are ranked, not probabilities, which underflow to ties. ``push`` (bias, noise) only
    moves the choice. ``allowed`` (True where an expert may be chosen) broadcasts to ``logits``
    [..., E]; a token with fewer than k allowed experts uses those it has. Raises ConfigError for
    a k that is not in 1..E or a token without any expert, TrainingError for logits that are not
    finite outside of padding.
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
    return _weighted(logits, selected, mask, allowed)


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
    return Routing(logits, selected, gates, active, mask)


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
    bias is a buffer, so it belongs in checkpoints and EMA copies.
    """

    bias: Tensor

    def __init__(
        self, width: int, experts: int, k: int, *, noise: float = 0.0, bias_rate: float = 0.0
    ) -> None:
        super().__init__()
        _check_k(k, experts)
        if noise < 0 or bias_rate < 0:
            raise ConfigError(f"noise ({noise}) and bias rate ({bias_rate}) must not be negative")
        self.k, self.noise, self.bias_rate = k, noise, bias_rate
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
            routing = route(logits, self.k, mask, push=self._push(logits), allowed=allowed)
        if self.training and self.bias_rate:
            self._load = routing.counts if self._load is None else self._load + routing.counts
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
    opposite collapses would cancel.
    """
    usage = routing.counts / routing.counts.sum().clamp(min=1)
    mean_p = routing.total(routing.probabilities) / routing.tokens.clamp(min=1)
    return routing.experts * (usage * mean_p).sum()


def z_loss(routing: Routing) -> Tensor:
    """Mean squared logsumexp of the logits (ST-MoE, arXiv 2202.08906); 0 without tokens."""
    squared = routing.logits.logsumexp(-1, keepdim=True).square()
    return routing.total(squared).squeeze(-1) / routing.tokens.clamp(min=1)
