"""The detection loss by class, which splits over experts that share out the classes.

Varifocal, L1 and GIoU losses of RT-DETR for one matching, each as a vector over classes. Class
groups that partition the classes make the experts' losses add up exactly to the whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backend.core.errors import ConfigError

Target = Mapping[str, Tensor]  # class_labels [T], boxes [T, 4] (cx, cy, w, h in 0..1)
Match = tuple[Tensor, Tensor]  # queries and the targets they stand for


class Matched(NamedTuple):
    """M matched pairs: ``image`` and ``query`` [M], and what is there, ``labels`` [M] and
    ``boxes`` [M, 4]."""

    image: Tensor
    query: Tensor
    labels: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class LossSettings:
    """Weights of the three losses, and alpha and gamma of the varifocal one, as in RT-DETR."""

    vfl: float = 1.0
    bbox: float = 5.0
    giou: float = 2.0
    alpha: float = 0.75
    gamma: float = 2.0


@dataclass(frozen=True)
class ClassLosses:
    """Weighted losses [C], or [E] after ``by_expert``; each sums to the ordinary loss.

    ``targets`` are the matched targets of each.
    """

    vfl: Tensor
    bbox: Tensor
    giou: Tensor
    targets: Tensor

    @property
    def total(self) -> Tensor:
        """The three together."""
        return self.vfl + self.bbox + self.giou

    @property
    def whole(self) -> Tensor:
        """All of it, as exact as its type can say: to the last digit the sum of the experts'."""
        return self.total.double().sum().to(self.vfl.dtype)

    def __add__(self, other: "ClassLosses") -> "ClassLosses":
        return ClassLosses(
            self.vfl + other.vfl,
            self.bbox + other.bbox,
            self.giou + other.giou,
            self.targets + other.targets,
        )

    def by_expert(self, groups: Tensor) -> "ClassLosses":
        """Each expert's part, for ``groups`` [E, C] of ``group_matrix``."""
        # Not a matrix product, which autocast would do in half precision.
        parts = (self.vfl, self.bbox, self.giou, self.targets)
        return ClassLosses(*((groups * part.double()).sum(1).to(part.dtype) for part in parts))


def group_matrix(groups: Sequence[Sequence[int]], classes: int) -> Tensor:
    """Which expert is in charge of which class, as 0 and 1 [E, C].

    Raises ConfigError unless every class is in exactly one group.
    """
    matrix = torch.zeros(len(groups), classes)
    for expert, group in enumerate(groups):
        for label in group:
            if not 0 <= label < classes:
                raise ConfigError(
                    f"expert {expert} is given class {label}, but there are {classes}"
                )
            matrix[expert, label] += 1
    for label, owners in enumerate(matrix.sum(0).int().tolist()):
        if owners != 1:
            raise ConfigError(
                f"class {label} belongs to {owners or 'no'} expert group{'s' * (owners > 1)}; "
                "put every class in exactly one"
            )
    return matrix


def class_losses(
    logits: Tensor,
    boxes: Tensor,
    targets: Sequence[Target],
    matching: Sequence[Match],
    normaliser: float | None = None,
    settings: LossSettings | None = None,
) -> ClassLosses:
    """``matched_losses`` of one layer, for each image's targets and matching.

    ``normaliser`` is the number of targets (None: of this batch, at least 1).
    """
    number = max(sum(len(t["class_labels"]) for t in targets), 1)
    pairs = list(zip(targets, matching, strict=True))
    matched = Matched(
        image=torch.cat([torch.full_like(q, at) for at, (q, _) in enumerate(matching)]),
        query=torch.cat([q for q, _ in matching]),
        labels=torch.cat([t["class_labels"][chosen] for t, (_, chosen) in pairs]),
        boxes=torch.cat([t["boxes"][chosen] for t, (_, chosen) in pairs]),
    )
    scale = float(number) if normaliser is None else normaliser
    return matched_losses(logits, boxes, matched, scale, settings or LossSettings())


def matched_losses(
    logits: Tensor,
    boxes: Tensor,
    matched: Matched,
    normaliser: float | Tensor,
    settings: LossSettings,
) -> ClassLosses:
    """Weighted losses of ``logits`` [B, Q, C] and ``boxes`` [B, Q, 4], in float32, by class.

    Divided by ``normaliser``, the number of targets. Several layers may lie one after the other
    in the first axis; their losses are then summed.
    """
    logits, boxes = logits.float(), boxes.float()
    image, query, labels, truth = (part.to(logits.device) for part in matched)
    truth = truth.float()
    found = boxes[image, query]
    iou, giou = overlaps(found, truth)
    scores = torch.zeros_like(logits)
    scores[image, query, labels] = iou.detach()
    vfl = _varifocal(logits, scores, (image, query, labels), settings).sum((0, 1))
    # A masked sum: index_add would add in any order on a GPU.
    member = functional.one_hot(labels, logits.shape[-1])
    l1 = (found - truth).abs().sum(1, keepdim=True)
    return ClassLosses(
        vfl=vfl * (settings.vfl / normaliser),
        bbox=(member * l1).sum(0) * (settings.bbox / normaliser),
        giou=(member * (1 - giou).unsqueeze(1)).sum(0) * (settings.giou / normaliser),
        targets=member.sum(0),
    )


def _varifocal(
    logits: Tensor, scores: Tensor, positive: tuple[Tensor, Tensor, Tensor], use: LossSettings
) -> Tensor:
    weight = use.alpha * logits.detach().sigmoid().pow(use.gamma)
    weight[positive] = scores[positive]
    return functional.binary_cross_entropy_with_logits(logits, scores, weight, reduction="none")


def overlaps(found: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes [..., 4] (cx, cy, w, h), which broadcast."""
    (low, high), (true_low, true_high) = _corners(found), _corners(truth)
    inter = (torch.min(high, true_high) - torch.max(low, true_low)).clamp(min=0).prod(-1)
    union = found[..., 2:].prod(-1) + truth[..., 2:].prod(-1) - inter
    hull = (torch.max(high, true_high) - torch.min(low, true_low)).prod(-1)
    tiny = torch.finfo(union.dtype).tiny
    iou = inter / union.clamp(min=tiny)
    return iou, iou - (hull - union) / hull.clamp(min=tiny)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return centre - half, centre + half
