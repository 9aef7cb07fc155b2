"""A prompt as a vector: hashed n-grams by default, which need no download."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from backend.core.digest import sha256_of_tree
from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.language.local_text import LocalText
from backend.trainers.moe_rtdetr.language.ngrams import hashed
from backend.trainers.moe_rtdetr.spec import LanguageConfig


class TextEncoder(Protocol):
    """Texts to vectors [B, dimensions] of length 1 (0 for a text without any letter)."""

    @property
    def dimensions(self) -> int: ...

    def __call__(self, texts: Sequence[str], device: torch.device) -> Tensor: ...


@dataclass(frozen=True)
class HashedText:
    """The built-in encoder, see ``ngrams``: it knows no word order beyond pairs, so no "not"."""

    dimensions: int

    def __call__(self, texts: Sequence[str], device: torch.device) -> Tensor:
        return torch.from_numpy(hashed(texts, self.dimensions)).to(device)


def text_encoder(config: LanguageConfig) -> TextEncoder:
    """The encoder that a config asks for. Raises ConfigError for a folder without one."""
    if config.text_encoder is None:
        return HashedText(config.dimensions)
    return LocalText.load(config.text_encoder)


def encoder_digest(config: LanguageConfig) -> str:
    """What a gate's weights are tied to, for the facts of a checkpoint."""
    if config.text_encoder is None:
        return f"hashed n-grams 1, {config.dimensions}"
    if not config.text_encoder.is_dir():
        raise CheckpointError(
            f"language.text_encoder: {config.text_encoder} is gone; the gate was trained on the "
            "text model in that folder, so put it back"
        )
    return sha256_of_tree(config.text_encoder)


def check_encoder(config: LanguageConfig, digest: str) -> None:
    """Raise CheckpointError unless the encoder is the one that ``digest`` was taken of."""
    if encoder_digest(config) != digest:
        where = config.text_encoder or "the built-in hashed n-grams"
        raise CheckpointError(
            f"language.text_encoder: {where} is not what the gate was trained on, its weights "
            "mean nothing to it; restore the folder, or train stage 2 again"
        )
