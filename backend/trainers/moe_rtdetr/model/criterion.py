"""The loss of RT-DETR with experts: detection, shared out over the experts, and the routers'.

One matching per layer; varifocal, L1 and GIoU losses of every decoder layer, of the query
selection and of the denoising queries, as transformers has them. Class groups partition the
classes, so the experts' parts add up to the detection loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from backend.core.errors import TrainingError
from backend.nn.moe.class_losses import (
    ClassLosses,
    LossSettings,
    Matched,
    Target,
    matched_losses,
)
from backend.trainers.moe_rtdetr.model.matching import Matching, match
from backend.trainers.moe_rtdetr.model.outputs import Denoising, Output, Predicted
from backend.trainers.moe_rtdetr.model.routing_losses import (
    RoutingLosses,
    routing_losses,
    weighted,
)
from backend.trainers.moe_rtdetr.spec import MoeConfig


@dataclass(frozen=True)
class Losses:
    """Of one batch, in float32.

    ``detection`` is by class [C], summed over layers, with all targets of each class;
    ``experts`` is the same by expert [E] and ``routing`` the routers' part, None for the dense
    model. ``normaliser`` is the number of targets that ``detection`` was divided by, ``last`` the
    matching of the last decoder layer.
    """

    total: Tensor
    detection: ClassLosses
    normaliser: Tensor
    last: Matching
    experts: ClassLosses | None = None
    routing: RoutingLosses | None = None

    def logged(self) -> dict[str, Tensor]:
        """Scalars by name: ``loss`` is trained on, the others are its parts, unweighted."""
        found = {
            "loss": self.total,
            "detection_loss": self.detection.whole,
            "vfl_loss": self.detection.vfl.sum(),
            "bbox_loss": self.detection.bbox.sum(),
            "giou_loss": self.detection.giou.sum(),
        }
        if self.experts is not None:
            shares = enumerate(self.experts.total.unbind())
            found |= {f"expert_loss/{expert}": share for expert, share in shares}
        if self.routing is not None:
            found |= {
                "load_balance": self.routing.load_balance,
                "z_loss": self.routing.z_loss,
                "route_sup": self.routing.query.mean,
                "route_sup_token": self.routing.token.mean,
            }
        return found


class Criterion(nn.Module):
    """``groups`` [E, C] says which expert is in charge of which class; None: a dense model."""

    groups: Tensor | None

    def __init__(self, groups: Tensor | None, moe: MoeConfig) -> None:
        super().__init__()
        self.moe = moe
        self.settings = LossSettings()
        self.register_buffer("groups", groups, persistent=False)

    def losses(self, output: Output, targets: Sequence[Target]) -> Losses:
        """The losses of a batch, whose denoising queries were made from the same targets.

        In training the number of targets is averaged over processes, which must then all call
        this. Raises TrainingError for a class that the model does not have.
        """
        with torch.autocast(output.encoder.logits.device.type, enabled=False):
            _check_labels(targets, output.encoder.logits.shape[-1])
            return self._losses(output, targets)

    def _losses(self, output: Output, targets: Sequence[Target]) -> Losses:
        labels = torch.cat([t["class_labels"] for t in targets])
        boxes = torch.cat([t["boxes"] for t in targets])
        normaliser = self._number(len(labels), boxes.device)
        layers = (*output.layers, output.encoder)
        matchings = match(layers, targets)
        found = self._detection(layers, matchings, (labels, boxes), normaliser)
        if output.denoising is not None:
            known = [_known(output.denoising, targets)] * len(output.denoising.layers)
            scale = normaliser * max(output.denoising.groups, 1)
            more = self._detection(output.denoising.layers, known, (labels, boxes), scale)
            found = found + more
        members = functional.one_hot(labels, output.encoder.logits.shape[-1])
        found = replace(found, targets=members.sum(0))
        losses = Losses(found.whole, found, normaliser, matchings[len(output.layers) - 1])
        return self._routed(losses, output, targets)

    def _routed(self, losses: Losses, output: Output, targets: Sequence[Target]) -> Losses:
        """The same with each expert's share and the routers' losses."""
        if self.groups is None or not output.routings:
            return losses
        found = routing_losses(output, targets, losses.last, self.groups.argmax(0))
        routers = weighted(
            self.moe, found.load_balance, found.z_loss, found.query.mean, found.token.mean
        )
        experts = losses.detection.by_expert(self.groups)
        return replace(losses, total=losses.total + routers, experts=experts, routing=found)

    def _detection(
        self,
        layers: Sequence[Predicted],
        matchings: Sequence[Matching],
        truth: tuple[Tensor, Tensor],
        normaliser: Tensor,
    ) -> ClassLosses:
        """All layers at once, one after the other in the first axis, summed."""
        labels, boxes = truth
        images = len(layers[0].logits)
        target = torch.cat([m.target for m in matchings])
        matched = Matched(
            image=torch.cat([m.image + at * images for at, m in enumerate(matchings)]),
            query=torch.cat([m.query for m in matchings]),
            labels=labels[target],
            boxes=boxes[target],
        )
        return matched_losses(
            torch.cat([layer.logits for layer in layers]),
            torch.cat([layer.boxes for layer in layers]),
            matched,
            normaliser,
            self.settings,
        )

    def _number(self, targets: int, device: torch.device) -> Tensor:
        """Targets per process, at least 1. Validation is one process's own business."""
        number = torch.tensor(float(targets), device=device)
        if self.training and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(number)
            number = number / distributed.get_world_size()
        return number.clamp(min=1)


def asked_targets(targets: Sequence[Target], asked: Tensor) -> list[Target]:
    """The targets of the classes that are ``asked`` for [B, C]."""
    return [
        {name: values[wanted[target["class_labels"]]] for name, values in target.items()}
        for target, wanted in zip(targets, asked, strict=True)
    ]


def _known(denoising: Denoising, targets: Sequence[Target]) -> Matching:
    """The matching that the denoising queries came with, counted through the batch."""
    counts = [len(t["class_labels"]) for t in targets]
    first = list(accumulate(counts, initial=0))
    pairs = denoising.matching
    return Matching(
        image=torch.cat([torch.full_like(query, at) for at, (query, _) in enumerate(pairs)]),
        query=torch.cat([query for query, _ in pairs]),
        target=torch.cat([target + first[at] for at, (_, target) in enumerate(pairs)]),
    )


def _check_labels(targets: Sequence[Target], classes: int) -> None:
    labels = torch.cat([t["class_labels"] for t in targets])
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise TrainingError(
            f"a target has class {int(wrong[0])}, but the model has {classes} (0 to "
            f"{classes - 1}); check the labels and 'classes' of the config"
        )
