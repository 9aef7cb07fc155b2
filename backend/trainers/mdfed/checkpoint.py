"""Checkpoints of this trainer: what is needed to build the network again, and building it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.datasets.spotting import SpottingSplit
from backend.nn.finetune.weights import load_weights, read_facts
from backend.scoring.spotting.decoding import Group
from backend.trainers.mdfed.spec import SPEC, MdFedConfig, ModelConfig, VisualConfig

NETWORK = "network."
"""What the names of tensors begin with."""

F = TypeVar("F", bound="Facts")


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
    return _parsed(Saved, path, {**facts, "path": path, "weights": weights})


def facts_at(path: Path) -> Facts:
    """A checkpoint's facts, without its tensors. Raises as ``read_checkpoint``."""
    return _parsed(Facts, path, read_facts(path))


def _parsed(kind: type[F], path: Path, facts: Mapping[str, object]) -> F:
    if facts.get("trainer") != SPEC.kind:
        raise CheckpointError(
            f"{path}: not a checkpoint of {SPEC.kind}, but of {facts.get('trainer') or 'another'}"
        )
    try:
        return kind.model_validate(facts)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in error.errors())
        raise CheckpointError(
            f"{path}: its facts do not describe a network of this version of Assay ({wrong})"
        ) from error
