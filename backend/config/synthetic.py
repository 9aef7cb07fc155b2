"""Dynamic copy-paste: one config section, the same for each trainer that makes images."""

from typing import Self

from pydantic import Field, model_validator

from backend.config.schema import DataPath, Section


class SyntheticConfig(Section):
    """Dynamic copy-paste: images made while training, of cut-out objects pasted on backgrounds.

    ``annotated_dir`` has images with YOLO labels (boxes, polygons, or an alpha channel) beside
    them or under labels/ for images/, and their class names in a data.yaml or classes.txt;
    ``backgrounds_dir`` any images, without objects of the classes, since those would teach the
    network to miss them. Without both folders it is off. An epoch has ``ratio`` made images for
    each real one, so it takes more steps.
    """

    enabled: bool = Field(True, description="Paste, if there are folders to paste from.")
    backgrounds_dir: DataPath | None = None
    annotated_dir: DataPath | None = None
    ratio: float = Field(2.0, ge=0, le=20, description="Made images per real image.")
    max_objects: int = Field(4, ge=1, description="Most objects pasted into an image.")
    scale: tuple[float, float] = Field((0.5, 1.5), description="Of a cut-out's own size.")
    degrees: float = Field(15.0, ge=0, le=180, description="Rotation of a cut-out.")
    max_hidden: float = Field(0.2, ge=0, lt=1, description="Of another object, by pastes.")
    per_class: int = Field(500, ge=1, description="Most cut-outs kept of a class.")
    ignore: tuple[str, ...] = Field((), description="Classes of annotated_dir to leave out.")
    close: int = Field(0, ge=0, description="Last epochs with real images only.")

    @property
    def active(self) -> bool:
        """Are images made?"""
        return self.enabled and self.ratio > 0 and self.annotated_dir is not None

    def made(self, real: int) -> int:
        """Made images in an epoch with so many real ones."""
        return round(self.ratio * real)

    @model_validator(mode="after")
    def _the_folders_belong_together(self) -> Self:
        if not self.enabled or (self.annotated_dir is None) == (self.backgrounds_dir is None):
            return self
        given, missing = "annotated_dir", "backgrounds_dir"
        if self.annotated_dir is None:
            given, missing = missing, given
        raise ValueError(
            f"'{given}' is given without '{missing}'; name both folders, or switch copy-paste off "
            "with enabled: false"
        )

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"'scale': expected two factors, the smaller first, got {self.scale}")
        return self
