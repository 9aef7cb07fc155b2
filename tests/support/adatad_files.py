"""Checkpoints of small AdaTAD networks, and configs that start from them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from backend.nn.finetune.weights import save_weights
from backend.trainers.adatad.checkpoint import facts_of
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.weights import geometry_of

CLASSES = ("dive", "jump", "run")


def config(**overrides: Any) -> AdaTadConfig:
    """The smallest network on short windows; ``overrides`` with two underscores for each dot."""
    small = AdaTadConfig.model_validate(
        {
            "kind": "adatad", "data": "films", "device": "cpu", "windows": {"length": 32},
            "frames": {"size": 16}, "model": {"preset": "tiny", "detector_width": 16},
        }
    )  # fmt: skip
    return small.replace({key.replace("__", "."): value for key, value in overrides.items()})


def saved(
    path: Path,
    made_by: AdaTadConfig | None = None,
    classes: tuple[str, ...] = CLASSES,
    seed: int = 5,
) -> AdaTad:
    """A checkpoint whose every parameter is random in ``path``; the network in it."""
    made_by = made_by or config()
    torch.manual_seed(seed)
    network = AdaTad(geometry_of(made_by, classes))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    save_weights(path, network.state_dict(), facts_of(made_by, network.geometry, classes))
    return network
