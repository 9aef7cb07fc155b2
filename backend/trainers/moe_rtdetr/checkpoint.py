"""Checkpoints of this trainer: what is needed to build the network again, and building it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Self

from pydantic import ValidationError
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.nn.finetune.weights import load_weights
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


@dataclass(frozen=True)
class Saved:
    """A checkpoint's tensors, and the parts of the config that its network is made from."""

    path: Path
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...]
    model: ModelConfig
    moe: MoeConfig
    language: LanguageConfig
    libraries: Mapping[str, str]
    step: int = 0
    epoch: int = 0
    text_encoder: str = ""

    def asked_by(self, language: LanguageConfig) -> Self:
        """The same, where prompts are followed as this config wants it."""
        used = {name: getattr(language, name) for name in AT_USE}
        return replace(self, language=self.language.model_copy(update=used))


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
    if facts.get("trainer") != SPEC.kind:
        raise CheckpointError(
            f"{path}: not a checkpoint of {SPEC.kind}, but of {facts.get('trainer') or 'another'}"
        )
    try:
        return Saved(
            path=path,
            weights=weights,
            classes=tuple(str(name) for name in facts["classes"]),  # type: ignore[attr-defined]
            model=ModelConfig.model_validate(facts["model"]),
            moe=_moe(facts),
            language=LanguageConfig.model_validate(facts["language"]),
            libraries=dict(facts["libraries"]),  # type: ignore[call-overload]
            step=int(str(facts.get("step", 0))),
            epoch=int(str(facts.get("epoch", 0))),
            text_encoder=str(facts.get("text_encoder", "")),
        )
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise CheckpointError(
            f"{path}: its facts do not describe a network of this version of Assay "
            f"({str(error).splitlines()[0]})"
        ) from error


def _moe(facts: Mapping[str, object]) -> MoeConfig:
    """With the experts in the weights' order, which facts of JSON do not keep."""
    moe = MoeConfig.model_validate(facts["moe"])
    if not moe.groups:
        return moe
    order: list[str] = facts["experts"]  # type: ignore[assignment]
    return moe.model_copy(update={"groups": {name: moe.groups[name] for name in order}})
