"""Small networks of the MoE RT-DETR trainer, and something for them to see."""

from typing import Any

import torch
from torch import Tensor
from transformers import RTDetrV2ForObjectDetection

from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.build import build_network, detector_config
from backend.trainers.moe_rtdetr.model.names import dense_name
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Output
from backend.trainers.moe_rtdetr.spec import CLASSES, ModelConfig, MoeConfig

SIZE = (64, 96)
PLACES = 8 * 12 + 4 * 6 + 2 * 3
QUERIES = 12


def model_config(**options: Any) -> ModelConfig:
    small = {"preset": "tiny", "image_size": SIZE, "queries": QUERIES, "denoising": 10}
    return ModelConfig.model_validate(small | options)


def network(experts: str = "A", seed: int = 0, **options: Any) -> MoeRtDetr:
    """A tiny network; ``options`` are of the experts."""
    torch.manual_seed(seed)
    moe = MoeConfig.model_validate({"experts": experts, "hidden": 32} | options)
    return build_network(model_config(), moe, CLASSES)


def images(count: int = 2, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def targets(*counts: int, seed: int = 2) -> list[Target]:
    """As many random objects per image as ``counts`` says."""
    chance = torch.Generator().manual_seed(seed)
    return [
        {
            "class_labels": torch.randint(len(CLASSES), (count,), generator=chance),
            "boxes": torch.rand(count, 4, generator=chance) * 0.3 + 0.3,
            "areas": torch.rand(count, generator=chance) * 1000,
        }
        for count in counts
    ]


def plain_detector(seed: int = 3) -> RTDetrV2ForObjectDetection:
    """The library's own network with random weights, also where training would start at zero."""
    torch.manual_seed(seed)
    detector = RTDetrV2ForObjectDetection(detector_config(model_config(), len(CLASSES)))
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return detector


def fill(ours: MoeRtDetr, plain: RTDetrV2ForObjectDetection) -> None:
    """Copy a plain detector's weights, to every expert where there are experts."""
    state, theirs = ours.state_dict(), plain.state_dict()
    for name, value in state.items():
        source = dense_name(name)
        if source is not None:
            value.copy_(theirs[source])  # broadcasts over experts


def randomised(ours: MoeRtDetr, seed: int = 4) -> MoeRtDetr:
    """Every parameter is moved, so that nothing is zero or equal by construction."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return ours


def everything(output: Output) -> Tensor:
    """A number on which all that the network says depends."""
    layers = [*output.layers, output.encoder]
    if output.denoising is not None:
        layers += output.denoising.layers
    total = torch.stack([layer.logits.sigmoid().sum() + layer.boxes.sum() for layer in layers])
    routings = [each for kind in output.routings.values() for each in kind]
    return total.sum() + sum((each.logits.logsumexp(-1).square().mean() for each in routings),
                             torch.zeros(()))  # fmt: skip
