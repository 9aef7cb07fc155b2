"""Sections that every trainer's config shares. Each trainer subclasses ``TrainConfig``."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.config.compose import apply_overrides, flatten


def _absolute(path: Path) -> Path:
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111 (Path raises for ~nobody)


DataPath = Annotated[Path, AfterValidator(_absolute)]
"""A path; relative ones are relative to the folder in which the command is run."""


class Section(BaseModel):
    """A part of a config: frozen, and unknown keys are errors; ``device: 0`` is the text "0"."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), coerce_numbers_to_str=True
    )


CUSTOM = "custom"
"""The freezing strategy that needs modules beside its name; a search cannot choose it."""


class FreezeConfig(Section):
    """``strategy`` is a name that the trainer declares; ``assay trainers list`` shows them."""

    strategy: str = "full"


class DiagnosticsConfig(Section):
    """What a training shows of itself, and which findings end it. What is observed changes
    nothing that is trained."""

    observe: bool = Field(True, description="Gradients, updates, what moves, what is predicted.")
    every: int = Field(10, ge=1, description="Optimizer steps between looks at the gradients.")
    probe: int = Field(
        200,
        ge=0,
        description="Most samples of the input permutation probe, which takes 1 % of what is "
        "trained on, but at least 50; 0: leave it out.",
    )
    stop: Literal["never", "stop", "error"] = Field(
        "stop", description="The least severity of a finding that ends the run."
    )


class TrainConfig(Section):
    """Everything that decides a run. ``kind`` tells the trainers apart."""

    kind: str
    name: str = Field("", description="How the run is called; empty: made from the config.")
    data: DataPath = Field(description="The dataset file.")
    source: DataPath | None = Field(
        None, description="The dataset of the source domain, on which forgetting is measured."
    )
    experiment: str = Field("assay", description="The MLflow experiment.")
    seed: int = Field(0, ge=0)
    device: str = Field("auto", description="cpu, cuda:0, or auto: the first GPU, else the CPU.")
    epochs: int = Field(50, ge=1)
    tensorboard: bool = Field(False, description="Also write TensorBoard's event files.")
    freeze: FreezeConfig = FreezeConfig()
    diagnostics: DiagnosticsConfig = DiagnosticsConfig()

    def flat(self) -> dict[str, str]:
        """Dotted key to text, as MLflow parameters and the dashboard show it."""
        return flatten(self.model_dump(mode="json"))

    def replace(self, overrides: dict[str, object]) -> Self:
        """A copy with dotted overrides, validated again."""
        return type(self).model_validate(apply_overrides(self.model_dump(mode="json"), overrides))
