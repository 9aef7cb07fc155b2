"""Checkpoints of this trainer: what is needed to build the network again, and building it."""

from importlib.metadata import version
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from torch import Tensor

from backend.nn.finetune.weights import load_weights, parse_facts, read_facts
from backend.trainers.moe_rtdetr.spec import (
    SPEC,
    LanguageConfig,
    ModelConfig,
    MoeConfig,
    MoeRtDetrConfig,
)

NETWORK = "network."
LANGUAGE = "language."
"""What the names of tensors begin with: the detector's, and those of the language gate."""

AT_USE = ("prune", "gate_query_selection", "unknown")
"""What may be chosen of a language gate whenever it is used."""


class Facts(BaseModel):
    """What a checkpoint says of itself, beside what the Runner adds: what its network is made of.

    ``experts`` are the names in the weights' order, which JSON objects do not keep;
    ``text_encoder`` is the digest of what reads prompts.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=(), arbitrary_types_allowed=True)

    trainer: Literal["moe_rtdetr"]
    classes: tuple[str, ...]
    model: ModelConfig
    experts: tuple[str, ...]
    moe: MoeConfig
    language: LanguageConfig
    text_encoder: str = ""
    libraries: dict[str, str]
    step: int = 0
    epoch: int = 0

    @field_validator("moe")
    @classmethod
    def _in_order(cls, moe: MoeConfig, info: ValidationInfo) -> MoeConfig:
        names = info.data.get("experts", ())
        if set(names) != set(moe.named_groups):
            raise ValueError("'experts' and the groups have other names")
        if not moe.groups:
            return moe
        return moe.model_copy(update={"groups": {name: moe.groups[name] for name in names}})


class Saved(Facts):
    """A checkpoint, tensors and all."""

    path: Path
    weights: dict[str, Tensor]

    def asked_by(self, language: LanguageConfig) -> Self:
        """The same, where prompts are followed as this config wants it."""
        used = {name: getattr(language, name) for name in AT_USE}
        return self.model_copy(update={"language": self.language.model_copy(update=used)})


def facts_of(config: MoeRtDetrConfig, text_encoder: str = "") -> dict[str, object]:
    """What a checkpoint says of itself; ``text_encoder`` is the digest of what reads prompts.

    ``pretrained`` is left out: its weights are inside."""
    model = config.model.model_dump(mode="json") | {"pretrained": "none", "allow_download": False}
    return {
        "trainer": SPEC.kind,
        "classes": list(config.classes),
        "model": model,
        "moe": config.moe.model_dump(mode="json"),
        "experts": list(config.moe.named_groups),
        "language": config.language.model_dump(mode="json"),
        "text_encoder": text_encoder,
        "libraries": {name: version(name) for name in ("torch", "transformers")},
    }


def read_checkpoint(path: Path) -> Saved:
    """A checkpoint of this trainer. Raises CheckpointError that says what it is instead."""
    weights, facts = load_weights(path)
    return parse_facts(Saved, SPEC.kind, path, {**facts, "path": path, "weights": weights})


def classes_of(path: Path) -> tuple[str, ...]:
    """A checkpoint's classes, without its tensors. Raises as ``read_checkpoint``."""
    return parse_facts(Facts, SPEC.kind, path, read_facts(path)).classes
