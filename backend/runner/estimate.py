"""How much memory a training needs, by what it keeps for the backward pass."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backend.hardware.estimate import Need
from backend.runner.training import Training

SAMPLES = 2


def needed(training: Training) -> Need:
    """Measure on the CPU, with one batch of two samples; ``training`` is spent by it.

    Recomputed activations (``checkpointing``) are counted as if they were kept.
    """
    model, data, runner = training.model.cpu(), training.data, training.runner
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in training.parts.frozen)
    model.train()
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = data.collate([data.samples[at % len(data.samples)] for at in range(SAMPLES)])
    dtype, enabled = torch.bfloat16, runner.amp != "off"
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=dtype, enabled=enabled),
    ):
        losses: Mapping[str, Any] = model.loss(batch)  # type: ignore[operator]
    del losses
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    copies = 2 if runner.ema.enabled else 1
    moments = 1 if runner.optimizer.name == "SGD" else 2
    trained = sum(
        p.numel() * p.element_size() * (1 + moments) for p in model.parameters() if p.requires_grad
    )
    return Need(weights * copies + trained, sum(kept.values()) // SAMPLES)
