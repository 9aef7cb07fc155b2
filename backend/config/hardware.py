"""What the machine may decide for a run: one config section, the same for each trainer."""

from typing import Literal, Self

from pydantic import Field, model_validator

from backend.config.schema import Section

TierName = Literal["cpu", "low", "medium", "high", "workstation"]


class HardwareConfig(Section):
    """``auto_scale`` lets the tier of the GPU choose batch, workers, prefetch and image size,
    in place of what the config says of them."""

    tier: Literal["auto", TierName] = Field(
        "auto", description="auto: as found; else a tier of 'assay hardware'."
    )
    auto_scale: bool = Field(False, description="Scale the run to the tier.")
    recover: bool = Field(True, description="Step down and go on when memory runs out.")

    @model_validator(mode="after")
    def _a_tier_is_for_scaling(self) -> Self:
        if self.tier != "auto" and not self.auto_scale:
            raise ValueError("'tier' is for auto_scale: true, which it needs")
        return self
