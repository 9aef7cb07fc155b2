"""Which query stands for which object: the Hungarian matching of RT-DETR, one per layer."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from backend.nn.moe.class_losses import Target, overlaps
from backend.trainers.moe_rtdetr.model.outputs import Predicted

CLASS, BOX, GIOU = 2.0, 5.0, 2.0  # costs of RT-DETR
ALPHA, GAMMA, SMALL = 0.25, 2.0, 1e-8


class Matching(NamedTuple):
    """M pairs: ``image`` and ``query`` [M], and the ``target`` [M], counted through the batch."""

    image: Tensor
    query: Tensor
    target: Tensor


@torch.no_grad()
def match(layers: Sequence[Predicted], targets: Sequence[Target]) -> list[Matching]:
    """The cheapest one-to-one assignment of each layer, with as many pairs in every layer.

    An image has min(queries, targets) pairs. Costs go to the CPU once for all layers. As in
    transformers, a cost that is no number is the highest one, so that a diverging query is taken
    last instead of ending the run.
    """
    labels = pad_sequence([t["class_labels"] for t in targets], batch_first=True)
    boxes = pad_sequence([t["boxes"].float() for t in targets], batch_first=True)
    costs = torch.stack([_costs(layer, labels, boxes) for layer in layers]).cpu().numpy()
    counts = [len(t["class_labels"]) for t in targets]
    pairs = torch.from_numpy(np.stack([_assigned(cost, counts) for cost in costs]))
    return [Matching(*layer) for layer in pairs.to(labels.device)]


def _assigned(costs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Image, query and target [3, M] for the costs [B, Q, T] of one layer."""
    found = []
    first = accumulate(counts, initial=0)
    for at, (cost, count, start) in enumerate(zip(costs, counts, first, strict=False)):
        query, target = linear_sum_assignment(cost[:, :count])
        found.append(np.stack([np.full_like(query, at), query, target + start]))
    return np.concatenate(found, axis=1)


def _costs(layer: Predicted, labels: Tensor, boxes: Tensor) -> Tensor:
    """What it costs [B, Q, T] to let a query stand for a target [B, T], in float32."""
    p, found = layer.logits.float().sigmoid(), layer.boxes.float()
    wrong = (1 - ALPHA) * p**GAMMA * -(1 - p + SMALL).log()
    right = ALPHA * (1 - p) ** GAMMA * -(p + SMALL).log()
    chosen = labels.unsqueeze(1).expand(-1, p.shape[1], -1)
    costs = CLASS * (right - wrong).gather(-1, chosen) + BOX * torch.cdist(found, boxes, p=1)
    costs = costs - GIOU * overlaps(found.unsqueeze(2), boxes.unsqueeze(1))[1]
    highest = torch.finfo(costs.dtype).max
    return costs.nan_to_num(nan=highest, posinf=highest, neginf=highest)
