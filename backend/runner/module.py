"""A trainer's network in the form that the Runner asks for, and how it trains."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from backend.core.errors import ConfigError
from backend.nn.recomputing import recomputed
from backend.runner.optimization import Optimization

TOTAL = "loss"


class Learner(Protocol):
    """A plain ``nn.Module`` with a loss.

    An entry called ``loss`` is what is trained on, and all others are logged. Without one, the
    entries whose name contains ``loss`` are summed and trained on.
    """

    def loss(self, batch: Any) -> Mapping[str, Tensor]: ...


def train_step(self: nn.Module, data: Any, optim_wrapper: Optimization) -> dict[str, Tensor]:
    """Forward, backward and, at a window's end, a step; what is to be logged.

    Raises ValueError if there is nothing to train on.
    """
    with optim_wrapper.optim_context(self):
        values: Mapping[str, Tensor] = self(data)
    total = _total(values)
    optim_wrapper.update_params(total)
    return {name: value.detach() for name, value in values.items()} | {TOTAL: total.detach()}


def _total(values: Mapping[str, Tensor]) -> Tensor:
    if TOTAL in values:
        return values[TOTAL].float()
    losses = [value.float() for name, value in values.items() if TOTAL in name]
    if not losses:
        raise ValueError(f"losses {sorted(values)}: name the sum 'loss', or each part '..._loss'")
    return torch.stack(losses).sum()


class Trainable(nn.Module):
    """A learner whose ``forward`` is its loss."""

    train_step = train_step

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Mapping[str, Tensor]:
        """The losses of a batch."""
        losses: Mapping[str, Tensor] = self.model.loss(batch)  # type: ignore[operator]
        return losses


class Distributed(DistributedDataParallel):
    """The same on several processes; buffers follow the first process."""

    train_step = train_step


def train_mode(model: nn.Module) -> None:
    """Training mode, but for modules that are frozen as a whole: neither dropout nor batch-norm
    statistics move there."""
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def recompute(model: nn.Module, patterns: Sequence[str]) -> None:
    """Let modules recompute their activations in the backward pass instead of keeping them.

    Raises ConfigError for a pattern that names no module.
    """
    for module in outermost(model, patterns):
        _wrap(module)


def outermost(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    """The modules that ``runner.checkpointing`` names, none inside of another. Raises ConfigError
    for a pattern that names none."""
    modules = {name: module for name, module in model.named_modules() if name}
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in modules if fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(f"runner.checkpointing: no module is called '{pattern}'")
        chosen |= found
    return [
        modules[name]
        for name in modules
        if name in chosen and not any(name.startswith(f"{outer}.") for outer in chosen)
    ]


def _wrap(module: nn.Module) -> None:
    """As a method, so that a copy of the module computes with itself."""
    module.forward = MethodType(_recomputing, module)


def _recomputing(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    forward = MethodType(type(module).forward, module)
    if not (module.training and torch.is_grad_enabled()):
        return forward(*args, **kwargs)
    return recomputed(forward, module, *args, **kwargs)
