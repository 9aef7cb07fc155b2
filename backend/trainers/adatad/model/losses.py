"""The loss of windows: focal loss over valid points, distance IoU over positive ones."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from backend.trainers.adatad.model.assignment import assign
from backend.trainers.adatad.model.points import Outputs, ends

ALPHA = 0.25
GAMMA = 2.0
MOMENTUM = 0.9
_EPSILON = 1e-7


def summed_losses(
    outputs: Outputs, segments: Sequence[Tensor], labels: Sequence[Tensor]
) -> dict[str, Tensor]:
    """``cls_loss`` and ``reg_loss``, sums over the batch to be divided by the normaliser, and
    how many points are ``positives``."""
    classes = outputs.logits.shape[-1]
    targets = [
        assign(outputs.points, segment, label, classes)
        for segment, label in zip(segments, labels, strict=True)
    ]
    wanted = torch.stack([one.classes for one in targets])
    offsets = torch.stack([one.offsets for one in targets])
    valid = outputs.valid
    positive = valid & (wanted.sum(-1) > 0)
    truth = ends(outputs.points, offsets)
    return {
        "cls_loss": sigmoid_focal_loss(
            outputs.logits[valid], wanted[valid], ALPHA, GAMMA, reduction="sum"
        ),
        "reg_loss": distance_iou_loss(outputs.segments[positive], truth[positive]).sum(),
        "positives": positive.sum().float(),
    }


def distance_iou_loss(found: Tensor, truth: Tensor) -> Tensor:
    """(n,) of segments (n, 2) and (n, 2): 1 - IoU + (distance of the centres / hull) squared."""
    overlap = (torch.minimum(found, truth)[:, 1] - torch.maximum(found, truth)[:, 0]).clamp(min=0)
    lengths = found[:, 1] - found[:, 0] + truth[:, 1] - truth[:, 0]
    iou = overlap / (lengths - overlap).clamp(min=_EPSILON)
    hull = torch.maximum(found, truth)[:, 1] - torch.minimum(found, truth)[:, 0]
    apart = found.mean(dim=1) - truth.mean(dim=1)
    return 1 - iou + apart.square() / hull.square().clamp(min=_EPSILON)
