"""Small clips and networks for MOTRv2, made from a seed."""

import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.trainers.motrv2.batch import Batch, Clip, Frame
from backend.trainers.motrv2.model.geometry import TINY
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.network import Motr

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "mot"


def frame(
    ids: tuple[int, ...] = (0, 1), proposals: int = 2, classes: int = 1, seed: int = 0
) -> Frame:
    """An image of noise with an object for each id, of class ``id % classes``, in its own
    column, and proposals beside the first ones."""
    chance = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[(one % 5 + 0.5) / 5, 0.5, 0.15, 0.4] for one in ids]).view(-1, 4)
    near = torch.rand(proposals, 4, generator=chance) * 0.1 + torch.tensor([0.2, 0.4, 0.1, 0.3])
    return Frame(
        image=torch.randn(3, 32, 48, generator=chance),
        boxes=boxes,
        labels=torch.tensor([one % classes for one in ids], dtype=torch.int64),
        ids=torch.tensor(ids, dtype=torch.int64),
        proposals=near,
        proposal_scores=torch.rand(proposals, generator=chance),
        proposal_classes=torch.arange(proposals) % 2,
    )


def clip(*ids: tuple[int, ...], proposals: int = 2, classes: int = 1) -> Clip:
    """A frame for each tuple of ids."""
    return tuple(frame(one, proposals, classes, seed) for seed, one in enumerate(ids))


def learner(training: ClipTraining | None = None, sure: float = 0.0, **sizes: Any) -> ClipLearner:
    """A small network in training mode, whose scores start near ``sigmoid(sure)``.

    Without jitter, so that nothing is drawn in a step.
    """
    torch.manual_seed(4)
    made = ClipLearner(replace(TINY, **sizes), training or ClipTraining(jitter=0))
    loud(made, sure)
    return made


def loud(network: Motr, sure: float) -> None:
    """Let scores, boxes and what queries see differ, as after some training."""
    with torch.no_grad():
        for head in network.class_embed:
            head.bias.fill_(sure)
        for name, one in network.named_parameters():
            if "sampling_offsets.weight" in name or "attention_weights.weight" in name:
                one.normal_(std=0.05)
        for box in network.bbox_embed:
            box.layers[-1].weight.normal_(std=0.1)


def filled(network: Motr) -> Motr:
    """The weights of the golden formula."""
    weight = formula()["weight"]
    state = network.state_dict()
    network.load_state_dict(
        {name: torch.from_numpy(weight(name, tuple(one.shape))) for name, one in state.items()}
    )
    return network


def formula() -> dict[str, Any]:
    """The golden case's functions."""
    if not GOLDEN.is_dir():
        pytest.skip("../shared/golden/mot is not here")
    return runpy.run_path(str(GOLDEN / "parity_formula.py"))


def golden() -> dict[str, Any]:
    """The golden case's numbers."""
    formula()
    found: dict[str, Any] = json.loads((GOLDEN / "motrv2_parity.json").read_text())
    return found


def golden_clip(classes: int) -> Clip:
    """The golden case's frames."""
    return tuple(_golden_frame(made) for made in formula()["frames"](classes))


def _golden_frame(made: dict[str, Any]) -> Frame:
    found = torch.tensor(made["proposals"], dtype=torch.float32)
    return Frame(
        image=torch.from_numpy(made["image"]),
        boxes=torch.tensor(made["gt_boxes"], dtype=torch.float32),
        labels=torch.tensor(made["gt_labels"]),
        ids=torch.tensor(made["gt_ids"]),
        proposals=found[:, :4],
        proposal_scores=found[:, 4],
        proposal_classes=torch.full((len(found),), -1),
    )


def batch(*clips: Clip) -> Batch:
    """What the Runner hands on."""
    return Batch(clips, tuple(f"clip {at}" for at in range(len(clips))))


def total(losses: dict[str, Tensor]) -> Tensor:
    """What the Runner trains on."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


def gradients(network: Motr, clip: Clip) -> dict[str, Tensor]:
    """The gradients of a clip's loss by name."""
    network.zero_grad()
    total(network.loss(batch(clip))).backward()  # type: ignore[operator, no-untyped-call]
    return {
        name: one.grad.clone() for name, one in network.named_parameters() if one.grad is not None
    }
