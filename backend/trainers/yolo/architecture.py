"""Ultralytics detection networks, built from an architecture and a list of class names."""

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.errors import CheckpointError

from ultralytics.nn.modules.head import Detect, v10Detect  # isort: skip
from ultralytics.nn.tasks import DetectionModel, yaml_model_load  # isort: skip
from ultralytics.utils import ROOT  # isort: skip

HEADS = (Detect, v10Detect)
Architecture = dict[str, Any]


def read_architecture(path: Path) -> Architecture:
    """The architecture in a model yaml, the user's or one that Ultralytics ships.

    Raises CheckpointError.
    """
    if not path.is_file() and not _shipped(path.name):
        raise CheckpointError(
            f"{path}: no such model file, and Ultralytics ships none of that name"
        )
    try:
        architecture = yaml_model_load(path)
    except Exception as error:
        raise CheckpointError(f"{path}: not a model architecture ({error})") from error
    return clean(architecture, str(path))


def _shipped(name: str) -> bool:
    unified = re.sub(r"(\d+)([nslmx])(.+)?$", r"\1\3", name)
    return any(p.name in {name, unified} for p in ROOT.joinpath("cfg", "models").rglob("*.yaml"))


def clean(architecture: Mapping[str, Any], source: str) -> Architecture:
    """A JSON-able copy without local paths. Raises CheckpointError if it is no architecture."""
    if not {"backbone", "head"} <= architecture.keys():
        raise CheckpointError(f"{source}: not a model architecture (no 'backbone' and 'head')")
    if architecture.get("channels", architecture.get("ch", 3)) != 3:
        raise CheckpointError(f"{source}: the network does not take images of three channels")
    left_out = {"yaml_file", "nc", "ch", "channels"}
    return {k: copy.deepcopy(v) for k, v in architecture.items() if k not in left_out}


def build(architecture: Architecture, names: Sequence[str], base: int, source: str) -> Any:
    """A network with random weights for ``names``.

    ``base`` is the class count that sizes the hidden layers of the head; a checkpoint that is
    fine-tuned to other classes keeps them. Raises CheckpointError for an architecture that
    cannot be built or does not detect boxes.
    """
    try:
        network = DetectionModel({**copy.deepcopy(architecture), "nc": base}, verbose=False)
    except Exception as error:
        raise CheckpointError(f"{source}: the architecture cannot be built ({error})") from error
    head = network.model[-1]
    if type(head) not in HEADS:
        raise CheckpointError(
            f"{source}: its head is {type(head).__name__}; only detection models (a Detect head) "
            "can be trained"
        )
    if base != len(names):
        _set_classes(head, len(names))
    network.yaml["nc"] = network.nc = len(names)
    network.names = dict(enumerate(names))
    network.end2end = False
    return network


def _set_classes(head: Any, count: int) -> None:
    """Give the head new output layers for ``count`` classes; its hidden layers stay."""
    for branch in class_branches(head):
        old = branch[-1]
        branch[-1] = nn.Conv2d(old.in_channels, count, 1)
    head.nc = count
    head.no = count + head.reg_max * 4
    head.bias_init()


def class_branches(head: Any) -> list[Any]:
    """The branches of a detection head that end in one output per class."""
    lists = (getattr(head, name, None) for name in ("cv3", "one2one_cv3"))
    return [branch for branches in lists if branches is not None for branch in branches]


def class_tensors(network: Any) -> tuple[str, ...]:
    """The names of the tensors that have one row per class."""
    outputs = {id(branch[-1]) for branch in class_branches(network.model[-1])}
    return tuple(
        f"{module_name}.{key}"
        for module_name, module in network.named_modules()
        if id(module) in outputs
        for key, _ in module.named_parameters()
    )


def base_classes(
    architecture: Architecture, names: Sequence[str], state: Mapping[str, Tensor], source: str
) -> int:
    """The class count that sized the hidden layers of the head that ``state`` came from."""
    with torch.random.fork_rng(devices=[]):
        network = build(architecture, names, len(names), source)
    shapes = network.state_dict()
    for name in class_tensors(network):
        theirs = state.get(name)
        if theirs is not None and theirs.ndim == 4 and theirs.shape[1] != shapes[name].shape[1]:
            return int(theirs.shape[1])
    return len(names)
