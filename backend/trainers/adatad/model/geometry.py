"""The sizes that make one AdaTAD different from another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from backend.core.errors import ConfigError

Adapter = Literal["temporal", "plain", "none"]


@dataclass(frozen=True)
class Geometry:
    """Sizes of a network; the defaults are those of the published one with VideoMAE-S.

    Backbone: ``width``, ``layers``, ``heads``; it sees chunks of ``chunk`` frames as tubes of
    ``tubelet`` frames and ``patch`` x ``patch`` pixels; its positions are those of images of
    ``native`` pixels. An adapter is ``adapter_ratio`` of the width wide. Detector:
    ``detector_width``, ``detector_heads``, ``levels`` of the pyramid. ``chunkwise``: the backbone
    sees chunk by chunk in float32, so that what it says of one is the same to the bit in every
    window; only where it is frozen and has no adapters. Raises ConfigError for sizes that do not
    fit together.
    """

    classes: int = 20
    width: int = 384
    layers: int = 12
    heads: int = 6
    mlp_ratio: int = 4
    patch: int = 16
    tubelet: int = 2
    chunk: int = 16
    native: int = 224
    adapter: Adapter = "temporal"
    adapter_ratio: float = 0.25
    drop_path: float = 0.1
    detector_width: int = 512
    detector_heads: int = 4
    levels: int = 6
    detector_drop_path: float = 0.1
    chunkwise: bool = False

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise ConfigError("the network needs at least one class of actions")
        if self.width % self.heads or self.detector_width % self.detector_heads:
            raise ConfigError(
                f"widths must be multiples of their heads: {self.width} of {self.heads} in the "
                f"backbone, {self.detector_width} of {self.detector_heads} in the detector"
            )
        if self.hidden < 1:
            raise ConfigError(
                f"an adapter of {self.adapter_ratio:g} times {self.width} channels is empty; "
                "set a larger adapter ratio"
            )
        if self.chunkwise and self.adapter != "none":
            raise ConfigError("adapters look across chunks, so the backbone cannot be chunkwise")

    @property
    def hidden(self) -> int:
        """Channels inside an adapter."""
        return int(self.width * self.adapter_ratio)

    @property
    def strides(self) -> tuple[int, ...]:
        """Positions of the feature grid per point, level by level."""
        return tuple(2**level for level in range(self.levels))

    @property
    def multiple(self) -> int:
        """A window's number of frames is a multiple of this: whole chunks, whole points."""
        return math.lcm(self.chunk, self.strides[-1])

    def check(self, frames: int, height: int, width: int) -> None:
        """Refuse windows that the network cannot cut into chunks and patches: ConfigError."""
        if frames < 1 or frames % self.multiple:
            raise ConfigError(
                f"a window of {frames} frames cannot be cut into chunks of {self.chunk} and "
                f"points of up to {self.strides[-1]}; set a multiple of {self.multiple}"
            )
        if height % self.patch or width % self.patch or not height or not width:
            raise ConfigError(
                f"frames of {width} x {height} pixels cannot be cut into patches of "
                f"{self.patch}; set a multiple of it"
            )


SMALL = Geometry(
    classes=3,
    width=64,
    layers=3,
    heads=4,
    native=64,
    drop_path=0.0,
    detector_width=64,
    detector_drop_path=0.0,
)
"""For tests and the demo: windows of 96 frames of 64 x 64 pixels. It is too small, and trained
too shortly, to leave anything out."""

PRESETS: Mapping[str, Geometry] = {
    "videomae-small": Geometry(),
    "videomae-base": Geometry(width=768, heads=12),
    "tiny": SMALL,
}
