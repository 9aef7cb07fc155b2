"""What the machine may decide for a run: one config section, the same for each trainer."""

from pydantic import Field

from backend.config.schema import Section


class HardwareConfig(Section):
    """``auto_scale`` lets the tier of the GPU choose batch, workers, prefetch and image size."""

    tier: str = Field("auto", description="auto: as found; else a tier of 'assay hardware'.")
    auto_scale: bool = Field(False, description="Scale the run to the tier.")
    recover: bool = Field(True, description="Step down and go on when memory runs out.")
