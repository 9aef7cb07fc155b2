"""The sizes that make one MOTRv2 different from another."""

from dataclasses import dataclass
from typing import Literal

from backend.core.errors import ConfigError

Backbone = Literal["resnet50", "tiny"]


@dataclass(frozen=True)
class Geometry:
    """Sizes of a network; the defaults are the published one's.

    ``queries`` are the learned ones. ``denoising`` adds ``refine_embed``, ``position_update`` a
    branch of the query interaction. ``proposal_classes`` is how many classes of detections have
    a vector of their own, 0 for the original network. ``groups`` are GroupNorm's. Raises
    ConfigError for sizes that do not fit together.
    """

    classes: int = 1
    queries: int = 10
    width: int = 256
    feedforward: int = 1024
    heads: int = 8
    points: int = 4
    levels: int = 4
    encoder_layers: int = 6
    decoder_layers: int = 6
    groups: int = 32
    denoising: bool = False
    position_update: bool = False
    proposal_classes: int = 0
    backbone: Backbone = "resnet50"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for divisor in (8, self.heads, self.groups):
            if self.width % divisor:
                raise ConfigError(
                    f"the network's width {self.width} must be a multiple of 8 (four sine codes "
                    f"of an even size), of the heads ({self.heads}) and of the groups "
                    f"({self.groups})"
                )


TINY = Geometry(
    queries=4,
    width=64,
    feedforward=128,
    heads=4,
    levels=2,
    encoder_layers=1,
    decoder_layers=2,
    groups=8,
    denoising=True,
    backbone="tiny",
)
"""For tests and the demo: 0.3 million parameters."""
