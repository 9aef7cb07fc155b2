"""A trainer's network in the form that the Runner asks for, and how it trains."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from backend.core.errors import ConfigError
from backend.runner.optimization import Optimization

TOTAL = "loss"


class Learner(Protocol):
    """A plain ``nn.Module`` with a loss.

    Entries whose name contains ``loss`` are summed and trained on; the others are logged. An
    entry called ``loss`` stands alone.
    """

    def loss(self, batch: Any) -> Mapping[str, Tensor]: ...


def train_step(self: nn.Module, data: Any, optim_wrapper: Optimization) -> dict[str, Tensor]:
    """Forward, backward and, at a window's end, a step; what is to be logged.

    Raises ValueError for losses of which it is not clear what to sum.
    """
    with optim_wrapper.optim_context(self):
        values: Mapping[str, Tensor] = self(data)
    losses = {name: value for name, value in values.items() if TOTAL in name}
    if not losses or (TOTAL in losses and len(losses) > 1):
        raise ValueError(f"losses {sorted(values)}: name each '..._loss', or a single one 'loss'")
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    optim_wrapper.update_params(total)
    return {name: value.detach() for name, value in values.items()} | {TOTAL: total.detach()}


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
    modules = {name: module for name, module in model.named_modules() if name}
    chosen: set[str] = set()
    for pattern in patterns:
        found = {name for name in modules if fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(f"runner.checkpointing: no module is called '{pattern}'")
        chosen |= found
    for name in chosen:
        if not any(name.startswith(f"{outer}.") for outer in chosen):
            _wrap(modules[name])


def _wrap(module: nn.Module) -> None:
    forward = module.forward

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        if not (module.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        contexts = partial(_contexts, module)
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    module.forward = recomputing


def _contexts(
    module: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _still(module)


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Batch-norm statistics are taken once, not again in the second forward pass."""
    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.data.copy_(value)
