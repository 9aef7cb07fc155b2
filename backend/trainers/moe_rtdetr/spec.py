"""What the MoE RT-DETR trainer can be told, and what it reports. No torch here."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from backend.config.hardware import HardwareConfig
from backend.config.schema import DataPath, FreezeConfig, Section, TrainConfig
from backend.core.knobs import Knobs, Size
from backend.core.records import MetricSpec
from backend.core.trainer import TrainerSpec
from backend.runner.config import OptimizerConfig, RunnerConfig

CLASSES = ("car", "truck", "bus", "person", "bicycle", "motorcycle")

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "A": {name: (name,) for name in CLASSES},
    "B": {
        "vehicles": ("car", "truck", "bus"),
        "people": ("person",),
        "two_wheelers": ("bicycle", "motorcycle"),
    },
    "C": {
        "large_objects": ("truck", "bus"),
        "medium_objects": ("car",),
        "small_objects": ("person", "bicycle", "motorcycle"),
    },
}
"""Expert configurations: by class, by complexity, by size."""

STRATEGIES = {
    "full": "nothing is frozen",
    "backbone": "the backbone is frozen",
    "backbone+encoder": "backbone and hybrid encoder are frozen; experts, decoder and heads train",
    "experts-only": "only routers, experts and the detection heads train",
    "head-only": "only the detection heads and their routers train",
}

METRICS = (
    MetricSpec(name="mAP50-95", direction="maximize", description="COCO mAP, IoU 0.50 to 0.95"),
    MetricSpec(name="mAP50", direction="maximize", description="mAP at IoU 0.50"),
    MetricSpec(name="mAP75", direction="maximize", description="mAP at IoU 0.75"),
    MetricSpec(name="loss", direction="minimize", description="detection and routing losses"),
    MetricSpec(name="detection_loss", direction="minimize"),
    MetricSpec(name="accuracy", direction="maximize",
               description="objects found at IoU 0.5 with the right class, of all objects"),
    MetricSpec(name="gflops", direction=None, unit="GFLOP", description="of one image"),
    MetricSpec(name="dense_gflops", direction=None, unit="GFLOP",
               description="of one image, in the dense model of the same cost"),
)  # fmt: skip


class ModelConfig(Section):
    """The detector. ``pretrained`` is ``none`` (from scratch), a folder of transformers, an
    original RT-DETR .pth, a checkpoint of Assay (.safetensors), or, with ``allow_download``, a
    name on the Hugging Face hub; ``torch_hub`` stands for the preset's own name there."""

    preset: Literal["tiny", "r18", "r34", "r50", "r101"] = "r18"
    pretrained: str = Field("none", description="Weights to start from; none: from scratch.")
    allow_download: bool = Field(False, description="May weights be fetched by their name?")
    image_size: tuple[int, int] = Field((640, 640), description="Height and width, in 32s.")
    queries: int = Field(300, ge=1, le=2000)
    denoising: int = Field(100, ge=0, description="Denoising queries; 0: none.")

    @field_validator("image_size")
    @classmethod
    def _multiples(cls, size: tuple[int, int]) -> tuple[int, int]:
        if any(side < 32 or side % 32 for side in size):
            raise ValueError(f"{size[0]} x {size[1]}: height and width must be multiples of 32")
        return size


class MoeConfig(Section):
    """The experts. ``dense`` is the same detector without any, of the same cost at ``top_k``."""

    experts: Literal["A", "B", "C", "custom", "dense"] = "A"
    groups: dict[str, tuple[str, ...]] = Field(
        {}, description="custom: expert name to its classes; every class once."
    )
    top_k: int = Field(2, ge=1)
    hidden: int = Field(512, ge=8, description="Width of each token expert's hidden layer.")
    balance: Literal["loss", "bias", "none"] = Field(
        "loss", description="bias: without a loss, by pushing the choice (Wang et al. 2024)."
    )
    load_balance_weight: float = Field(0.01, ge=0, le=100)
    bias_rate: float = Field(1e-3, gt=0, le=1)
    z_loss_weight: float = Field(1e-3, ge=0, le=10)
    route_sup: float = Field(
        0.2, ge=0, le=100, description="Weight of the query routers' supervision by class group."
    )
    route_sup_token: float = Field(0.1, ge=0, le=100, description="The token router's.")
    noise: float = Field(0.0, ge=0, description="Of the choice while training, in 1 / experts.")
    capacity: float = Field(
        0.0, ge=0, description="Seats per expert in even shares; 0: nothing is dropped."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.experts == "custom") != bool(self.groups):
            raise ValueError("'groups' is for experts: custom, which needs it")
        count = len(self.named_groups)
        if count and self.top_k > count:
            raise ValueError(f"top_k is {self.top_k}, but there are {count} experts")
        for key, balance in (("load_balance_weight", "loss"), ("bias_rate", "bias")):
            default = type(self).model_fields[key].default
            if self.balance != balance and getattr(self, key) != default:
                raise ValueError(
                    f"{key} is for balance: {balance}, but balance is {self.balance}; leave it "
                    f"at {default:g}"
                )
        return self

    @property
    def named_groups(self) -> dict[str, tuple[str, ...]]:
        """Expert name to the classes that it is in charge of; empty for the dense model."""
        if self.experts == "dense":
            return {}
        return self.groups or GROUPS[self.experts]


class LanguageConfig(Section):
    """Stage 2: a prompt gates classes and experts. ``model.pretrained`` is the stage-1
    checkpoint."""

    enabled: bool = False
    text_encoder: DataPath | None = Field(
        None, description="A folder with a text model of transformers; none: hashed n-grams."
    )
    dimensions: int = Field(4096, ge=256, description="Of the hashed n-grams.")
    hidden: int = Field(64, ge=4)
    lr: float = Field(3e-3, gt=0, le=1, description="Learning rate of the gate.")
    weight: float = Field(1.0, gt=0, description="Of the gate's own loss.")
    everything: float = Field(0.25, ge=0, le=1, description="Share of prompts for all classes.")
    prune: bool = Field(True, description="Skip experts that own no class asked for.")
    gate_query_selection: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: on when a frame may hold more objects than there are queries."
    )
    unknown: Literal["all", "error"] = Field("all", description="What an unknown prompt means.")
    freeze_stage1: bool = Field(False, description="Train the gate only.")

    @model_validator(mode="after")
    def _one_encoder(self) -> Self:
        if self.text_encoder and self.dimensions != type(self).model_fields["dimensions"].default:
            raise ValueError("dimensions are the built-in encoder's; text_encoder has its own")
        return self


class AugmentConfig(Section):
    """What training images go through."""

    fliplr: float = Field(0.5, ge=0, le=1)
    hsv: float = Field(0.0, ge=0, le=1, description="Largest change of colour and brightness.")
    scale: float = Field(0.0, ge=0, lt=1, description="Zoom out and in by at most this share.")


class MoeRtDetrConfig(TrainConfig):
    """A fine-tuning of RT-DETR v2 with routed experts.

    Learning rates follow what was really loaded: ``pretrained_lr`` for tensors that came with
    ``model.pretrained``, ``new_lr`` for the others, ``scratch_lr`` for all if nothing was
    loaded. ``prompt`` gates the answers of a stage-2 model in evaluations.
    """

    kind: Literal["moe_rtdetr"] = "moe_rtdetr"
    data: DataPath = Field(
        description="A YOLO data.yaml, a COCO folder or .yaml, or a DAIR-V2X-I folder."
    )
    classes: tuple[str, ...] = Field(CLASSES, min_length=1, description="In the model's order.")
    class_map: DataPath | None = Field(
        None, description="A YAML of dataset names to ours (null: left out)."
    )
    model: ModelConfig = ModelConfig()
    moe: MoeConfig = MoeConfig()
    language: LanguageConfig = LanguageConfig()
    pretrained_lr: float = Field(1e-5, gt=0, le=1)
    new_lr: float = Field(1e-4, gt=0, le=1)
    scratch_lr: float = Field(1e-3, gt=0, le=1)
    augment: AugmentConfig = AugmentConfig()
    hardware: HardwareConfig = HardwareConfig()
    prompt: str = Field("", description="What evaluations ask for; empty: everything.")
    conf: float = Field(0.001, ge=0, lt=1, description="Confidence floor of evaluations.")
    max_det: int = Field(100, ge=1, le=1000)
    analyze: Literal["final", "always", "never"] = Field(
        "final",
        description="Evaluations that also look at each expert alone and at each prompt, "
        "which takes further passes: the run's last one, all, none.",
    )
    runner: RunnerConfig = RunnerConfig.model_validate(
        {"clip": 0.1, "ema": {"enabled": True}, "schedule": {"warmup_steps": 500, "final": 0.02}}
    )

    @field_validator("freeze")
    @classmethod
    def _known_strategy(cls, freeze: FreezeConfig) -> FreezeConfig:
        if freeze.strategy not in STRATEGIES:
            raise ValueError(
                f"unknown strategy '{freeze.strategy}'; choose one of {', '.join(STRATEGIES)}"
            )
        return freeze

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("'classes' names one twice")
        owned = [name for group in self.moe.named_groups.values() for name in group]
        if self.moe.named_groups and sorted(owned) != sorted(self.classes):
            raise ValueError(
                f"moe.experts {self.moe.experts}: every class must belong to exactly one expert; "
                f"classes are {', '.join(self.classes)}, the experts' are {', '.join(owned)}"
            )
        if self.runner.optimizer.lr != OptimizerConfig().lr:
            raise ValueError("runner.optimizer.lr: set pretrained_lr, new_lr and scratch_lr")
        if self.language.enabled and self.model.pretrained in ("none", "torch_hub"):
            raise ValueError("language: model.pretrained must be a stage-1 checkpoint of Assay")
        if self.prompt and not self.language.enabled:
            raise ValueError("prompt: only a language-gated model can be asked (language.enabled)")
        return self


KNOBS = Knobs(size=Size("model.image_size"))
"""What the machine may change: batch, image size, loader processes."""

SPEC = TrainerSpec(
    kind="moe_rtdetr",
    title="MoE RT-DETR: detection with routed experts",
    task="detection",
    config=MoeRtDetrConfig,
    entry="backend.trainers.moe_rtdetr.trainer:MoeRtDetrTrainer",
    metrics=METRICS,
    headline="val/mAP50-95",
    primary="mAP50-95",
    strategies=STRATEGIES,
    levers={
        "lr": ("pretrained_lr", "new_lr", "scratch_lr"),
        "warmup": ("runner.schedule.warmup_steps",),
        "clip": ("runner.clip",),
        "epochs": ("epochs",),
        "weight_decay": ("runner.optimizer.weight_decay",),
        "balance": ("moe.load_balance_weight",),
        "top_k": ("moe.top_k",),
        "validation_interval": ("runner.validation.interval",),
        "validation_begin": ("runner.validation.begin",),
    },
    knobs=KNOBS,
    preload=("backend.trainers.moe_rtdetr.trainer",),
    pip_requirements=(
        *("torch", "torchvision", "transformers", "mmengine", "numpy", "pillow", "safetensors"),
        *("pycocotools", "pydantic", "pyyaml"),
    ),
)
