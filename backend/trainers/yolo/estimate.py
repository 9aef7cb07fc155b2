"""How much of a GPU's memory a training needs, measured without one and without computing."""

import torch
from torch import Tensor, nn

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.hardware.estimate import Need
from backend.scoring.detection.yolo_datafile import read_datafile
from backend.trainers.yolo.freeze import make_plan
from backend.trainers.yolo.model import prepare
from backend.trainers.yolo.spec import OptimizerConfig, YoloConfig


def needed(config: YoloConfig) -> Need:
    """What the network keeps for the backward pass, on torch's meta device, which has shapes only.

    Raises DataError, CheckpointError and ConfigError.
    """
    prepared = prepare(config, read_datafile(config.data).names)
    network, fresh = prepared.network, prepared.report.fresh if prepared.report else ()
    plan = make_plan(network, config.freeze, fresh)
    frozen = plan.always | (plan.frozen if plan.until is None else frozenset())
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    kept = _kept(network.to("meta").train(), config.imgsz)
    return Need(_fixed(network, config.optimizer), kept // 2 if config.amp else kept)


def _kept(network: nn.Module, side: int) -> int:
    """Bytes of activations in float32 that one image leaves; mixed precision halves them."""
    own = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, or their numbers would be used again

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.empty(1, 3, side, side, device="meta"))
    return sum(storage.nbytes() for storage in kept.values())


def _fixed(network: nn.Module, optimizer: OptimizerConfig) -> int:
    """Bytes of the weights and their average, and of the gradients and moments of what trains."""
    moments = 1 if optimizer.name == "SGD" else 2
    sizes = [(p.numel() * p.element_size(), p.requires_grad) for p in network.parameters()]
    return sum(size * (2 + (1 + moments) * trains) for size, trains in sizes)
