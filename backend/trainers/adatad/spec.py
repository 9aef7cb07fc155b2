"""What the AdaTAD trainer can be told, and what it reports. No torch here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from backend.config.compose import merge
from backend.config.hardware import HardwareConfig, TierName
from backend.config.schema import DataPath, FreezeConfig, Section, TrainConfig
from backend.core.knobs import Knobs
from backend.core.records import MetricSpec
from backend.core.trainer import TrainerSpec
from backend.runner.config import RunnerConfig

STRATEGIES = {
    "full": "nothing is frozen; there are no adapters",
    "last-layers": "the last freeze.layers layers of the backbone, and the detector",
    "adapter": "temporal adapters in every layer, and the detector; the backbone is frozen",
    "plain-adapter": "adapters that do not look along time, and the detector",
    "head-only": "the detector; the backbone is frozen and has no adapters",
}
ADAPTERS = ("adapter", "plain-adapter")

METRICS = (
    MetricSpec(name="average_mAP", direction="maximize",
               description="mean of mAP at temporal IoU 0.3, 0.4, 0.5, 0.6 and 0.7"),
    *(
        MetricSpec(name=f"mAP_{tiou:g}", direction="maximize",
                   description=f"mean average precision at temporal IoU {tiou:g}")
        for tiou in (0.3, 0.4, 0.5, 0.6, 0.7)
    ),
    MetricSpec(name="loss", direction="minimize"),
    MetricSpec(name="cls_loss", direction="minimize", description="focal loss of the classes"),
    MetricSpec(name="reg_loss", direction="minimize", description="1D DIoU of positive points"),
    MetricSpec(name="positives", direction=None, description="points inside an action"),
)  # fmt: skip


def _settled(name_or_path: str) -> str:
    """A path that exists is made absolute, for a run is continued from any folder."""
    path = Path(name_or_path).expanduser()
    return str(path.absolute()) if path.exists() else name_or_path


def _shares(values: tuple[float, float]) -> tuple[float, float]:
    if not 0 < values[0] <= values[1] <= 1:
        raise ValueError(f"expected rising shares above 0 and up to 1, got {values}")
    return values


Shares = Annotated[tuple[float, float], AfterValidator(_shares)]
Share = Annotated[float, Field(ge=0, le=1)]


class SubsetsConfig(Section):
    """What the annotations call the splits; THUMOS-14 trains on ``validation`` and is judged on
    ``test``. Another split (``assay evaluate --split``) is a subset by its own name."""

    train: str = "training"
    val: str = "validation"


class VideosConfig(Section):
    """The video files, and how they are read."""

    folder: DataPath | None = Field(None, description="Default: 'videos' beside the annotations.")
    threads: int = Field(4, ge=0, description="Decoders per loader process; 0: FFmpeg's choice.")
    allow_missing: bool = Field(False, description="Leave out videos without a usable file.")


class WindowsConfig(Section):
    """Windows of ``length`` positions, one at every ``stride``-th frame.

    Training draws one per video and epoch, ``per_video`` times ("random truncation"); an action
    belongs to it if ``trunc_thresh`` of its length lies inside. A share ``crop_ratio`` of the
    window is filled (null: all of it). ``align``: windows start, and crops end, at multiples of
    this; a multiple of the backbone's chunk lets features be used again.
    """

    length: int = Field(768, ge=16, le=8192)
    stride: int = Field(1, ge=1, le=64)
    trunc_thresh: float = Field(0.75, gt=0, le=1)
    crop_ratio: Shares | None = (0.9, 1.0)
    per_video: int = Field(1, ge=1, description="Windows drawn of each video in an epoch.")
    align: int = Field(1, ge=1, le=768)

    @model_validator(mode="after")
    def _in_whole_parts(self) -> Self:
        if over := self.length % self.align:
            fits = sorted({max(self.length - over, self.align), self.length - over + self.align})
            raise ValueError(
                f"'length' is {self.length}, no multiple of 'align', {self.align}; set length to "
                f"{' or '.join(map(str, fits))}, or align to 1"
            )
        return self


class FramesConfig(Section):
    """Pixels. ``size`` is the square that the network sees. With ``augment`` a training clip's
    short side is ``short`` before a random resized crop of ``area`` and ``aspect``; ``flip`` is a
    chance, ``operations`` how many of RandAugment's are drawn, the others largest changes."""

    size: int = Field(160, ge=16, le=448)
    augment: bool = True
    short: int = Field(182, ge=16, le=1024)
    area: Shares = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: Share = 0.5
    operations: int = Field(2, ge=0, le=7)
    brightness: Share = 0.5
    contrast: Share = 0.5
    saturation: Share = 0.5
    hue: float = Field(0.1, ge=0, le=0.5)


class ModelConfig(Section):
    """The network. ``pretrained``: weights of VideoMAE by name (in Hugging Face's cache) or path,
    of OpenTAD's AdaTAD (.pth), or a checkpoint of Assay."""

    preset: Literal["videomae-small", "videomae-base", "tiny"] = "videomae-small"
    pretrained: Annotated[str, AfterValidator(_settled)] | None = None
    adapter_ratio: float = Field(0.25, gt=0, le=1, description="Width of adapters, a share.")
    drop_path: float = Field(
        0.1, ge=0, lt=1, description="Of the backbone's layers in which something trains."
    )
    detector_drop_path: float = Field(0.1, ge=0, lt=1)
    detector_width: int | None = Field(None, ge=8, le=2048, description="null: the preset's.")


class AdaTadFreezeConfig(FreezeConfig):
    """``layers`` is for the strategy last-layers."""

    strategy: str = "adapter"
    layers: int = Field(4, ge=1, description="How many of the backbone's layers train.")

    @model_validator(mode="after")
    def _known_strategy(self) -> Self:
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"unknown strategy '{self.strategy}'; choose one of {', '.join(STRATEGIES)}"
            )
        return self


class ReuseConfig(Section):
    """Features of a frozen backbone, computed once and used by every run that gives it the same
    input. ``auto``: where that changes no result (head-only, no augmentation, ``windows.align`` a
    multiple of the chunk) and ``folder`` names where they are kept; ``off``: never."""

    features: Literal["auto", "off"] = "auto"
    folder: DataPath | None = Field(None, description="A study sets it to its own folder.")


class InferenceConfig(Section):
    """From scores at points to segments; see specs/adatad.md, 4.

    ``overlap`` of sliding windows; in validations ``val_overlap``. Of each window the best
    ``top_k`` points and classes above ``min_score`` are kept; of each video, after soft-NMS
    (Gaussian with ``sigma``, ``per_class``), ``max_segments``.
    """

    batch: int = Field(2, ge=1, description="Windows at once.")
    overlap: float = Field(0.5, ge=0, lt=1)
    val_overlap: float = Field(0.25, ge=0, lt=1)
    min_score: float = Field(0.001, ge=0, lt=1)
    top_k: int = Field(2000, ge=1)
    sigma: float = Field(0.7, gt=0, le=10)
    max_segments: int = Field(2000, ge=1)
    per_class: bool = True


RECIPE: Mapping[str, object] = {
    "batch": 2,
    "clip": 1.0,
    "optimizer": {
        "lr": {"backbone": 1e-5, "adapter": 2e-4, "detector": 1e-4},
        "weight_decay": 0.05,
        "no_decay_names": ("projection.*.scale", "head.scale.*"),
    },
    "schedule": {"warmup_epochs": 5},
    "ema": {"enabled": True, "momentum": 0.001},
    "checkpointing": ("backbone.blocks.*",),
}
"""What of ``runner`` is this trainer's own."""


class AdaTadConfig(TrainConfig):
    """Temporal action detection in untrimmed videos. ``data`` is a json as ActivityNet or THUMOS
    have it, or the folder that holds one."""

    kind: Literal["adatad"] = "adatad"
    epochs: int = Field(100, ge=1)
    classes: tuple[str, ...] = Field((), description="In the order of labels; empty: all, sorted.")
    ignored: tuple[str, ...] = Field(("Ambiguous",), description="Labels that are no class.")
    subsets: SubsetsConfig = SubsetsConfig()
    videos: VideosConfig = VideosConfig()
    windows: WindowsConfig = WindowsConfig()
    frames: FramesConfig = FramesConfig()
    model: ModelConfig = ModelConfig()
    freeze: AdaTadFreezeConfig = AdaTadFreezeConfig()
    reuse: ReuseConfig = ReuseConfig()
    inference: InferenceConfig = InferenceConfig()
    hardware: HardwareConfig = HardwareConfig()
    runner: RunnerConfig = RunnerConfig.model_validate(RECIPE)

    @model_validator(mode="before")
    @classmethod
    def _over_the_recipe(cls, given: Any) -> Any:
        """A config that sets one key of ``runner`` keeps this trainer's others."""
        runner = given.get("runner") if isinstance(given, Mapping) else None
        return {**given, "runner": merge(RECIPE, runner)} if isinstance(runner, Mapping) else given

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("'classes' names one twice")
        return self

    @model_validator(mode="after")
    def _rates_have_groups(self) -> Self:
        if set(self.runner.optimizer.lr) != {"backbone", "adapter", "detector"}:
            raise ValueError(
                "runner.optimizer.lr: this trainer has three groups, 'backbone', 'adapter', "
                "'detector'"
            )
        trains = self.freeze.strategy in ("full", "last-layers")
        if trains and not self.runner.optimizer.lr["backbone"]:
            raise ValueError(
                f"freeze.strategy '{self.freeze.strategy}' trains the backbone, but "
                "runner.optimizer.lr.backbone is 0; set it to 1e-5, for instance"
            )
        return self


KNOBS = Knobs(
    threads="videos.threads",
    evaluating="inference.batch",
    by_tier={
        key: dict(zip(get_args(TierName), values, strict=True))
        for key, values in {
            "runner.batch": (1, 1, 2, 2, 4, 8),
            "runner.workers": (2, 2, 4, 4, 6, 12),
            "runner.prefetch": (2, 2, 2, 4, 4, 6),
            "videos.threads": (2, 2, 4, 6, 8, 12),
            "inference.batch": (1, 1, 1, 1, 1, 2),
        }.items()
    },
)
"""What the machine may change; the last two columns are the brief's, of 32 GB and 64 GB. A smaller
picture or a shorter window would be another task."""

_LOSSES = ("loss", "cls_loss", "reg_loss", "positives")
COLUMNS = {
    key: key
    for key in (
        *(f"train/{name}" for name in _LOSSES),
        *(f"val/{spec.name}" for spec in METRICS if spec.direction),
    )
}
"""Of ``results.csv``."""

SPEC = TrainerSpec(
    kind="adatad",
    title="AdaTAD: temporal action detection in long videos, with adapters",
    task="temporal",
    config=AdaTadConfig,
    entry="backend.trainers.adatad.trainer:AdaTadTrainer",
    describe="backend.trainers.adatad.description:described",
    metrics=METRICS,
    headline="val/average_mAP",
    primary="average_mAP",
    strategies=STRATEGIES,
    preload=("backend.trainers.adatad.trainer",),
    pip_requirements=(
        *("torch", "torchvision", "transformers", "mmengine", "numpy", "scipy", "av"),
        *("safetensors", "pydantic", "pyyaml"),
    ),
    levers={
        "lr": (
            *("runner.optimizer.lr.detector", "runner.optimizer.lr.adapter"),
            "runner.optimizer.lr.backbone",
        ),
        "warmup": ("runner.schedule.warmup_epochs", "runner.schedule.warmup_steps"),
        "clip": ("runner.clip",),
        "epochs": ("epochs",),
        "weight_decay": ("runner.optimizer.weight_decay",),
        "dropout": ("model.detector_drop_path",),
        "stride": ("windows.stride",),
        "validation_interval": ("runner.validation.interval",),
        "validation_begin": ("runner.validation.begin",),
    },
    knobs=KNOBS,
    columns=COLUMNS,
)
