"""Small reports of what experts did, with numbers that a reader can check."""

import math
from typing import Any

from backend.core.experts import Affinity, ExpertLoss, ExpertReport, RouterReport


def router(name: str, *usage: float, routing: float = 0.5, **changes: Any) -> RouterReport:
    """A router with these shares of a thousand tokens; ``routing`` is its entropy as a share of
    ln E. Its probabilities are the shares, so load balance is E times the sum of squares."""
    count = len(usage)
    made = RouterReport(
        name=name, tokens=1000, counts=tuple(round(1000 * share) for share in usage), usage=usage,
        importance=usage, probability=usage, routing_entropy=routing * math.log(count),
        usage_entropy=-sum(share * math.log(share) for share in usage if share),
        gate_entropy=0.3, load_balance=count * sum(share**2 for share in usage), z_loss=2.0,
        max_violation=count * max(usage) - 1,
        dead=tuple(i for i, share in enumerate(usage) if share < 0.1 / count),
        unused=tuple(i for i, share in enumerate(usage) if share == 0),
    )  # fmt: skip
    return made.model_copy(update=changes)


def loss(total: float, objects: int) -> ExpertLoss:
    """A part of the detection loss of four objects."""
    return ExpertLoss(vfl=total, bbox=0.0, giou=0.0, total=total, objects=objects,
                      per_object=4 * total / objects if objects else None)  # fmt: skip


def report(objects: tuple[int, int] = (3, 1), **changes: Any) -> ExpertReport:
    """Two experts, a for class x and b for class y, top-k 1."""
    made = ExpertReport(
        split="val", step=10, epoch=1, images=8, experts=("a", "b"), groups=(("x",), ("y",)),
        classes=("x", "y"), k=1, supervised=True,
        routers=(router("token", 0.5, 0.5), router("query/0", 0.6, 0.4)),
        classes_to_experts=Affinity(rows=("x", "y"), objects=objects,
                                    matrix=((0.8, 0.2), (0.3, 0.7))),
        sizes_to_experts=Affinity(rows=("small", "medium", "large"), objects=(0, 3, 1),
                                  matrix=(None, (0.8, 0.2), (0.3, 0.7))),
        alignment=0.75, alignment_micro=0.775, specialisation=0.2,
        losses=(loss(0.6, objects[0]), loss(0.4, objects[1])), train_losses=(0.7, 0.5),
        per_class={"x": 0.5, "y": 0.25},
    )  # fmt: skip
    return made.model_copy(update=changes)
