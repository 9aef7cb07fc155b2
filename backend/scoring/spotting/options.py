"""How event spotting is scored."""

from typing import Literal

from pydantic import Field

from backend.config.schema import DataPath, Section
from backend.scoring.spotting.decoding import Decoder, Group, Order

STRIDE = 2
"""The stride of the published trainings, where neither option nor file names one."""
Frames = Literal["", "raw", "strided"]


class SpottingOptions(Section):
    """How files are read and events are matched. Frames are strided unless said otherwise."""

    elements: tuple[str, ...] | DataPath | None = Field(
        None, description="elements.txt or names; default: in or beside the ground truth."
    )
    stride: int | None = Field(
        None, ge=1, description="Raw frames per strided one; default: the ground truth's, or 2."
    )
    tolerance: int = Field(1, ge=0, le=1000, description="How far a detection may be off.")
    separator: str = Field("_", min_length=1, description="Between the elements of a label.")
    compat: Literal["", "f3ed"] = Field("", description="f3ed: the older rule for misses.")
    frames: Frames = Field("", description="Of the predictions; empty: as the file tells.")
    threshold: float | None = Field(
        None, ge=0, lt=1, description="Least score of an event; raw scores: 0.5 by default."
    )
    suppress: int = Field(
        5, ge=1, le=1000, description="Frames in which a raw score must be highest."
    )
    order: Order | None = Field(
        None, description="Of averaging raw scores; default: the order of the rule's evaluator."
    )
    groups: DataPath | None = Field(
        None, description="Element groups (json); default: the ground truth's own, if any."
    )

    def decoder(self, groups: tuple[Group, ...]) -> Decoder:
        """How raw scores become events."""
        usual: Order = "average_then_suppress" if self.compat else "clip_then_average"
        threshold = 0.5 if self.threshold is None else self.threshold
        return Decoder(self.order or usual, self.suppress, threshold, groups)
