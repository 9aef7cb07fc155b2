"""Freezing by exact parameter name, and the proof that frozen stayed frozen.

A frozen layer also keeps the running statistics of its batch norms: they are buffers, no
gradient guards them.
"""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backend.core.errors import ConfigError


def covering_modules(model: nn.Module, frozen: Collection[str]) -> tuple[str, ...]:
    """The fewest module names that hold exactly the parameters ``frozen``.

    Raises ConfigError where a module's own parameter is frozen but the module is not, which
    freezing by module cannot express.
    """
    covered: list[str] = []
    _cover(model, "", set(frozen), covered)
    return tuple(covered)


def _cover(module: nn.Module, name: str, frozen: set[str], covered: list[str]) -> None:
    prefix = f"{name}." if name else ""
    inside = {prefix + key for key, _ in module.named_parameters(remove_duplicate=False)}
    if not inside & frozen:
        return
    if name and inside <= frozen:
        covered.append(name)
        return
    for key, _ in module.named_parameters(recurse=False):
        if prefix + key in frozen:
            raise ConfigError(f"cannot freeze {prefix + key} without the rest of its module")
    for key, child in module.named_children():
        _cover(child, prefix + key, frozen, covered)


def statistics(model: nn.Module, frozen: Collection[str]) -> tuple[str, ...]:
    """The buffers of the batch norms whose parameters are all frozen."""
    names: list[str] = []
    for module_name, module in model.named_modules():
        prefix = f"{module_name}." if module_name else ""
        own = [prefix + key for key, _ in module.named_parameters(recurse=False)]
        if isinstance(module, _BatchNorm) and own and all(name in frozen for name in own):
            names.extend(prefix + key for key, _ in module.named_buffers(recurse=False))
    return tuple(names)


class Snapshot:
    """The state of a model at the start of training, to be compared with at its end."""

    def __init__(self, model: nn.Module, frozen: Collection[str]) -> None:
        self._before = {
            name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()
        }
        self.frozen = tuple(sorted({*frozen, *statistics(model, frozen)}))
        kept = set(frozen)
        self._trainable = tuple(n for n, _ in model.named_parameters() if n not in kept)

    def violations(self, models: Mapping[str, nn.Module]) -> tuple[str, ...]:
        """Frozen tensors that differ by a bit, as ``tensor (which model)``."""
        return tuple(
            f"{name} ({which})" for which, model in models.items() for name in self.thawed(model)
        )

    def thawed(self, model: nn.Module) -> tuple[str, ...]:
        """Frozen tensors that differ by a bit."""
        return tuple(self._differing(model, self.frozen)) if self.frozen else ()

    def changed(self, model: nn.Module) -> tuple[str, ...]:
        """Trainable parameters that are no longer what they were."""
        return tuple(self._differing(model, self._trainable))

    def _differing(self, model: nn.Module, names: Collection[str]) -> list[str]:
        now: Mapping[str, Tensor] = model.state_dict()
        return [name for name in names if not _same_bits(now[name], self._before[name])]


def _same_bits(now: Tensor, before: Tensor) -> bool:
    now = now.detach().cpu()
    if now.dtype != before.dtype or now.shape != before.shape:
        return False
    return torch.equal(
        now.contiguous().view(torch.uint8) if now.ndim else now,
        before.contiguous().view(torch.uint8) if before.ndim else before,
    )
