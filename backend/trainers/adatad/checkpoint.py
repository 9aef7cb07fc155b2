"""Checkpoints of this trainer: what is needed to build the network again, and building it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.nn.finetune.transfer import transfer
from backend.nn.finetune.weights import load_weights, parse_facts, read_facts
from backend.runner.device import resolve_device
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import SPEC, AdaTadConfig


class Facts(BaseModel):
    """What a checkpoint says of itself, beside what the Runner adds.

    ``classes`` are the names of the outputs; ``length``, ``stride`` and ``size`` are the windows
    and pictures that it was trained on.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    trainer: Literal["adatad"]
    classes: tuple[str, ...]
    geometry: Geometry
    strategy: str
    length: int
    stride: int
    size: int
    step: int = 0
    epoch: int = 0

    def fitting(self, config: AdaTadConfig) -> AdaTadConfig:
        """``config`` with the inputs that these weights belong to."""
        told = {
            "windows.length": self.length,
            "windows.stride": self.stride,
            "frames.size": self.size,
        }
        return config.replace(dict(told))


class Saved(Facts):
    """A checkpoint, tensors and all."""

    path: Path
    weights: dict[str, Tensor]


def facts_of(
    config: AdaTadConfig, geometry: Geometry, classes: Sequence[str]
) -> dict[str, object]:
    """What a checkpoint of this network says of itself; JSON."""
    return {
        "trainer": SPEC.kind,
        "classes": list(classes),
        "geometry": asdict(geometry),
        "strategy": config.freeze.strategy,
        "length": config.windows.length,
        "stride": config.windows.stride,
        "size": config.frames.size,
    }


def read_checkpoint(path: Path) -> Saved:
    """A checkpoint of this trainer. Raises CheckpointError that says what it is instead."""
    weights, facts = load_weights(path)
    return parse_facts(Saved, SPEC.kind, path, {**facts, "path": path, "weights": weights})


def facts_at(path: Path) -> Facts:
    """A checkpoint's facts, without its tensors. Raises as ``read_checkpoint``."""
    return parse_facts(Facts, SPEC.kind, path, read_facts(path))


def restored(saved: Saved, config: AdaTadConfig) -> AdaTad:
    """The network, in evaluation mode on the config's device. Raises CheckpointError."""
    network = AdaTad(saved.geometry)
    report = transfer(network, saved.weights)
    if report.fresh:
        raise CheckpointError(
            f"{saved.path}: {len(report.fresh)} tensors are missing or of another shape, for "
            f"example {report.fresh[0]}"
        )
    return network.to(resolve_device(config.device, 1)).eval()
