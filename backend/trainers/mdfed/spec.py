"""What the MD-FED trainer can be told, and what it reports. No torch here."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from backend.config.hardware import HardwareConfig
from backend.config.schema import DataPath, FreezeConfig, Section, TrainConfig
from backend.core.knobs import Knobs
from backend.core.records import MetricSpec
from backend.core.trainer import TrainerSpec
from backend.runner.config import RunnerConfig

STRATEGIES = {
    "full": "nothing is frozen",
    "encoder": "the encoder is frozen; temporal head and classifiers train",
    "encoder+gru": "encoder and temporal head are frozen; only the classifiers train",
    "all-but-mlc": "everything is frozen but the multi-label classifier of the elements",
}

METRICS = (
    MetricSpec(name="edit", direction="maximize", description="Edit score, 0 to 100"),
    MetricSpec(name="f1_event", direction="maximize", description="mean F1 over event types"),
    MetricSpec(name="f1_element", direction="maximize", description="mean F1 over all elements"),
    MetricSpec(name="f1_lcl", direction="maximize", description="F1 of event frames"),
    MetricSpec(name="ap_frame", direction="maximize", description="AP of the event score"),
    MetricSpec(name="auroc_frame", direction="maximize", description="AUROC of the event score"),
    MetricSpec(name="loss", direction="minimize"),
    MetricSpec(name="lcl_loss", direction="minimize", description="event localiser"),
    MetricSpec(name="mlc_loss", direction="minimize", description="multi-label classifier"),
    MetricSpec(name="ctx_loss", direction="minimize", description="context module"),
    MetricSpec(name="distill_loss", direction="minimize", description="visual to skeleton (MSE)"),
)


class SkeletonConfig(Section):
    """Where skeletons lie, and what a missing one means. ``zeros`` takes it for a body at the
    origin, as the public code does; it is there to show what comes of that."""

    pose_dir: DataPath | None = Field(None, description="Default: 'skeletons' in the data folder.")
    missing: Literal["error", "mask", "zeros"] = "error"


class ClipConfig(Section):
    """Windows of ``length`` strided frames. ``per_epoch`` 0: as many as cover the clips once."""

    length: int = Field(96, ge=8, le=1024)
    stride: int = Field(2, ge=1, le=16)
    per_epoch: int = Field(0, ge=0, description="Windows drawn per epoch.")
    dilation: int = Field(0, ge=0, le=8, description="Label frames t-d to t+d (training only).")
    few_shot: int = Field(
        0, ge=0, description="Use k clips only: 80 % to train, 20 % to validate."
    )


class ModelConfig(Section):
    """The network. ``pretrained`` is a checkpoint of Assay: of stage 1 for stage 2, of stage 2 for
    stage 3, or of the same stage to fine-tune."""

    preset: Literal["tiny", "base"] = "base"
    pretrained: DataPath | None = None
    fusion: Literal["concat", "mean"] = "concat"
    dropout: float = Field(0.1, ge=0, lt=1)
    context: bool = Field(False, description="CTX: a GRU over the clip's sequence of events.")
    bias_init: bool = Field(False, description="Start at the constant baseline's probabilities.")


class VisualConfig(Section):
    """Stages 2 and 3: a small encoder of frames that are rendered from the skeletons."""

    size: int = Field(64, ge=32, le=256, multiple_of=16, description="Pixels of a frame's side.")
    width: int = Field(16, ge=8, le=128)


class LossConfig(Section):
    """``L = lcl * L_lcl + mlc * L_mlc (+ ctx * L_ctx)``; in stage 2 the distillation alone."""

    fg_weight: float = Field(5.0, gt=0, le=1000, description="Of event frames, background is 1.")
    pos_weight: Literal["none", "sqrt", "inverse"] = Field(
        "none", description="Per element: (negatives / positives), its root, at most 20."
    )
    focal_gamma: float = Field(0.0, ge=0, le=5)
    lcl: float = Field(1.0, ge=0, le=100)
    mlc: float = Field(1.0, ge=0, le=100)
    ctx: float = Field(1.0, ge=0, le=100)


class InferenceConfig(Section):
    """How windows become events; see specs/mdfed.md 3.5 and ``backend.scoring.spotting``."""

    overlap: float = Field(0.5, ge=0, lt=1, description="Of windows; 0 in validations.")
    suppress: int = Field(5, ge=1, le=101, description="Frames in which a score must be highest.")
    order: Literal["clip_then_average", "average_then_suppress"] = "clip_then_average"
    threshold: float = Field(0.5, gt=0, lt=1, description="Least p_event.")
    tolerance: int = Field(1, ge=0, le=50, description="Strided frames a detection may be off.")
    compat: Literal["", "f3ed"] = ""


class MdFedConfig(TrainConfig):
    """Event spotting from skeletons. ``stage`` 1 trains on skeletons, 2 distils them into a visual
    encoder without labels, 3 tunes that encoder on labelled clips."""

    kind: Literal["mdfed"] = "mdfed"
    data: DataPath = Field(description="A folder with train.json, val.json and elements.txt.")
    separator: str = Field("_", min_length=1, description="Between the elements of a label.")
    groups: DataPath | None = Field(
        None, description="Element groups (json); default: data/groups.json"
    )
    stage: Literal[1, 2, 3] = 1
    skeletons: SkeletonConfig = SkeletonConfig()
    clips: ClipConfig = ClipConfig()
    model: ModelConfig = ModelConfig()
    visual: VisualConfig = VisualConfig()
    loss: LossConfig = LossConfig()
    inference: InferenceConfig = InferenceConfig()
    hardware: HardwareConfig = HardwareConfig()
    runner: RunnerConfig = RunnerConfig.model_validate(
        {
            "batch": 4,
            "clip": 5.0,
            "optimizer": {"lr": {"all": 1e-3}, "weight_decay": 0.01},
            "schedule": {"warmup_steps": 100},
        }
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
        if self.stage > 1 and self.model.pretrained is None:
            needs = "1 (the teacher)" if self.stage == 2 else "2"
            raise ValueError(
                f"stage {self.stage}: model.pretrained must be a checkpoint of stage {needs}"
            )
        if self.stage == 2 and self.freeze.strategy != "full":
            raise ValueError("stage 2 trains the visual encoder: freeze.strategy must be full")
        if self.loss.lcl == 0 and self.loss.mlc == 0:
            raise ValueError("loss: lcl and mlc are both 0, so there is nothing to train on")
        if set(self.runner.optimizer.lr) != {"all"}:
            raise ValueError("runner.optimizer.lr: this trainer has one group, 'all'")
        return self


KNOBS = Knobs()
"""What the machine may change: batch and loader processes. Shorter windows would be another
task, with other baselines."""

SPEC = TrainerSpec(
    kind="mdfed",
    title="MD-FED: fine-grained event spotting from skeletons",
    task="spotting",
    config=MdFedConfig,
    entry="backend.trainers.mdfed.trainer:MdFedTrainer",
    metrics=METRICS,
    headline="val/edit",
    primary="f1_event",
    strategies=STRATEGIES,
    preload=("backend.trainers.mdfed.trainer",),
    pip_requirements=("torch", "mmengine", "numpy", "safetensors", "pydantic", "pyyaml"),
    levers={
        "lr": ("runner.optimizer.lr.all",),
        "warmup": ("runner.schedule.warmup_steps",),
        "clip": ("runner.clip",),
        "epochs": ("epochs",),
        "weight_decay": ("runner.optimizer.weight_decay",),
        "dropout": ("model.dropout",),
        "positive_weight": ("loss.fg_weight",),
        "bias_init": ("model.bias_init",),
        "missing": ("skeletons.missing",),
        "separator": ("separator",),
        "pose_dir": ("skeletons.pose_dir",),
        "stride": ("clips.stride",),
        "threshold": ("inference.threshold",),
        "validation_interval": ("runner.validation.interval",),
        "validation_begin": ("runner.validation.begin",),
    },
    knobs=KNOBS,
)
