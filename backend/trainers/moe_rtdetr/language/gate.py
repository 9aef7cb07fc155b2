"""From a prompt to what the network is allowed to find: classes, and the experts for them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from backend.core.errors import ConfigError
from backend.trainers.moe_rtdetr.language.prompts import Prompt, asked_rows
from backend.trainers.moe_rtdetr.language.text import text_encoder
from backend.trainers.moe_rtdetr.model.outputs import Gate
from backend.trainers.moe_rtdetr.spec import LanguageConfig

ASKED_FROM = 0.5
"""Relevance from which on a class counts as asked for."""


class LanguageGate(nn.Module):
    """How relevant each class is to a prompt, and the gate that follows.

    A text vector goes through one hidden layer to a logit per class. The encoder is not part of
    the weights: it is rebuilt from ``config``, see ``text.check_encoder``. ``most_objects`` is
    the largest number of objects in a training frame, which ``gate_query_selection: auto``
    goes by; it is saved with the weights.
    """

    most_objects: Tensor

    def __init__(self, config: LanguageConfig, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self._encoder = text_encoder(config)
        self.mlp = nn.Sequential(
            nn.Linear(self._encoder.dimensions, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, len(classes)),
        )
        self.register_buffer("most_objects", torch.tensor(0))

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Logits of relevance [B, C], in float32."""
        with torch.autocast(self.most_objects.device.type, enabled=False):
            logits: Tensor = self.mlp(self.encoded(prompts))
        return logits

    def encoded(self, prompts: Sequence[str]) -> Tensor:
        """Text vectors [B, dimensions], where the weights are."""
        return self._encoder(prompts, self.most_objects.device)

    def asked(self, prompts: Sequence[str]) -> Tensor:
        """Relevance [B, C] in 0..1; exactly 1 for a prompt without words, which asks for
        everything."""
        silent = torch.tensor([not prompt.strip() for prompt in prompts]).unsqueeze(1)
        relevance: Tensor = self(prompts).sigmoid()
        return relevance.masked_fill(silent.to(relevance.device), 1.0)

    def gate_of(self, prompts: Sequence[str], groups: Tensor | None, queries: int) -> Gate:
        """What the prompts do to their images.

        ``groups`` [E, C] tells which expert is in charge of which class (None: no experts),
        ``queries`` how many objects the network can find in an image. A prompt that asks for
        no class does as ``unknown`` says: everything, or ConfigError.
        """
        relevance = self.asked(prompts)
        unknown = self._unknown(prompts, relevance)
        if unknown and self.config.unknown == "error":
            raise ConfigError(f"{unknown[0]}; language.unknown: all would find everything instead")
        lost = (relevance < ASKED_FROM).all(1, keepdim=True)
        return self.gate(torch.where(lost, torch.ones_like(relevance), relevance), groups, queries)

    def gate(self, relevance: Tensor, groups: Tensor | None, queries: int) -> Gate:
        """The gate for given relevance; an image that asks for nothing keeps all its experts."""
        allowed = None
        if self.config.prune and groups is not None and len(groups):
            allowed = (relevance >= ASKED_FROM).to(relevance) @ groups.to(relevance).T > 0
            allowed = allowed | ~allowed.any(1, keepdim=True)
        return Gate(relevance, allowed, self.selects(queries))

    def selects(self, queries: int) -> bool:
        """Does the prompt also decide on which places in the image become queries?"""
        if self.config.gate_query_selection == "auto":
            return int(self.most_objects) > queries
        return self.config.gate_query_selection == "on"

    @torch.no_grad()
    def warnings(self, prompts: Sequence[str]) -> tuple[str, ...]:
        """A sentence for each prompt that asks for no class and is therefore not followed."""
        unknown = self._unknown(prompts, self.asked(prompts))
        return tuple(f"{text}; everything was looked for" for text in unknown)

    def understood(self, prompts: Sequence[Prompt]) -> float:
        """Share of prompts for which exactly the right classes come out."""
        with torch.no_grad():
            found = (self([prompt.text for prompt in prompts]) >= 0).cpu()
        right = asked_rows(prompts, len(self.classes))
        return float((found == right).all(1).float().mean())

    def _unknown(self, prompts: Sequence[str], relevance: Tensor) -> list[str]:
        asked = (relevance >= ASKED_FROM).any(1).tolist()
        names = ", ".join(self.classes)
        lost = dict.fromkeys(p for p, known in zip(prompts, asked, strict=True) if not known)
        return [f"prompt '{prompt}' names none of the classes {names}" for prompt in lost]
