"""MD-FED: an encoder, a bidirectional GRU, and who, when and what (specs/mdfed.md, 3.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from backend.trainers.mdfed.batch import Batch
from backend.trainers.mdfed.model.context import Context, Refined, sequence_of
from backend.trainers.mdfed.model.encoder import SIZES, SkeletonEncoder
from backend.trainers.mdfed.model.visual import VisualEncoder
from backend.trainers.mdfed.spec import MdFedConfig

GRU_SIZES = {"tiny": 64, "base": 368}
LEAST_RATE = 1e-3
"""An element that never occurs starts as if one in a thousand had it, so that it can be learnt."""


class Outputs(NamedTuple):
    """Logits of background and event (B, T, 2) and of elements (B, T, K). ``refined`` are those
    of the context module at the labelled events; None without one. ``features`` (B, T, d) are
    what the heads saw."""

    event_logits: Tensor
    element_logits: Tensor
    refined: Refined | None = None
    features: Tensor | None = None


class TemporalHead(nn.Module):
    """A one-layer bidirectional GRU, dropout, and a linear map to d = its hidden size."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.width = hidden
        self.gru = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * hidden, hidden)
        for name, weight in self.gru.named_parameters():
            if name.startswith("weight_hh"):
                for gate in weight.chunk(3):
                    nn.init.orthogonal_(gate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, inputs) to (B, T, d)."""
        features: Tensor = self.linear(self.dropout(self.gru(x)[0]))
        return features


class MdFed(nn.Module):
    """``encoder`` maps a batch to (B, T, ``encoder.width``).

    The heads have no bias at the start, so an untrained network is as good as one that guesses.
    """

    def __init__(self, encoder: nn.Module, temporal: TemporalHead, elements: int,
                 context: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.temporal = temporal
        self.lcl = nn.Linear(temporal.width, 2)
        self.mlc = nn.Linear(temporal.width, elements)
        for head in (self.lcl, self.mlc):
            nn.init.zeros_(head.bias)
        self.ctx = Context(elements) if context else None

    def features(self, batch: Batch) -> Tensor:
        """What the heads see: (B, T, d)."""
        found: Tensor = self.temporal(self.encoder(batch))
        return found

    def forward(self, batch: Batch) -> Outputs:
        """Logits of every frame."""
        features = self.features(batch)
        event, elements = self.lcl(features), self.mlc(features)
        refined = self.refine(elements, batch, batch.coarse == 1)
        return Outputs(event, elements, refined, features)

    def refine(self, elements: Tensor, batch: Batch, events: Tensor) -> Refined | None:
        """Element logits (B, T, K) after the context of ``events`` (B, T) bool."""
        if self.ctx is None:
            return None
        refined: Refined = self.ctx(elements, batch.hands, sequence_of(events & batch.valid))
        return refined

    @torch.no_grad()
    def start_at(self, p_event: float, p_elements: Tensor) -> None:
        """Set the heads' biases so that they say these probabilities until they learn more.

        They are the constant baseline's, weights of the loss included: ``w p / (w p + 1 - p)``.
        """
        event = torch.tensor(p_event).clamp(LEAST_RATE, 1 - LEAST_RATE)
        self.lcl.bias.copy_(torch.stack([-event.logit() / 2, event.logit() / 2]))
        self.mlc.bias.copy_(p_elements.clamp(LEAST_RATE, 1 - LEAST_RATE).logit())


def build_network(config: MdFedConfig, elements: int) -> MdFed:
    """The network of a config, with fresh weights that follow torch's seed."""
    model = config.model
    encoder = _encoder(config)
    temporal = TemporalHead(encoder.width, GRU_SIZES[model.preset], model.dropout)
    return MdFed(encoder, temporal, elements, model.context)


def _encoder(config: MdFedConfig) -> SkeletonEncoder | VisualEncoder:
    if config.stage == 1:
        return SkeletonEncoder(SIZES[config.model.preset], config.model.fusion)
    return VisualEncoder(config.visual)
