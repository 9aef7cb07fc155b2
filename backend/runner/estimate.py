"""How much memory a training needs, by what it keeps for the backward pass.

An estimate: on a GPU the kernels' own needs come on top. A published log of YOLOv8 says 1.4
times as much, which is the factor here; the ladder is for the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backend.core.events import Setting
from backend.hardware.knobs import Knobs
from backend.hardware.ladder import step_down
from backend.runner.training import Training

ABOVE = 1.4
SHARE = 0.85
"""Of the free memory: as much may be planned for."""

SAMPLES = 2


@dataclass(frozen=True)
class Need:
    """Bytes: ``fixed`` of weights, gradients, the optimizer's moments and the average; and what
    each sample of a batch keeps."""

    fixed: int
    per_sample: int

    def of(self, batch: int) -> float:
        """What a batch is expected to take."""
        return ABOVE * (self.fixed + self.per_sample * batch)


def needed(training: Training) -> Need:
    """Measure on the CPU, with one batch of two samples; ``training`` is spent by it.

    Recomputed activations (``checkpointing``) are counted as if they were kept.
    """
    model, data, runner = training.model.cpu().train(), training.data, training.runner
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


def capped(
    planned: Mapping[str, Setting],
    requested: Mapping[str, Setting],
    knobs: Knobs,
    need: Need,
    free: int,
) -> dict[str, Setting]:
    """The plan with a batch of which the estimate fits into ``free`` bytes, if there is one;
    an optimizer step keeps the plan's samples."""
    settings = {**requested, **planned}
    only_batch = Knobs(batch=knobs.batch, accumulate=knobs.accumulate, smallest=knobs.smallest)
    while need.of(int(str(settings[knobs.batch]))) > SHARE * free:
        rung = step_down(requested, {**settings, only_batch.workers: 0}, only_batch)
        if rung is None:
            break
        settings |= {key: rung.settings[key] for key in (knobs.batch, knobs.accumulate) if key}
    kept = {*planned, *(key for key in settings if settings[key] != requested[key])}
    return {key: settings[key] for key in settings if key in kept}
