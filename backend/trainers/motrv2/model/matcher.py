"""Which query stands for which object of a frame (specs/motrv2.md, 1.5)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert, box_iou, generalized_box_iou

from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.model.queries import UNNAMED, Found, Queries

CLASS, BOX, GIOU = 2.0, 5.0, 2.0
ALPHA, GAMMA, SMALL = 0.25, 2.0, 1e-8


@dataclass(frozen=True)
class Pairs:
    """M pairs: ``query`` (M,) and ``target`` (M,), both indices of a frame."""

    query: Tensor
    target: Tensor

    def followed_by(self, others: "Pairs") -> "Pairs":
        """These, then others."""
        query = torch.cat([self.query, others.query])
        return Pairs(query, torch.cat([self.target, others.target]))


@torch.no_grad()
def assign(queries: Queries, found: Found, frame: Frame) -> tuple[Queries, list[Pairs]]:
    """The queries with ids and overlaps of this frame, and the pairs of each layer.

    A query with an id keeps its object, or none if that is absent. Those without compete for
    the objects left; each layer decides anew, the last layer's winners get the ids.
    """
    same = queries.ids[:, None] == frame.ids
    inherited = Pairs(*same.nonzero(as_tuple=True))
    free = (queries.ids == UNNAMED).nonzero().flatten()
    left = (~same.any(0)).nonzero().flatten()
    layers = [one.followed_by(inherited) for one in _cheapest(found, frame, free, left)]
    last = layers[-1]
    ids = queries.ids.index_put((last.query,), frame.ids[last.target])
    overlaps = _overlaps(found.boxes[-1][last.query], frame.boxes[last.target])
    ious = queries.ious.index_put((last.query,), overlaps)
    return replace(queries, ids=ids, ious=ious), layers


def _cheapest(found: Found, frame: Frame, free: Tensor, left: Tensor) -> Iterator[Pairs]:
    """Of each layer, the cheapest one-to-one pairs of ``free`` queries and objects ``left``."""
    labels, boxes = frame.labels[left], frame.boxes[left]
    logits, predicted = found.logits[:, free], found.boxes[:, free]
    costs = _costs(logits.flatten(0, 1), predicted.flatten(0, 1), labels, boxes)
    for cost in costs.view(len(logits), len(free), len(left)).cpu().numpy():
        pair = torch.from_numpy(np.stack(linear_sum_assignment(cost))).to(free.device)
        yield Pairs(free[pair[0]], left[pair[1]])


def _costs(logits: Tensor, predicted: Tensor, labels: Tensor, boxes: Tensor) -> Tensor:
    """What it costs (N, n) to let a query stand for an object; no number costs the most."""
    p = logits.float().sigmoid()[:, labels]
    wrong = (1 - ALPHA) * p**GAMMA * -(1 - p + SMALL).log()
    right = ALPHA * (1 - p) ** GAMMA * -(p + SMALL).log()
    near = torch.cdist(predicted.float(), boxes, p=1)
    overlap = generalized_box_iou(_corners(predicted.float()), _corners(boxes))
    cost = CLASS * (right - wrong) + BOX * near - GIOU * overlap
    highest = torch.finfo(cost.dtype).max
    finite: Tensor = cost.nan_to_num(nan=highest, posinf=highest, neginf=highest)
    return finite


def _overlaps(predicted: Tensor, boxes: Tensor) -> Tensor:
    """Overlap (M,) of pairs of boxes cxcywh."""
    overlaps: Tensor = box_iou(_corners(predicted.float()), _corners(boxes)).diagonal()
    return overlaps


def _corners(boxes: Tensor) -> Tensor:
    corners: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return corners
