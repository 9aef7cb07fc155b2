"""A text model of transformers in a local folder: frozen, read without code, never fetched."""

import json
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoTokenizer, CLIPTextModel

from backend.core.errors import ConfigError

Pooling = Literal["end", "first", "mean"]

_UNREADABLE = (
    *(OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError, TypeError),
    SafetensorError,
)

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
"""Without one of these transformers makes up a tokenizer that knows no word."""


class LocalText:
    """One vector of length 1 per text, pooled as the model was trained to be.

    ``end``: CLIP's end-of-text token; ``first`` or ``mean`` over tokens as a folder of
    sentence-transformers says, mean without one. Not a module, so that its weights stay out of
    checkpoints, optimizers and averages.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, pooling: Pooling) -> None:
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._pooling = pooling

    @classmethod
    def load(cls, folder: Path) -> "LocalText":
        """From a folder with a model in safetensors and its tokenizer. Raises ConfigError."""
        _check_folder(folder)
        try:
            encoder = cls._read(folder)
            encoder(["one text"], torch.device("cpu"))
        except _UNREADABLE as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"language.text_encoder: {folder} cannot be read as a text model with weights in "
                f"safetensors and a tokenizer ({reason})"
            ) from error
        return encoder

    @classmethod
    def _read(cls, folder: Path) -> "LocalText":
        kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
        pooling: Pooling = "end" if kind.startswith("clip") else _pooling(folder)
        maker = CLIPTextModel if pooling == "end" else AutoModel
        model, found = maker.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        missing = [name for name in found["missing_keys"] if not name.startswith("pooler.")]
        if missing:
            raise ValueError(f"{len(missing)} of its tensors are missing, such as {missing[0]}")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return cls(model, tokenizer, pooling)

    @property
    def dimensions(self) -> int:
        return int(self._model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @torch.no_grad()
    def __call__(self, texts: Sequence[str], device: torch.device) -> Tensor:
        self._model.to(device)
        limit = int(self._model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
        tokens = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=min(limit, self._tokenizer.model_max_length),
            return_tensors="pt",
        ).to(device)
        with torch.autocast(device.type, enabled=False):
            output = self._model(**tokens)
        return functional.normalize(self._pooled(output, tokens["attention_mask"]).float(), dim=1)

    def __deepcopy__(self, memo: dict[int, object]) -> "LocalText":
        """The copy shares the model: an average of the gate needs no second one."""
        return copy(self)

    def _pooled(self, output: Any, mask: Tensor) -> Tensor:
        if self._pooling == "end":
            end: Tensor = output.pooler_output
            return end
        states: Tensor = output.last_hidden_state
        if self._pooling == "first":
            return states[:, 0]
        weights = mask.unsqueeze(-1).to(states)
        return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _check_folder(folder: Path) -> None:
    needed = {"config.json": ("config.json",), "tokenizer": _TOKENIZERS}
    lacking = [
        what for what, names in needed.items() if not any(map(any, map(folder.glob, names)))
    ]
    if lacking:
        raise ConfigError(
            f"language.text_encoder: {folder} has no {lacking[0]}; it must be a folder saved by "
            "transformers with model and tokenizer, or null for the built-in encoder"
        )


def _pooling(folder: Path) -> Pooling:
    """What sentence-transformers notes beside a model. Raises ConfigError."""
    note = folder / "1_Pooling" / "config.json"
    if not note.is_file():
        return "mean"
    try:
        said = json.loads(note.read_text())
        modes = [name for name, on in said.items() if name.startswith("pooling_mode_") and on]
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(f"{note}: not the pooling of a sentence-transformers model") from error
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "first",
    }
    if len(modes) != 1 or modes[0] not in known:
        raise ConfigError(
            f"{note}: pools by {', '.join(modes) or 'nothing'}; only mean and cls can be used"
        )
    return known[modes[0]]
