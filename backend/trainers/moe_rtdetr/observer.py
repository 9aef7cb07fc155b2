"""What the experts, and the detector, did over a whole pass: sums batch by batch, divided once.

A mean of ratios of batches of different size is wrong, and an expert is dead over a pass, not
over a batch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal, get_args

import torch
from torch import Tensor

from backend.core.experts import Affinity, ExpertLoss, ExpertReport, RouterReport
from backend.nn.moe import AffinityTotals, RouterTotals, Routing, size_bins
from backend.nn.moe.class_losses import Target, overlaps
from backend.nn.moe.statistics import RouterSummary, Totals
from backend.trainers.moe_rtdetr.model.criterion import Losses
from backend.trainers.moe_rtdetr.model.matching import Matching
from backend.trainers.moe_rtdetr.model.outputs import Output
from backend.trainers.moe_rtdetr.model.routing_losses import weighted
from backend.trainers.moe_rtdetr.spec import MoeConfig

SIZES = ("small", "medium", "large")  # of COCO
IOU = 0.5
Mean = Literal[
    "routing_entropy",
    "routing_entropy_share",
    "usage_entropy",
    "usage_entropy_share",
    "gate_entropy",
    "load_balance",
    "z_loss",
    "max_violation",
    "dropped",
    "stranded",
]
MEANS: tuple[Mean, ...] = get_args(Mean)
DETECTION, OBJECTS, CORRECT, IMAGES, SUPERVISION = range(5)  # places in the sums of a pass


class Observer:
    """Fed with a pass, batch by batch, without waiting for the GPU. ``classes`` in the model's
    order."""

    def __init__(self, classes: Sequence[str], moe: MoeConfig) -> None:
        self.classes = tuple(classes)
        self.moe = moe
        self.groups = moe.named_groups
        experts = len(self.groups)
        self.owners = [
            next(at for at, group in enumerate(self.groups.values()) if name in group)
            for name in (self.classes if self.groups else ())
        ]
        self._sums = Totals(torch.zeros(8, dtype=torch.float64))
        self._shares = Totals(torch.zeros(4, experts, dtype=torch.float64))
        self._by_class = AffinityTotals(len(self.classes), experts)
        self._by_size = AffinityTotals(len(SIZES), experts)
        self._routers: dict[str, RouterTotals] = {}
        self._pruned = False

    @torch.no_grad()
    def update(self, output: Output, targets: Sequence[Target], losses: Losses) -> None:
        """Add a batch. ``targets`` have ``areas`` in pixels of the original image.

        Raises ValueError if they are not those of the losses.
        """
        objects = losses.detection.targets.sum()
        if sum(len(t["class_labels"]) for t in targets) != objects:
            raise ValueError("the losses were computed for other targets")
        sums = torch.zeros(8, dtype=torch.float64, device=objects.device)
        sums[DETECTION] = losses.detection.whole * losses.normaliser
        sums[OBJECTS], sums[IMAGES] = objects, len(targets)
        sums[CORRECT] = _correct(output, targets, losses.last)
        if losses.routing is not None:
            parts = (losses.routing.query, losses.routing.token)
            sums[SUPERVISION:] = torch.stack(
                [v for part in parts for v in (part.total, part.count)]
            )
        self._sums.add(sums)
        if losses.experts is not None:
            part = losses.experts
            shares = torch.stack([part.vfl, part.bbox, part.giou]).double() * losses.normaliser
            self._shares.add(torch.cat([shares, part.targets.double().unsqueeze(0)]))
        self._route(output.routings, targets, losses.last)

    def _route(
        self,
        routings: Mapping[str, Sequence[Routing]],
        targets: Sequence[Target],
        last: Matching,
    ) -> None:
        for name, routing in _named(routings):
            if name not in self._routers:
                self._routers[name] = RouterTotals(routing.experts, routing.k)
            self._routers[name].update(routing)
            self._pruned |= routing.allowed is not None
        layers = [layer.weights[last.image, last.query] for layer in routings.get("query", ())]
        if layers:
            weights = torch.stack(layers).mean(0)
            labels, areas = (
                torch.cat([t[key] for t in targets])[last.target]
                for key in ("class_labels", "areas")
            )
            self._by_class.update(weights, labels)
            self._by_size.update(weights, size_bins(areas))

    def merge(self, other: "Observer") -> None:
        """Take in what another process, or another part of the pass, has seen."""
        self._sums.merge(other._sums)
        self._shares.merge(other._shares)
        self._by_class.merge(other._by_class)
        self._by_size.merge(other._by_size)
        self._pruned |= other._pruned
        for name, totals in other._routers.items():
            if name not in self._routers:
                self._routers[name] = RouterTotals(totals.experts, totals.k)
            self._routers[name].merge(totals)

    def metrics(self, split: str = "val") -> dict[str, float]:
        """The pass as metrics; those of the experts begin with ``moe/`` and are left out where
        nothing can be said."""
        sums = self._sums.total.tolist()
        objects = max(sums[OBJECTS], 1)
        detection = sums[DETECTION] / objects
        found = {
            f"{split}/loss": detection + self._routers_loss(sums),
            f"{split}/detection_loss": detection,
            f"{split}/accuracy": sums[CORRECT] / objects,
            f"{split}/accuracy_correct": sums[CORRECT],
            f"{split}/accuracy_total": sums[OBJECTS],
        }
        if self._routers:
            found |= self._expert_metrics()
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def report(
        self, split: str, step: int, epoch: int, train: Mapping[str, float] | None = None
    ) -> ExpertReport | None:
        """What the experts did; None for the dense model. ``train`` are the mean losses of the
        epoch so far, by the names of ``Losses.logged``."""
        if not self._routers:
            return None
        names = [f"expert_loss/{expert}" for expert in range(len(self.groups))]
        return ExpertReport(
            split=split,
            step=step,
            epoch=epoch,
            images=round(self._sums.total[IMAGES].item()),
            experts=tuple(self.groups),
            groups=tuple(self.groups.values()),
            classes=self.classes,
            k=self.moe.top_k,
            supervised=self.moe.route_sup > 0,
            routers=tuple(
                _router(name, summary, judged=not self._pruned)
                for name, summary in self._summaries().items()
            ),
            classes_to_experts=_affinity(self.classes, self._by_class),
            sizes_to_experts=_affinity(SIZES, self._by_size),
            alignment=self._by_class.alignment(self.owners),
            alignment_micro=self._by_class.alignment(self.owners, micro=True),
            specialisation=self._by_class.specialisation(),
            losses=self._losses(),
            train_losses=tuple((train or {})[name] for name in names if name in (train or {})),
            pruned=self._pruned,
        )

    def _summaries(self) -> dict[str, RouterSummary]:
        return {name: totals.summary() for name, totals in self._routers.items()}

    def _kinds(self) -> dict[str, list[RouterSummary]]:
        kinds: dict[str, list[RouterSummary]] = {}
        for name, summary in self._summaries().items():
            kinds.setdefault(name.partition("/")[0], []).append(summary)
        return kinds

    def _routers_loss(self, sums: list[float]) -> float:
        """The routers' part of the loss, with the balance of the pass."""
        kinds = list(self._kinds().values())
        if not kinds:
            return 0.0
        balance = fmean(fmean(layer["load_balance"] for layer in layers) for layers in kinds)
        z = fmean(fmean(layer["z_loss"] for layer in layers) for layers in kinds)
        query, queries, token, tokens = sums[SUPERVISION:]
        return weighted(self.moe, balance, z, query / max(queries, 1), token / max(tokens, 1))

    def _expert_metrics(self) -> dict[str, float]:
        found: dict[str, float | None] = {}
        for kind, layers in self._kinds().items():
            for expert, usage in enumerate(zip(*(s["usage"] for s in layers), strict=True)):
                found[f"moe/{kind}/usage/{expert}"] = fmean(usage)
            for name in MEANS if self.moe.capacity else MEANS[:-2]:
                found[f"moe/{kind}/{name}"] = fmean(s[name] for s in layers)
            found[f"moe/{kind}/dead"] = len({expert for s in layers for expert in s["dead"]})
        found["moe/query/alignment"] = self._by_class.alignment(self.owners)
        found["moe/query/specialisation"] = self._by_class.specialisation()
        for expert, loss in enumerate(self._losses()):
            found[f"moe/expert_loss/{expert}"] = loss.total
            found[f"moe/expert_loss_per_object/{expert}"] = loss.per_object
        return {name: value for name, value in found.items() if value is not None}

    def _losses(self) -> tuple[ExpertLoss, ...]:
        objects = max(self._sums.total[OBJECTS].item(), 1)
        found = []
        for vfl, bbox, giou, own in self._shares.total.T.tolist():
            total = vfl + bbox + giou
            found.append(
                ExpertLoss(
                    vfl=vfl / objects,
                    bbox=bbox / objects,
                    giou=giou / objects,
                    total=total / objects,
                    objects=round(own),
                    per_object=total / own if own else None,
                )
            )
        return tuple(found)


def _named(routings: Mapping[str, Sequence[Routing]]) -> Iterator[tuple[str, Routing]]:
    for kind, layers in routings.items():
        for at, layer in enumerate(layers):
            yield (kind if kind == "token" else f"{kind}/{at}"), layer


def _correct(output: Output, targets: Sequence[Target], last: Matching) -> Tensor:
    """Objects whose query has IoU 0.5 and their class as its best one."""
    answer = output.layers[-1]
    labels = torch.cat([t["class_labels"] for t in targets])[last.target]
    boxes = torch.cat([t["boxes"] for t in targets])[last.target].float()
    iou, _ = overlaps(answer.boxes[last.image, last.query].float(), boxes)
    best = answer.logits[last.image, last.query].argmax(-1)
    return ((iou >= IOU) & (best == labels)).sum()


def _router(name: str, summary: RouterSummary, *, judged: bool) -> RouterReport:
    """``judged``: may experts be called dead or overloaded?"""
    return RouterReport(
        name=name,
        tokens=summary["tokens"],
        counts=tuple(summary["count"]),
        usage=tuple(summary["usage"]),
        importance=tuple(summary["mass"]),
        probability=tuple(summary["P"]),
        routing_entropy=summary["routing_entropy"],
        usage_entropy=summary["usage_entropy"],
        gate_entropy=summary["gate_entropy"],
        load_balance=summary["load_balance"],
        z_loss=summary["z_loss"],
        max_violation=summary["max_violation"],
        dead=tuple(summary["dead"]) if judged else (),
        unused=tuple(summary["unused"]) if judged else (),
        overloaded=tuple(summary["overloaded"]) if judged else (),
        dropped=summary["dropped"],
    )


def _affinity(rows: tuple[str, ...], totals: AffinityTotals) -> Affinity:
    return Affinity(
        rows=rows,
        objects=tuple(totals.counts()),
        matrix=tuple(row and tuple(row) for row in totals.matrix()),
    )
