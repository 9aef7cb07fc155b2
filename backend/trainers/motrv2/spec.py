"""What the MOTRv2 trainer can be told, and what it reports. No torch here."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from backend.config.hardware import HardwareConfig
from backend.config.schema import CUSTOM, DataPath, FreezeConfig, Section, TrainConfig
from backend.core.errors import ConfigError
from backend.core.knobs import Knobs, Size
from backend.core.records import MetricSpec
from backend.core.trainer import TrainerSpec
from backend.datasets.tracking.clips import check_curriculum
from backend.runner.config import RunnerConfig

STRATEGIES = {
    "minimal": "only the proposals' embedding trains, and what is new",
    "moderate": "and the query interaction module and the class heads",
    "aggressive": "and the decoder's self-attention, where queries see each other",
    "full": "everything but the ResNet's first layers and its batch norms",
    "custom": "what freeze.modules names, aliases or regular expressions; ! takes out again",
}

ShortSide = Annotated[int, Field(ge=32, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]

METRICS = (
    MetricSpec(name="cls_HOTA", direction="maximize", description="mean HOTA over classes"),
    MetricSpec(name="HOTA", direction="maximize", description="whatever the class"),
    MetricSpec(name="DetA", direction="maximize", description="detection part of HOTA"),
    MetricSpec(name="AssA", direction="maximize", description="association part of HOTA"),
    MetricSpec(name="MOTA", direction="maximize"),
    MetricSpec(name="IDF1", direction="maximize"),
    MetricSpec(name="cls_MOTA", direction="maximize", description="mean over classes"),
    MetricSpec(name="cls_IDF1", direction="maximize", description="mean over classes"),
    MetricSpec(name="IDSW", direction="minimize", description="identity switches"),
    MetricSpec(name="swept_HOTA", direction="maximize",
               description="HOTA at the score threshold that suits best, from stored scores"),
    MetricSpec(name="best_thresh", direction=None, description="that threshold"),
    MetricSpec(name="class_accuracy", direction="maximize",
               description="objects whose surest query at IoU 0.5 has their class on top"),
    MetricSpec(name="forgetting", direction="minimize",
               description="HOTA on the source domain before training less that after it"),
    MetricSpec(name="loss", direction="minimize"),
    MetricSpec(name="loss_ce", direction="minimize", description="focal loss of the classes"),
    MetricSpec(name="loss_bbox", direction="minimize", description="L1 of the boxes"),
    MetricSpec(name="loss_giou", direction="minimize"),
    MetricSpec(name="loss_dn", direction="minimize", description="denoising queries"),
)  # fmt: skip


class DetectionsConfig(Section):
    """The detector's boxes that become proposal queries. ``use: false`` trains without any."""

    path: DataPath | None = Field(None, description="Default: det_db.json in the data folder.")
    fields: Literal["auto", "xywhs", "xywhcs", "xywhsc"] = Field(
        "auto", description="Order of a line's fields; auto: decided over the whole file."
    )
    use: bool = True


class ClipsConfig(Section):
    """How frames become clips. ``lengths`` is a curriculum: the next one from each of ``epochs``
    on (counted from 1 when they are over). ``pseudo`` makes clips of shifted single images, for
    data without identities."""

    lengths: tuple[int, ...] = Field((5,), description="Frames of a clip.")
    epochs: tuple[int, ...] = Field((), description="After which epochs the length changes.")
    interval: int = Field(10, ge=1, description="Largest stride between frames; drawn from 1 on.")
    per_epoch: int = Field(0, ge=0, description="Clips drawn per epoch; 0: every start once.")
    pseudo: bool = False
    pseudo_shift: int = Field(50, ge=0, description="Pixels between frames of a pseudo clip.")

    @model_validator(mode="after")
    def _the_curriculum_is_one(self) -> Self:
        try:
            check_curriculum(self.lengths, self.epochs)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


class ImagesConfig(Section):
    """Sizes in pixels, and what is drawn once for all frames of a clip.

    ``short`` and ``long``: the short side is resized to the first, unless the long one would
    exceed the second. ``train_short``: the short sides to draw from; empty: ``short``.
    ``crop``: least and largest side of a crop, taken from an image whose short side was first
    drawn from ``crop_short``; empty: ``short``.
    """

    short: ShortSide = 800
    long: int = Field(1536, ge=32, le=8192)
    train_short: tuple[ShortSide, ...] = tuple(range(608, 993, 32))
    flip: float = Field(0.5, ge=0, le=1, description="Chance of a horizontal flip.")
    crop_chance: float = Field(0.5, ge=0, le=1)
    crop: tuple[int, int] = (800, 1200)
    crop_short: tuple[ShortSide, ...] = (800, 1000, 1200)
    hsv: tuple[Share, Share, Share] = Field(
        (0.015, 0.5, 0.5), description="Largest change of hue, saturation and value, shares."
    )

    @field_validator("crop")
    @classmethod
    def _a_range(cls, crop: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= crop[0] <= crop[1]:
            raise ValueError(f"expected the least side of a crop and the largest, got {crop}")
        return crop


class ModelConfig(Section):
    """The network. With ``pretrained`` (a checkpoint of Assay or of MOTRv2, .pth) sizes are taken
    from the file and ``preset`` and ``position_update`` have no effect.

    ``head_init`` is what class heads of another class count start from: ``prior`` fresh,
    ``replicate`` the one old row, ``map`` rows of ``head_from`` (our class to the file's row, both
    counted from 0), ``none`` refuses. ``proposal_class: embed`` gives each class of the detector
    a vector, zero at the start.
    """

    preset: Literal["resnet50", "tiny"] = "resnet50"
    pretrained: DataPath | None = None
    queries: int | None = Field(None, ge=1, le=300, description="Learned queries; null: 10.")
    proposal_class: Literal["embed", "ignore"] = "embed"
    position_update: bool = False
    dropout: float = Field(0.0, ge=0, lt=1)
    denoising: float = Field(0.05, ge=0, lt=1, description="Jitter of denoising queries; 0: none.")
    head_init: Literal["prior", "replicate", "map", "none"] = "prior"
    head_from: dict[int, int] = Field(
        {}, description="head_init map: our class to the file's row."
    )

    @model_validator(mode="after")
    def _rows_are_for_map(self) -> Self:
        if (self.head_init == "map") != bool(self.head_from):
            raise ValueError("'head_from' is for head_init: map, which needs it")
        return self


class MotrFreezeConfig(FreezeConfig):
    """``names: reference_substring`` filters by the layer names of the public recipe as parts of
    a name, by which aggressive is moderate. ``train_new`` trains what did not come from the
    checkpoint, whatever the strategy."""

    strategy: str = "full"
    modules: tuple[str, ...] = Field((), description="What the strategy 'custom' trains.")
    names: Literal["assay", "reference_substring"] = "assay"
    train_new: bool = True
    allow_untrained_new: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.strategy not in STRATEGIES:
            raise ValueError(
                f"unknown strategy '{self.strategy}'; choose one of {', '.join(STRATEGIES)}"
            )
        if (self.strategy == CUSTOM) != bool(self.modules):
            raise ValueError("'modules' is for the strategy 'custom', which needs it")
        return self


class LearningConfig(Section):
    """How a clip is learned from. Rates are factors on ``runner.optimizer.lr.all``.

    ``head_warmup_steps``: so long only what is new trains; null: the first epoch, at most 500
    steps. ``update_gate: matched`` also renews queries with an object. ``still_norms`` keeps batch
    norms of the small backbone at their running statistics.
    """

    new_lr_mult: float = Field(5.0, gt=0, le=1000, description="Rate of what is new.")
    linear_proj_lr_mult: float = Field(0.1, gt=0, le=10, description="Of sampling offsets.")
    head_warmup_steps: int | None = Field(None, ge=0)
    update_gate: Literal["score", "matched"] = "score"
    track_drop_prob: float = Field(0.0, ge=0, lt=1, description="Share of tracks dropped.")
    fp_insert_ratio: float = Field(0.0, ge=0, lt=1, description="Chance of a false one more.")
    recompute: bool = Field(False, description="Trade time for memory, frame by frame.")
    still_norms: bool = False
    val_clips: int = Field(16, ge=0, description="Clips of val on which the loss is taken.")


class TrackerConfig(Section):
    """When a track begins, ends and is shown. ``label``: of each frame, or voted by the track."""

    score_thresh: float = Field(0.5, gt=0, lt=1, description="Birth, and being shown.")
    filter_score_thresh: float = Field(0.5, gt=0, lt=1, description="Below, it is missed.")
    update_score_thresh: float = Field(0.5, gt=0, lt=1, description="Above, it is renewed.")
    miss_tolerance: int = Field(20, ge=1, description="Frames missed before a track ends.")
    min_area: float = Field(100.0, ge=0, description="Square pixels of a box to be shown.")
    max_track_queries: int = Field(300, ge=1)
    label: Literal["frame", "vote"] = "frame"
    sweep: tuple[float, ...] = Field(
        tuple(tenth / 10 for tenth in range(1, 10)),
        description="Score thresholds at which each validation also counts, in rising order.",
    )

    @field_validator("sweep")
    @classmethod
    def _rising(cls, sweep: tuple[float, ...]) -> tuple[float, ...]:
        if list(sweep) != sorted(set(sweep)) or any(not 0 < one < 1 for one in sweep):
            raise ValueError(f"expected rising thresholds between 0 and 1, got {list(sweep)}")
        return sweep


class Motrv2Config(TrainConfig):
    """Multi-object tracking, fine-tuned in parts. ``data`` is a folder of MOT sequences by split,
    ``source`` one of the checkpoint's own domain, on which forgetting is measured."""

    kind: Literal["motrv2"] = "motrv2"
    epochs: int = Field(5, ge=1)
    classes: tuple[str, ...] = Field((), description="Names by id from 1, without classes.json.")
    drop: dict[str, tuple[int, ...]] = Field({}, description="Label filter to class ids it drops.")
    confirmed: tuple[str, ...] = Field((), description="Filters that may drop whole classes.")
    det_db: DetectionsConfig = DetectionsConfig()
    clips: ClipsConfig = ClipsConfig()
    images: ImagesConfig = ImagesConfig()
    model: ModelConfig = ModelConfig()
    freeze: MotrFreezeConfig = MotrFreezeConfig()
    learning: LearningConfig = LearningConfig()
    tracker: TrackerConfig = TrackerConfig()
    hardware: HardwareConfig = HardwareConfig()
    runner: RunnerConfig = RunnerConfig.model_validate(
        {
            "batch": 1,
            "clip": 0.1,
            "optimizer": {
                "lr": {"all": 2e-4, "backbone": 2e-5},
                "weight_decay": 1e-4,
                "no_decay": (),
            },
            "schedule": {"name": "step", "milestones": (4,), "gamma": 0.1},
        }
    )

    @model_validator(mode="after")
    def _rates_have_groups(self) -> Self:
        if set(self.runner.optimizer.lr) != {"all", "backbone"}:
            raise ValueError("runner.optimizer.lr: this trainer has two groups, 'all', 'backbone'")
        if self.source is not None and self.model.pretrained is None:
            raise ValueError(
                "'source' is for measuring what fine-tuning forgets: it needs model.pretrained"
            )
        if unknown := sorted(set(self.confirmed) - set(self.drop)):
            raise ValueError(f"'confirmed' names no filter of 'drop': {', '.join(unknown)}")
        return self


KNOBS = Knobs(
    size=Size("images.long", multiple=32, floor=320,
              tiers={"cpu": 640, "low": 960, "medium": 1280, "high": 1536, "workstation": 1536,
                     "server": 1536}),
    by_tier={"runner.batch": {"cpu": 1, "low": 1, "medium": 1, "high": 2, "workstation": 4,
                              "server": 4}},
)  # fmt: skip
"""What the machine may change: a clip is one sample, and the published recipe takes one a step."""

_LOSSES = ("loss", "loss_ce", "loss_bbox", "loss_giou", "loss_dn")
_JUDGED = tuple(spec.name for spec in METRICS if spec.direction and spec.name != "forgetting")
COLUMNS = {
    key: key
    for key in (
        *(f"train/{name}" for name in _LOSSES),
        *(f"val/{name}" for name in _JUDGED),
        *("source/HOTA", "source/forgetting"),
    )
}
"""Of ``results.csv``."""

SPEC = TrainerSpec(
    kind="motrv2",
    title="MOTRv2: multi-object tracking from a detector's boxes",
    task="tracking",
    config=Motrv2Config,
    entry="backend.trainers.motrv2.trainer:Motrv2Trainer",
    metrics=METRICS,
    headline="val/cls_HOTA",
    primary="cls_HOTA",
    strategies=STRATEGIES,
    preload=("backend.trainers.motrv2.trainer",),
    pip_requirements=(
        *("torch", "torchvision", "mmengine", "numpy", "scipy", "pillow", "safetensors"),
        *("pydantic", "pyyaml"),
    ),
    levers={
        "lr": ("runner.optimizer.lr.all",),
        "warmup": ("runner.schedule.warmup_steps",),
        "clip": ("runner.clip",),
        "epochs": ("epochs",),
        "weight_decay": ("runner.optimizer.weight_decay",),
        "dropout": ("model.dropout",),
        "threshold": (
            *("tracker.score_thresh", "tracker.filter_score_thresh"),
            "tracker.update_score_thresh",
        ),
        "train_new": ("freeze.train_new",),
        "validation_interval": ("runner.validation.interval",),
        "validation_begin": ("runner.validation.begin",),
    },
    knobs=KNOBS,
    columns=COLUMNS,
    exports={"motrv2": ()},
)
