"""What the machine may decide for a run: one config section, the same for each trainer."""

from typing import Literal, Self

from pydantic import Field, model_validator

from backend.config.schema import Section

TierName = Literal["cpu", "low", "medium", "high", "workstation", "server"]


class HardwareConfig(Section):
    """``auto_scale`` lets the tier of the GPU choose batch, workers, prefetch and image size,
    in place of what the config says of them, but for the keys in ``keep``: those that were set
    on the command line, or by a study, are kept by themselves."""

    tier: Literal["auto", TierName] = Field(
        "auto", description="auto: as found; else a tier of 'assay hardware'."
    )
    auto_scale: bool = Field(False, description="Scale the run to the tier.")
    keep: tuple[str, ...] = Field((), description="Config keys that the tier leaves alone.")
    recover: bool = Field(True, description="Step down and go on when memory runs out.")
    recover_order: Literal["auto", "batch", "cache"] = Field(
        "auto",
        description="What is given up first: the batch, or cache and loader processes; auto: the "
        "latter if the host's memory ran out while a GPU trains.",
    )
    max_attempts: int = Field(8, ge=1, description="Attempts of a run, the first one included.")
    smallest_size: int | None = Field(
        None, ge=32, description="Images never get smaller than this; null: the trainer's own."
    )
    sample: float = Field(
        2.0, ge=0, le=3600, description="Seconds between looks at GPU, memory, power; 0: never."
    )

    @model_validator(mode="after")
    def _a_tier_is_for_scaling(self) -> Self:
        if self.tier != "auto" and not self.auto_scale:
            raise ValueError("'tier' is for auto_scale: true, which it needs")
        return self
