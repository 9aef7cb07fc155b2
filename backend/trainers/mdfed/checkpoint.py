"""Checkpoints of this trainer: what is needed to build the network again, and building it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from backend.datasets.spotting import SpottingSplit
from backend.nn.finetune.weights import load_weights, parse_facts, read_facts
from backend.scoring.spotting.decoding import Group
from backend.trainers.mdfed.spec import SPEC, MdFedConfig, ModelConfig, VisualConfig

NETWORK = "network."
"""What the names of tensors begin with."""


class Facts(BaseModel):
    """What a checkpoint says of itself, beside what the Runner adds.

    ``elements`` are the names of the classifier's outputs, ``groups`` say which of them exclude
    one another; ``length`` and ``stride`` are the windows that it was trained on.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=(), arbitrary_types_allowed=True)

    trainer: Literal["mdfed"]
    stage: Literal[1, 2, 3]
    elements: tuple[str, ...]
    groups: tuple[Group, ...]
    separator: str
    length: int
    stride: int
    model: ModelConfig
    visual: VisualConfig
    step: int = 0
    epoch: int = 0

    def fitting(self, config: MdFedConfig) -> MdFedConfig:
        """``config`` with the network that these weights belong to."""
        return config.model_copy(
            update={
                "stage": self.stage,
                "model": self.model.model_copy(update={"pretrained": config.model.pretrained}),
                "visual": self.visual,
                "separator": self.separator,
                "clips": config.clips.model_copy(
                    update={"length": self.length, "stride": self.stride}
                ),
            }
        )


class Saved(Facts):
    """A checkpoint, tensors and all."""

    path: Path
    weights: dict[str, Tensor]


def facts_of(config: MdFedConfig, split: SpottingSplit) -> dict[str, object]:
    """What a checkpoint that was trained on ``split`` says of itself. ``pretrained`` is left out:
    its weights are inside."""
    return {
        "trainer": SPEC.kind,
        "stage": config.stage,
        "elements": list(split.elements),
        "groups": [[list(group.members), group.unless] for group in split.groups],
        "separator": config.separator,
        "length": config.clips.length,
        "stride": config.clips.stride,
        "model": config.model.model_dump(mode="json") | {"pretrained": None},
        "visual": config.visual.model_dump(mode="json"),
    }


def read_checkpoint(path: Path) -> Saved:
    """A checkpoint of this trainer. Raises CheckpointError that says what it is instead."""
    weights, facts = load_weights(path)
    return parse_facts(Saved, SPEC.kind, path, {**facts, "path": path, "weights": weights})


def facts_at(path: Path) -> Facts:
    """A checkpoint's facts, without its tensors. Raises as ``read_checkpoint``."""
    return parse_facts(Facts, SPEC.kind, path, read_facts(path))
