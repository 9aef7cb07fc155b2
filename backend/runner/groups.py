"""The optimizer: named groups with their learning rates, and what does not decay."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from backend.core.errors import ConfigError
from backend.runner.config import OptimizerConfig

NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def build_optimizer(
    model: nn.Module,
    config: OptimizerConfig,
    group_of: Callable[[str], str],
    scale_of: Callable[[str], float] = lambda name: 1.0,
) -> Optimizer:
    """An optimizer of the parameters that train.

    ``group_of`` names a parameter's group, ``scale_of`` is a factor on the group's rate (1, or
    a decay by depth). The optimizer's groups carry ``part`` (the name), so that
    ``backend.nn.finetune.groups.rates`` can tell them. Raises ConfigError for a group without
    a rate or
    with a rate of 0, for an exception that names nothing, and if nothing trains.
    """
    spared = undecayed(model, config)
    groups: dict[tuple[str, float, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part, scale, decays = group_of(name), scale_of(name), name not in spared
        if part not in config.lr:
            raise ConfigError(
                f"optimizer.lr has no rate for the group '{part}' (of {name}); it has "
                f"{', '.join(config.lr)}"
            )
        if not config.lr[part]:
            raise ConfigError(
                f"optimizer.lr.{part} is 0, but {name} trains; freeze it or set a rate"
            )
        made = groups.setdefault(
            (part, scale, decays),
            {
                "params": [],
                "lr": config.lr[part] * scale,
                "weight_decay": config.weight_decay if decays else 0.0,
                "part": part,
            },
        )
        made["params"].append(parameter)
    if not groups:
        raise ConfigError("every parameter is frozen: nothing would train")
    if config.name == "SGD":
        return torch.optim.SGD(list(groups.values()), lr=1.0, momentum=config.momentum)
    return torch.optim.AdamW(list(groups.values()), lr=1.0, betas=config.betas)


def undecayed(model: nn.Module, config: OptimizerConfig) -> frozenset[str]:
    """The parameters without weight decay. Raises ConfigError for a pattern without a match."""
    spared = {name for name, kind in _kinds(model) if kind in config.no_decay}
    names = [name for name, _ in model.named_parameters()]
    for pattern in config.no_decay_names:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(f"optimizer.no_decay_names: no parameter is called '{pattern}'")
        spared |= found
    return frozenset(spared)


def _kinds(model: nn.Module) -> Iterator[tuple[str, str]]:
    for module_name, module in model.named_modules():
        prefix = f"{module_name}." if module_name else ""
        norm = isinstance(module, NORMS) or type(module).__name__.endswith("Norm")
        for name, _ in module.named_parameters(recurse=False):
            if norm:
                yield prefix + name, "norm"
            elif isinstance(module, nn.Embedding):
                yield prefix + name, "embedding"
            elif name.endswith("bias"):
                yield prefix + name, "bias"
