"""Learning rates by part of the network and by depth."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


def regroup(
    optimizer: Optimizer,
    names: Mapping[Tensor, str],
    place: Callable[[str], tuple[str, float]],
) -> None:
    """Split the optimizer's groups by part and scale of the learning rate.

    ``place`` maps a parameter's name to its part's label and the factor on the group's rate.
    Everything else about a group (weight decay, its kind) stays. To be called before the first
    step and before a scheduler notes the initial rates. New groups carry ``part`` and ``scale``.
    """
    split: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        shared = {key: value for key, value in group.items() if key != "params"}
        found: dict[tuple[str, float], dict[str, Any]] = {}
        for parameter in group["params"]:
            part, scale = place(names[parameter])
            made = found.setdefault(
                (part, scale),
                {**shared, "params": [], "lr": group["lr"] * scale, "part": part, "scale": scale},
            )
            made["params"].append(parameter)
        split.extend(found.values())
    optimizer.param_groups[:] = split


def rates(optimizer: Optimizer, kind: str = "weight") -> dict[str, float]:
    """The highest learning rate of each part now, over groups of one ``param_group``."""
    highest: dict[str, float] = {}
    for group in optimizer.param_groups:
        if group.get("param_group", kind) == kind:
            part = group["part"]
            highest[part] = max(group["lr"], highest.get(part, 0.0))
    return highest
