"""How a training on the Runner goes: one config section, the same for each trainer. No torch.

Intervals are in epochs, and fractions count: 0.25 is four times in each epoch. Learning rates
and schedules move with the optimizer step, never with the epoch.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backend.config.schema import Section

Rate = Annotated[float, Field(ge=0, le=10)]


class OptimizerConfig(Section):
    """``lr`` has a rate for each group of parameters that the trainer names; 0 is for one that is
    frozen."""

    name: Literal["AdamW", "SGD"] = "AdamW"
    lr: dict[str, Rate] = Field({"all": 1e-3}, description="Learning rate of each named group.")
    weight_decay: float = Field(1e-4, ge=0, le=1)
    betas: tuple[float, float] = Field((0.9, 0.999), description="Of AdamW.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of SGD.")
    no_decay: tuple[Literal["bias", "norm", "embedding"], ...] = Field(
        ("bias", "norm", "embedding"), description="Kinds of parameters without weight decay."
    )
    no_decay_names: tuple[str, ...] = Field(
        (), description="Further parameters without weight decay: names, * for any text."
    )

    @model_validator(mode="after")
    def _something_moves(self) -> Self:
        if not any(self.lr.values()):
            raise ValueError("'lr': every rate is 0, so nothing would be learnt")
        return self


class ScheduleConfig(Section):
    """LinearLR warm-up, then the named schedule, as factors on every group's rate."""

    name: Literal["cosine", "step", "constant"] = "cosine"
    warmup_steps: int = Field(0, ge=0, description="Optimizer steps of linear warm-up.")
    warmup_epochs: float = Field(0, ge=0, description="The same in epochs, if warmup_steps is 0.")
    warmup_start: float = Field(0.01, gt=0, le=1, description="Share of the rate at step 0.")
    final: float = Field(0.0, ge=0, le=1, description="cosine: share of the rate at the end.")
    milestones: tuple[float, ...] = Field((), description="step: epochs after which it falls.")
    gamma: float = Field(0.1, gt=0, le=1, description="step: the factor at each milestone.")

    def warmup(self, steps_per_epoch: int) -> int:
        """Optimizer steps of linear warm-up."""
        return self.warmup_steps or round(self.warmup_epochs * steps_per_epoch)

    @model_validator(mode="after")
    def _milestones_belong_to_step(self) -> Self:
        if (self.name == "step") != bool(self.milestones):
            raise ValueError("'milestones' is for the schedule 'step', which needs it")
        if (
            list(self.milestones) != sorted(set(self.milestones))
            or min(self.milestones, default=1) <= 0
        ):
            raise ValueError("'milestones' must be positive and rise")
        return self


class EmaConfig(Section):
    """An exponential moving average of the weights; when on, it is validated and saved.

    The newest weights count ``max(momentum, 10 / all steps, 9 / (10 + n))`` at update n, so
    that a short run does not keep its start values.
    """

    enabled: bool = False
    momentum: float = Field(0.0002, gt=0, le=1)
    compare_live: bool = Field(False, description="Also validate the live weights, as live/...")


class ValidationConfig(Section):
    """The last step is always validated."""

    begin: float = Field(0, ge=0, description="Not before this epoch is over.")
    interval: float = Field(1, gt=0, description="In epochs.")
    patience: int = Field(0, ge=0, description="Validations without a better one; 0: never stop.")


class CheckpointConfig(Section):
    """The best and the last checkpoint are always kept."""

    interval: float = Field(0, ge=0, description="Keep one every n epochs as well; 0: do not.")
    resume_interval: float = Field(
        1, gt=0, le=1, description="Write what a killed run needs to go on every n epochs."
    )
    keep_states: bool = Field(
        False,
        description="Keep that with those of 'interval' at an epoch's end: a new run can "
        "begin there. As large as weights, average and optimizer together.",
    )

    @model_validator(mode="after")
    def _states_are_kept_with_checkpoints(self) -> Self:
        if self.keep_states and not self.interval:
            raise ValueError("'keep_states' is for 'interval' above 0, which it needs")
        return self


class RunnerConfig(Section):
    """``batch`` is of one process and one pass: ``batch * accumulate * processes`` samples make
    one optimizer step."""

    batch: int = Field(8, ge=1)
    accumulate: int = Field(1, ge=1, description="Batches per optimizer step.")
    drop_last: bool = Field(False, description="Leave out an epoch's last, incomplete step.")
    workers: int = Field(2, ge=0, description="Data loader processes.")
    prefetch: int = Field(2, ge=1, description="Batches that each of them has ready.")
    processes: int = Field(1, ge=1, description="Training processes: one per GPU (DDP).")
    threads: int = Field(1, ge=1, description="torch threads on the CPU.")
    amp: Literal["off", "bfloat16", "float16"] = "off"
    clip: float = Field(0, ge=0, description="Highest norm of the gradient; 0: not clipped.")
    max_nonfinite: int = Field(
        0, ge=0, description="Steps left out because their gradient is no number, before it ends."
    )
    checkpointing: tuple[str, ...] = Field(
        (), description="Modules that recompute their activations: names, * for any text."
    )
    deterministic: bool = Field(False, description="Slower kernels that repeat to the bit (GPU).")
    unused_parameters: bool = Field(False, description="DDP: some get no gradient in a step.")
    log_interval: int = Field(10, ge=1, description="Optimizer steps between training losses.")
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    ema: EmaConfig = EmaConfig()
    validation: ValidationConfig = ValidationConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="after")
    def _float16_has_its_own_way(self) -> Self:
        if self.max_nonfinite and self.amp == "float16":
            raise ValueError("'max_nonfinite': float16 leaves such steps out by itself")
        return self
