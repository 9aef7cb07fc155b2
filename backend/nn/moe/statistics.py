"""How evenly, how surely and how often the experts are used.

Everything is derived from sums over tokens, so that a validation pass is summed first and
divided once: the mean of ratios of batches of different size is wrong, and an expert is dead
over a pass, not over a batch. One object per layer; average the layers' values afterwards.
"""

import math
from collections.abc import Mapping
from typing import Any, Self, TypedDict, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from backend.core.errors import ConfigError
from backend.nn.moe.routing import Routing, route


class RouterSummary(TypedDict):
    """What ``RouterTotals`` says of a pass; plain numbers, NaN where the divisor is 0.

    Entropies in nats. ``P`` is the mean probability, ``mass`` the mean weight of each expert,
    ``hit`` the share of tokens that chose it, ``usage`` its share of the choices (dead: below
    dead_ratio / E), ``utilisation`` usage x E. ``diversity`` is exp(usage entropy) / E.
    ``mutual_information`` is between token and expert: entropy of P minus routing entropy.
    ``dropped`` is the share of choices that found no seat (see capacity in ``route``) and
    ``stranded`` the number of tokens left without any expert; both count as choices elsewhere.
    """

    tokens: int
    count: list[int]
    usage: list[float]
    utilisation: list[float]
    hit: list[float]
    mass: list[float]
    P: list[float]
    load_balance: float
    load_balance_hf: float
    z_loss: float
    importance_cv2: float
    load_cv2: float
    routing_entropy: float
    routing_entropy_share: float
    usage_entropy: float
    usage_entropy_share: float
    gate_entropy: float
    max_entropy: float
    mutual_information: float
    diversity: float
    max_violation: float
    dropped: float
    stranded: int
    dead: list[int]
    unused: list[int]
    overloaded: list[int]


def router_statistics(
    logits: ArrayLike | Tensor,
    k: int,
    mask: ArrayLike | Tensor | None = None,
    *,
    bias: ArrayLike | Tensor | None = None,
    noise: ArrayLike | Tensor | None = None,
    dead_ratio: float = 0.1,
) -> dict[str, Any]:
    """The routing quantities of one set of tokens, from ``logits`` [..., E], in float64.

    ``mask`` [...] is 0 for padding, which counts nowhere. ``bias`` [E] and ``noise`` [..., E]
    move the choice only. Values are tensors, differentiable where the definition is, but ``dead``
    is a list of expert numbers. ``selected`` [N, k] (ascending) and ``weights`` [N, E] hold the
    tokens that are not padding. Tensors, arrays and lists will do. One layer's: average layers,
    do not pool them. Raises as ``route``.
    """
    values = _double(logits)
    push = torch.zeros_like(values)
    for part in (bias, noise):
        if part is not None:
            push = push + _double(part).to(push)
    if mask is not None:
        real = _double(mask).bool().to(values.device)
        values, push = values[real], push[real]
    experts = values.shape[-1]
    routing = route(values.reshape(-1, experts), k, push=push.reshape(-1, experts))
    found: dict[str, Any] = derived(sums(routing), experts)
    dead = _below(found["count"], dead_ratio)
    return found | {
        "dead": dead,
        "selected": routing.selected.sort(-1).values,
        "weights": routing.weights,
    }


def _double(values: ArrayLike | Tensor) -> Tensor:
    if isinstance(values, Tensor):
        return values.double()
    return torch.from_numpy(np.array(values, dtype=np.float64))  # a copy: it may be read-only


def sums(routing: Routing) -> Tensor:
    """Sums over tokens in float64: count, p and w of each expert, then six scalars.

    The scalars are tokens, entropy of p, entropy of w, squared logsumexp, dropped choices and
    tokens left without an expert.
    """
    logits, w = routing.logits.double(), routing.weights.double()
    p = logits.softmax(-1)
    scalars = [_entropy(p), _entropy(w), logits.logsumexp(-1).square()]
    each = torch.cat([p, w, torch.stack(scalars, dim=-1)], dim=-1)
    p_sum, w_sum, rest = torch.split(routing.total(each), [routing.experts, routing.experts, 3])
    lost = torch.stack([(routing.counts - routing.loads).sum(), routing.stranded])
    tokens = routing.tokens.unsqueeze(0)
    return torch.cat([routing.counts.double(), p_sum, w_sum, tokens, rest, lost])


def derived(total: Tensor, experts: int) -> dict[str, Tensor]:
    """Every quantity that follows from ``sums``, under its name in the specification."""
    count, p_sum, w_sum, scalars = torch.split(total, [experts, experts, experts, 6])
    tokens, entropy, gate_entropy, squared, dropped, stranded = scalars
    usage, hit, mean_p = count / count.sum(), count / tokens, p_sum / tokens
    usage_entropy = _entropy(usage)
    highest = total.new_tensor(math.log(experts))
    return {
        "count": count,
        "usage": usage,
        "utilisation": usage * experts,
        "hit": hit,
        "mass": w_sum / tokens,
        "P": mean_p,
        "load_balance": experts * (usage * mean_p).sum(),
        "load_balance_hf": experts * (hit * mean_p).sum(),
        "z_loss": squared / tokens,
        "importance_cv2": _cv2(w_sum),
        "load_cv2": _cv2(count),
        "routing_entropy": entropy / tokens,
        "routing_entropy_share": entropy / tokens / highest,
        "usage_entropy": usage_entropy,
        "usage_entropy_share": usage_entropy / highest,
        "gate_entropy": gate_entropy / tokens,
        "max_entropy": highest,
        "mutual_information": _entropy(mean_p) - entropy / tokens,
        "diversity": usage_entropy.exp() / experts,
        "max_violation": count.max() / count.mean() - 1,
        "dropped": dropped / count.sum(),
        "stranded": stranded,
    }


def _entropy(p: Tensor) -> Tensor:
    """Over the last axis, in nats; its gradient is finite at p = 0."""
    return (p * p.clamp(min=torch.finfo(p.dtype).tiny).log().neg()).sum(-1)


def _cv2(values: Tensor) -> Tensor:
    return values.var(correction=0) / values.mean().square()


def _below(count: Tensor, ratio: float) -> list[int]:
    """Experts with less than ``ratio`` of an even share; none where nothing was counted."""
    counts = count.tolist()
    least = ratio * sum(counts) / len(counts)
    return [expert for expert, got in enumerate(counts) if got < least]


class Totals:
    """Sums that add up over batches, and over processes."""

    def __init__(self, total: Tensor) -> None:
        self.total = total

    def add(self, more: Tensor) -> None:
        self.total = self.total.to(more.device) + more.detach()

    def merge(self, other: Self) -> None:
        """Take in what another process, or another part of the pass, has seen."""
        if other.total.shape != self.total.shape:
            raise ConfigError(
                f"cannot merge totals of shape {tuple(other.total.shape)} into "
                f"{tuple(self.total.shape)}; both must count the same experts and classes"
            )
        self.add(other.total.to(self.total.device))

    def all_reduce(self) -> None:
        """Merge over the processes of ``torch.distributed``; all of them must call it."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            nccl = torch.distributed.get_backend() == "nccl"
            self.total = self.total.to("cuda" if nccl else "cpu")
            torch.distributed.all_reduce(self.total)


class RouterTotals(Totals):
    """A router's statistics over a whole pass, fed batch by batch, without waiting for the GPU.

    ``overload_ratio``: an expert is overloaded above this multiple of its even share, or halfway
    to the largest share that k choices allow, whichever is less.
    """

    def __init__(
        self, experts: int, k: int, *, dead_ratio: float = 0.1, overload_ratio: float = 2.0
    ) -> None:
        super().__init__(torch.zeros(3 * experts + 6, dtype=torch.float64))
        self.experts, self.k = experts, k
        self.dead_ratio, self.overload_ratio = dead_ratio, overload_ratio

    def update(self, routing: Routing) -> None:
        """Add a batch. Raises ConfigError for a routing of another E or k."""
        if (routing.experts, routing.k) != (self.experts, self.k):
            raise ConfigError(
                f"routing has {routing.experts} experts and k {routing.k}, the totals have "
                f"{self.experts} and {self.k}"
            )
        self.add(sums(routing))

    def summary(self) -> RouterSummary:
        """All quantities over what was seen so far."""
        values = derived(self.total, self.experts)
        plain: Mapping[str, Any] = {name: value.tolist() for name, value in values.items()}
        limit = min(self.overload_ratio, (1 + self.experts / self.k) / 2)
        count = plain["count"]
        even = sum(count) / self.experts
        lists = {
            "tokens": round(float(self.total[3 * self.experts])),
            "stranded": round(plain["stranded"]),
            "count": [round(got) for got in count],
            "dead": _below(values["count"], self.dead_ratio),
            "unused": [e for e, got in enumerate(count) if got == 0 and even > 0],
            "overloaded": [e for e, got in enumerate(count) if got > limit * even],
        }
        return cast(RouterSummary, {**plain, **lists})
