"""What the routers are trained on: even use, small logits, and the right expert for an object."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from backend.nn.moe import Routing, load_balance_loss, z_loss
from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.matching import Matching
from backend.trainers.moe_rtdetr.model.outputs import Output
from backend.trainers.moe_rtdetr.spec import MoeConfig

Number = TypeVar("Number", float, Tensor)


@dataclass(frozen=True)
class Supervision:
    """Summed cross-entropy of a kind of router, and over how many tokens or queries."""

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """0 where there was nothing to learn from."""
        return self.total / self.count.clamp(min=1)


@dataclass(frozen=True)
class RoutingLosses:
    """Without their weights. ``load_balance`` is 1 when even. The first two are means over a
    kind's layers, then over the kinds (token and query)."""

    load_balance: Tensor
    z_loss: Tensor
    query: Supervision
    token: Supervision


def weighted(moe: MoeConfig, balance: Number, z: Number, query: Number, token: Number) -> Number:
    """What the routers add to the loss; the balance only where it is a loss that balances."""
    balance_weight = moe.load_balance_weight if moe.balance == "loss" else 0.0
    return (
        balance * balance_weight
        + z * moe.z_loss_weight
        + query * moe.route_sup
        + token * moe.route_sup_token
    )


def routing_losses(
    output: Output, targets: Sequence[Target], last: Matching, owners: Tensor
) -> RoutingLosses:
    """All routers' losses, for the ``last`` layer's matching and the expert in charge of each
    class, ``owners`` [C]."""
    labels = torch.cat([t["class_labels"] for t in targets])[last.target]
    found = [
        _cross_entropy(routing.logits[last.image, last.query], owners[labels])
        for routing in output.routings.get("query", ())
    ]
    inside = [
        token_supervision(routing, targets, output.sizes, owners)
        for routing in output.routings.get("token", ())
    ]
    return RoutingLosses(
        load_balance=_over_kinds(output.routings, load_balance_loss),
        z_loss=_over_kinds(output.routings, z_loss),
        query=_together(found, labels),
        token=_together(inside, labels),
    )


def token_supervision(
    routing: Routing, targets: Sequence[Target], sizes: Sequence[tuple[int, int]], owners: Tensor
) -> Supervision:
    """Of tokens [B, L] whose centre lies in an object's box; the smallest box wins.

    ``sizes`` are height and width of the levels' maps, in the order of the tokens. Raises
    ValueError if they are not those of the tokens.
    """
    labels = pad_sequence([t["class_labels"] for t in targets], batch_first=True)
    boxes = pad_sequence([t["boxes"].float() for t in targets], batch_first=True).unsqueeze(1)
    centres = torch.cat([_centres(*size, labels.device) for size in sizes])
    if len(centres) != routing.logits.shape[1]:
        raise ValueError(f"maps of {sizes} do not have {routing.logits.shape[1]} tokens")
    if not labels.shape[1]:
        return _cross_entropy(routing.logits[:0, 0], labels.flatten())
    apart = (centres.unsqueeze(1) - boxes[..., :2]).abs()  # [B, L, T, 2]
    inside = (apart <= boxes[..., 2:] / 2).all(-1) & (boxes[..., 2:] > 0).all(-1)
    area, smallest = boxes[..., 2:].prod(-1).where(inside, torch.inf).min(-1)
    image, token = area.isfinite().nonzero(as_tuple=True)
    found = labels[image, smallest[image, token]]
    return _cross_entropy(routing.logits[image, token], owners[found])


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """x and y of a map's cells [height x width, 2] in 0..1, row by row."""
    y, x = (
        (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
        for side in (height, width)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)


def _cross_entropy(logits: Tensor, owners: Tensor) -> Supervision:
    total = functional.cross_entropy(logits.float(), owners, reduction="sum")
    return Supervision(total, total.new_tensor(float(len(owners))))


def _together(parts: Sequence[Supervision], like: Tensor) -> Supervision:
    none = torch.zeros((), device=like.device)
    total = sum((part.total for part in parts), none)
    return Supervision(total, sum((part.count for part in parts), none))


def _over_kinds(
    routings: Mapping[str, Sequence[Routing]], loss: Callable[[Routing], Tensor]
) -> Tensor:
    """Layer by layer: one collapse must not hide another."""
    kinds = [torch.stack([loss(layer) for layer in layers]).mean() for layers in routings.values()]
    return torch.stack(kinds).mean()
