"""The collective loss of a clip: sums over frames and layers over the clip's number of boxes."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, distributed
from torch.nn.functional import l1_loss
from torchvision.ops import box_convert, generalized_box_iou_loss, sigmoid_focal_loss

from backend.trainers.motrv2.batch import Clip, Frame
from backend.trainers.motrv2.model.matcher import Pairs
from backend.trainers.motrv2.model.queries import Found

WEIGHTS = {"ce": 2.0, "bbox": 5.0, "giou": 2.0}
Terms = Mapping[str, Tensor]


def frame_terms(index: int, found: Found, pairs: list[Pairs], frame: Frame) -> dict[str, Tensor]:
    """Sums of a frame's terms under the reference's names, without weights.

    ``frame_{t}_loss_ce`` is the last layer's, ``frame_{t}_aux{l}_loss_ce`` layer l's.
    """
    terms: dict[str, Tensor] = {}
    last = len(pairs) - 1
    for layer, pair in enumerate(pairs):
        prefix = f"frame_{index}" if layer == last else f"frame_{index}_aux{layer}"
        terms[f"{prefix}_loss_ce"] = class_term(found.logits[layer], pair, frame.labels)
        boxes, targets = found.boxes[layer][pair.query], frame.boxes[pair.target]
        terms |= {f"{prefix}_{name}": term for name, term in box_terms(boxes, targets).items()}
    return terms


def denoising_terms(index: int, found: Found, frame: Frame) -> dict[str, Tensor]:
    """Sums of the terms of denoising queries, one per object in order.

    ``frame_{t}_ps0_...`` is the last layer's, the others follow from the first layer on.
    """
    layers = [found.boxes[-1], *found.boxes[:-1]]
    return {
        f"frame_{index}_ps{at}_{name}": term
        for at, boxes in enumerate(layers)
        for name, term in box_terms(boxes, frame.boxes).items()
    }


def class_term(logits: Tensor, pairs: Pairs, labels: Tensor) -> Tensor:
    """Focal loss summed over queries and classes; a query without object is all zeros."""
    targets = torch.zeros_like(logits, dtype=torch.float32)
    targets[pairs.query, labels[pairs.target]] = 1
    term: Tensor = sigmoid_focal_loss(logits.float(), targets, reduction="sum")
    return term


def box_terms(boxes: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """L1 and 1 - GIoU, summed over pairs of boxes (M, 4) cxcywh."""
    boxes = boxes.float()
    corners = (box_convert(one, "cxcywh", "xyxy") for one in (boxes, targets))
    return {
        "loss_bbox": l1_loss(boxes, targets, reduction="sum"),
        "loss_giou": generalized_box_iou_loss(*corners, reduction="sum"),
    }


def per_box(
    terms: Iterable[tuple[str, Tensor]], clip: Clip, shared: bool = True
) -> dict[str, Tensor]:
    """Each term over the clip's number of boxes, at least 1; ``shared``: the mean over processes,
    which then all must ask."""
    boxes = torch.tensor(float(sum(len(frame.boxes) for frame in clip)))
    if shared and distributed.is_available() and distributed.is_initialized():
        boxes = boxes.to(clip[0].image.device)
        distributed.all_reduce(boxes)
        boxes /= distributed.get_world_size()
    divisor = boxes.clamp(min=1).item()
    return {name: term / divisor for name, term in terms}


def weight_of(name: str) -> float:
    """The weight of a term."""
    return WEIGHTS[name.rpartition("_")[2]]


def summed(terms: Terms) -> dict[str, Tensor]:
    """Weighted sums over frames and layers: ``loss_ce``, ``loss_bbox``, ``loss_giou`` and, of
    denoising queries, ``loss_dn``."""
    sums: dict[str, list[Tensor]] = {}
    for name, term in terms.items():
        group = "dn" if "_ps" in name else name.rpartition("_")[2]
        sums.setdefault(f"loss_{group}", []).append(weight_of(name) * term)
    return {name: torch.stack(parts).sum() for name, parts in sums.items()}
