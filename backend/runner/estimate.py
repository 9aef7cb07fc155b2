"""How much memory a training needs, by what it keeps for the backward pass."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from backend.hardware.estimate import Need
from backend.runner.module import outermost
from backend.runner.training import Training

SAMPLES = 2


def needed(training: Training) -> Need:
    """Measure on the CPU, with one batch of two samples; ``training`` is spent by it."""
    model, data, runner = training.model.cpu(), training.data, training.runner
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name not in training.parts.frozen)
    model.train()
    kept = Kept(model, outermost(model, runner.checkpointing))
    batch = data.collate([data.samples[at % len(data.samples)] for at in range(SAMPLES)])
    dtype, enabled = torch.bfloat16, runner.amp != "off"
    with (
        torch.autograd.graph.saved_tensors_hooks(kept.keep, lambda nothing: nothing),
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
    return Need(weights * copies + trained, kept.bytes // SAMPLES)


class Kept:
    """What a forward pass keeps for the backward pass. Of modules that recompute it these are
    their inputs, and all of the one that has most, since the backward pass takes one by one.

    What is kept is held here and not by the graph, so that no memory is counted twice or taken
    for what it was before, and a recomputing module's is free after it.
    """

    def __init__(self, model: nn.Module, recomputing: Sequence[nn.Module]) -> None:
        self._own = {_place(t) for t in (*model.parameters(), *model.buffers())}
        self._outside: dict[int, Tensor] = {}
        self._inside: dict[int, Tensor] | None = None
        self._most = 0
        for module in recomputing:
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave)

    @property
    def bytes(self) -> int:
        """In all."""
        return _size(self._outside) + self._most

    def keep(self, tensor: Tensor) -> None:
        """The graph wants it for the backward pass."""
        place = _place(tensor)
        if place not in self._own and place not in self._outside:
            held = self._outside if self._inside is None else self._inside
            held[place] = tensor

    def _enter(self, module: nn.Module, inputs: tuple[object, ...]) -> None:
        tensors = [one for one in inputs if isinstance(one, Tensor)]
        if any(one.requires_grad for one in (*tensors, *module.parameters())):
            for one in tensors:
                self.keep(one)
        self._inside = {}

    def _leave(self, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        self._most = max(self._most, _size(self._inside or {}))
        self._inside = None


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _size(tensors: Mapping[int, Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors.values())
