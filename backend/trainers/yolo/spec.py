"""What the YOLO trainer can be told, and what it reports. No torch here."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from backend.config.hardware import HardwareConfig
from backend.config.schema import CUSTOM, DataPath, FreezeConfig, Section, TrainConfig
from backend.config.synthetic import SyntheticConfig
from backend.core.knobs import Knobs, Size
from backend.core.records import MetricSpec
from backend.core.trainer import TrainerSpec
from backend.trainers.yolo.sources import find_model

STRATEGIES = {
    "full": "nothing is frozen",
    "backbone": "the backbone is frozen; neck and head train",
    "backbone+neck": "backbone and neck are frozen; the whole detection head trains",
    "head-only": "everything is frozen but the head's output layers (a linear probe)",
    CUSTOM: "the modules of freeze.modules are frozen",
}

MODELS = {
    "cpu": "yolov8n.pt",
    "low": "yolov8s.pt",
    "medium": "yolov8m.pt",
    "high": "yolov8l.pt",
    "workstation": "yolov8x.pt",
    "server": "yolov8x.pt",
}
"""What ``model: auto`` means on a tier."""

METRICS = (
    MetricSpec(name="mAP50-95", direction="maximize", description="COCO mAP, IoU 0.50 to 0.95"),
    MetricSpec(name="mAP50", direction="maximize", description="mAP at IoU 0.50"),
    MetricSpec(name="precision", direction="maximize", description="at the best-F1 confidence"),
    MetricSpec(name="recall", direction="maximize", description="at the best-F1 confidence"),
    MetricSpec(name="loss", direction="minimize", description="the sum of its parts"),
    MetricSpec(name="box_loss", direction="minimize"),
    MetricSpec(name="cls_loss", direction="minimize"),
    MetricSpec(name="dfl_loss", direction="minimize"),
    MetricSpec(name="l1_loss", direction="minimize", description="of models without DFL"),
)


class YoloFreezeConfig(FreezeConfig):
    """``modules`` of the strategy ``custom``: a number n stands for the first n modules, as in
    Ultralytics' ``freeze=n``; a list for modules by place or name (``[4]``, ``["22.cv2"]``).
    """

    modules: Annotated[int, Field(ge=0)] | tuple[str, ...] = Field(
        (), description="What the strategy 'custom' freezes."
    )
    unfreeze_at: int | None = Field(
        None, ge=1, description="After so many epochs nothing is frozen any more."
    )

    @field_validator("modules", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, modules: object) -> object:
        if isinstance(modules, bool | float) or (isinstance(modules, int) and modules < 0):
            raise ValueError(f"expected a number of modules or a list of them, got {modules}")
        return (modules,) if isinstance(modules, str) else modules

    @model_validator(mode="after")
    def _modules_are_for_custom(self) -> Self:
        if (self.strategy == CUSTOM) != bool(self.modules):
            raise ValueError("'modules' is for the strategy 'custom', which needs it")
        if self.unfreeze_at is not None and self.strategy == "full":
            raise ValueError("'unfreeze_at': the strategy 'full' freezes nothing")
        return self


class OptimizerConfig(Section):
    """The optimizer is always explicit; ``lr0`` is the rate that the head really gets.

    ``layer_decay``: layer-wise learning rate decay (LLRD); module i of the network trains at
    ``lr0 * layer_decay ** (head - i)``. None gives every layer ``lr0``.
    """

    name: Literal["AdamW", "Adam", "SGD", "RMSProp", "NAdam", "RAdam", "Adamax"] = "AdamW"
    lr0: float = Field(1e-3, gt=0, le=1)
    lrf: float = Field(0.01, gt=0, le=1, description="Final learning rate as a share of lr0.")
    momentum: float = Field(0.937, ge=0, lt=1)
    weight_decay: float = Field(5e-4, ge=0, le=1)
    layer_decay: float | None = Field(None, gt=0, lt=1)
    warmup_epochs: float = Field(1.0, ge=0)
    warmup_bias_lr: float = Field(0.0, ge=0, le=1)
    nbs: int = Field(64, ge=1, description="Nominal batch size for gradient accumulation.")
    cos_lr: bool = False


class AugmentConfig(Section):
    """Ultralytics' own augmentation terms and their defaults from the brief."""

    hsv_h: float = Field(0.015, ge=0, le=1)
    hsv_s: float = Field(0.7, ge=0, le=1)
    hsv_v: float = Field(0.4, ge=0, le=1)
    degrees: float = 10.0
    translate: float = Field(0.1, ge=0, le=1)
    scale: float = Field(0.5, ge=0, le=1)
    fliplr: float = Field(0.5, ge=0, le=1)
    flipud: float = Field(0.0, ge=0, le=1)
    mosaic: float = Field(1.0, ge=0, le=1)
    mixup: float = Field(0.1, ge=0, le=1)
    close_mosaic: int = Field(10, ge=0)


Format = Literal["onnx", "ultralytics"]


class YoloConfig(TrainConfig):
    """A fine-tuning of an Ultralytics detector.

    ``model`` is a checkpoint of Assay (.safetensors), an Ultralytics .pt, an architecture
    (.yaml, trained from scratch), or ``auto``: the one of the tier, with hardware.auto_scale.
    ``source`` is the dataset on which forgetting is measured.
    """

    kind: Literal["yolo"] = "yolo"
    model: str = Field(description="A .safetensors, .pt or .yaml file, or a name in weights_dir.")
    data: DataPath = Field(description="A YOLO data.yaml with train and val (and holdout).")
    weights_dir: DataPath | None = Field(None, description="Where bare model names are found.")
    allow_download: bool = Field(False, description="May Ultralytics fetch a model by its name?")
    trust_pickle: bool = Field(
        False, description="Load a .pt that needs arbitrary code? Only yours."
    )
    batch: int = Field(16, ge=1)
    imgsz: int = Field(640, ge=32, multiple_of=32)
    patience: int = Field(10, ge=0, description="Epochs without a better mAP50-95; 0: never stop.")
    workers: int = Field(2, ge=0)
    cache: bool = Field(False, description="Keep decoded images in RAM.")
    amp: bool = Field(True, description="Mixed precision; without effect on the CPU.")
    save_period: int = Field(
        0, ge=0, description="Keep a checkpoint every n epochs; 0: best and last."
    )
    val_period: int = Field(1, ge=1, description="Validate every n epochs.")
    conf: float = Field(0.001, gt=0, lt=1, description="Confidence floor of evaluations.")
    iou: float = Field(0.7, gt=0, lt=1, description="NMS threshold of evaluations.")
    max_det: int = Field(100, ge=1)
    threads: int = Field(1, ge=1, description="torch threads on the CPU.")
    export: tuple[Format, ...] = Field((), description="Formats of the best checkpoint.")
    freeze: YoloFreezeConfig = YoloFreezeConfig()
    hardware: HardwareConfig = HardwareConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: AugmentConfig = AugmentConfig()
    synthetic: SyntheticConfig = SyntheticConfig()

    @field_validator("export", mode="before")
    @classmethod
    def _one_format_is_a_list(cls, formats: object) -> object:
        return (formats,) if isinstance(formats, str) else formats

    @field_validator("export")
    @classmethod
    def _each_format_once(cls, formats: tuple[Format, ...]) -> tuple[Format, ...]:
        return tuple(dict.fromkeys(formats))

    @field_validator("freeze")
    @classmethod
    def _known_strategy(cls, freeze: YoloFreezeConfig) -> YoloFreezeConfig:
        if freeze.strategy not in STRATEGIES:
            raise ValueError(
                f"unknown strategy '{freeze.strategy}'; choose one of {', '.join(STRATEGIES)}"
            )
        return freeze

    @field_validator("device")
    @classmethod
    def _one_device(cls, device: str) -> str:
        if device != "cpu" and "," in device:
            raise ValueError(
                "one device per run: under several, Ultralytics relaunches itself and drops "
                "callbacks; use parallel trials instead"
            )
        return device

    @model_validator(mode="after")
    def _a_tier_chooses_auto(self) -> Self:
        if self.model == "auto" and not self.hardware.auto_scale:
            raise ValueError("'model: auto' is for hardware.auto_scale: true, which it needs")
        return self


KNOBS = Knobs(
    batch="batch",
    accumulate=None,  # Ultralytics gathers gradients up to nbs by itself
    smallest=2,  # batch norm on small maps
    size=Size("imgsz"),
    cache="cache",
    workers="workers",
    prefetch=None,
    model="model",
    models=MODELS,
    loads_on_cpu=False,
)
"""What the machine may change."""

FAST_EPOCHS = 10
NAMED = re.compile(r"(yolov?\d+)[smlx](\.pt|\.yaml)")


def fast(flat: Mapping[str, str], tier: str) -> dict[str, object]:
    """A short first training, as the brief's --fast: fewer epochs, and the small model of the
    same family where the config names one of a family; weights of one's own stay. What is less
    already stays, too."""
    epochs = min(FAST_EPOCHS, int(flat["epochs"]))
    changes: dict[str, object] = {
        "epochs": epochs,
        "patience": 5,
        "augment.close_mosaic": min(int(flat["augment.close_mosaic"]), epochs // 3),
    }
    size = "n" if tier == "cpu" else "s"
    if flat["model"] == "auto":
        changes["model"] = f"yolov8{size}.pt"
    elif named := NAMED.fullmatch(flat["model"]):
        changes["model"] = f"{named[1]}{size}{named[2]}"
    return changes


def ready(config: YoloConfig) -> None:
    """Is the model's file there? A tier that is to choose it does so later.

    Raises CheckpointError with the path at which it was expected.
    """
    if config.model != "auto":
        find_model(config)


SPEC = TrainerSpec(
    kind="yolo",
    title="YOLO (Ultralytics) detection",
    task="detection",
    config=YoloConfig,
    entry="backend.trainers.yolo.trainer:YoloTrainer",
    metrics=METRICS,
    headline="val/mAP50-95",
    primary="mAP50-95",
    strategies=STRATEGIES,
    levers={
        "lr": ("optimizer.lr0",),
        "warmup": ("optimizer.warmup_epochs",),
        "epochs": ("epochs",),
        "weight_decay": ("optimizer.weight_decay",),
        "validation_interval": ("val_period",),
    },
    preload=("backend.trainers.yolo.trainer",),
    knobs=KNOBS,
    licenses={"ultralytics": "AGPL-3.0-only, or Ultralytics' enterprise licence"},
    columns={
        "box_loss": "train/box_loss",
        "cls_loss": "train/cls_loss",
        "dfl_loss": "train/dfl_loss",
        "mAP50": "val/mAP50",
        "mAP50-95": "val/mAP50-95",
        "precision": "val/precision",
        "recall": "val/recall",
    },
    exports={"onnx": ("onnx", "onnxslim", "onnxruntime"), "ultralytics": ()},
    fast=fast,
    ready=ready,
    pip_requirements=(
        "torch",
        "torchvision",
        "ultralytics",
        "numpy",
        "safetensors",
        "pycocotools",
        "pydantic",
        "pyyaml",
    ),
)
