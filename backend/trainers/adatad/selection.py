"""What trains: modes as selections of parameters by name, with their counts."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

from backend.core.errors import ConfigError
from backend.trainers.adatad.model.geometry import Adapter

Mode = Literal["full", "last-layers", "adapter", "plain-adapter", "head-only"]
Group = Literal["backbone", "adapter", "detector"]
GROUPS: tuple[Group, ...] = ("backbone", "adapter", "detector")
_BLOCK = re.compile(r"^backbone\.blocks\.(\d+)\.(layer|adapter)\.")


@dataclass(frozen=True)
class Count:
    """How many tensors and numbers train, and how many there are."""

    tensors: int
    numbers: int
    of_tensors: int
    of_numbers: int


@dataclass(frozen=True)
class Selection:
    """Parameter names as ``named_parameters`` gives them, and the counts of each group."""

    mode: Mode
    trainable: frozenset[str]
    frozen: frozenset[str]
    counts: dict[Group, Count]

    @property
    def numbers(self) -> int:
        """How many numbers train."""
        return sum(one.numbers for one in self.counts.values())

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"{group}: {one.tensors} of {one.of_tensors} tensors, {one.numbers:,} of "
            f"{one.of_numbers:,} parameters train"
            for group, one in self.counts.items()
            if one.of_tensors
        ]


def adapter_of(mode: Mode) -> Adapter:
    """The adapters that a mode's network has."""
    kinds: dict[Mode, Adapter] = {"adapter": "temporal", "plain-adapter": "plain"}
    return kinds.get(mode, "none")


def group_of(name: str) -> Group:
    """The learning-rate group of a parameter."""
    block = _BLOCK.match(name)
    if block and block[2] == "adapter":
        return "adapter"
    return "backbone" if name.startswith("backbone.") else "detector"


def select(network: nn.Module, mode: Mode, last: int = 0) -> Selection:
    """What trains: the detector always; adapters where there are; of the backbone nothing, its
    ``last`` layers with ``last-layers``, or all with ``full``.

    Raises ConfigError for a number of layers that the backbone has not, and for a mode whose
    adapters the network has not.
    """
    parameters = dict(network.named_parameters())
    layers = 1 + max(_layer(name) for name in parameters)
    if mode == "last-layers" and not 1 <= last <= layers:
        raise ConfigError(
            f"freeze.layers: all but the last {last} layers cannot be frozen, the backbone has "
            f"{layers}; choose 1 to {layers}"
        )
    if mode in ("adapter", "plain-adapter") and not any(
        group_of(one) == "adapter" for one in parameters
    ):
        raise ConfigError(f"mode {mode} trains adapters, but the network has none")
    first = {"last-layers": layers - last, "full": -1}.get(mode, layers)
    trainable = {
        name for name in parameters if group_of(name) != "backbone" or _layer(name) >= first
    }
    counts = {group: Count(*_count(network, group, trainable)) for group in GROUPS}
    return Selection(mode, frozenset(trainable), frozenset(parameters) - trainable, counts)


def apply(network: nn.Module, selection: Selection) -> None:
    """Let only the selected parameters have gradients."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in selection.trainable)


def _layer(name: str) -> int:
    """A parameter's layer in the backbone, -1 outside of any."""
    block = _BLOCK.match(name)
    return int(block[1]) if block else -1


def _count(network: nn.Module, group: Group, trainable: set[str]) -> Iterator[int]:
    """Trained tensors and numbers, all tensors and numbers."""
    every = {name: one for name, one in network.named_parameters() if group_of(name) == group}
    for names in (every.keys() & trainable, every.keys()):
        yield len(names)
        yield sum(every[name].numel() for name in names)
