"""The section of a config that all trainers on the Runner share, in tables for a report."""

from backend.core.description import Described
from backend.runner.config import RunnerConfig, ScheduleConfig

NONE = "none"
NAMES = {
    "off": "off: float32",
    "bfloat16": "AMP in bfloat16",
    "float16": "AMP in float16, loss scaled",
}


MANY = {"bias": "biases", "norm": "norms", "embedding": "embeddings"}


def described(runner: RunnerConfig, epochs: int) -> tuple[Described, ...]:
    """Loading, optimisation, schedule and intervals."""
    return (
        Described("optimisation", "Loading", _loading(runner)),
        Described("optimisation", "Optimizer", _optimizer(runner)),
        Described("optimisation", "Schedule", _schedule(runner.schedule, epochs)),
        Described("optimisation", "Intervals", _intervals(runner)),
    )


def per_step(runner: RunnerConfig) -> str:
    """Samples of an optimizer step, and what they are the product of."""
    factors = [runner.batch, runner.accumulate, runner.processes]
    total = runner.batch * runner.accumulate * runner.processes
    if total == runner.batch:
        return str(total)
    return f"{total} = {' x '.join(map(str, factors))} (batch, accumulated, processes)"


def _loading(runner: RunnerConfig) -> tuple[tuple[str, str], ...]:
    return (
        ("batch", str(runner.batch)),
        ("samples of an optimizer step", per_step(runner)),
        ("loader processes", str(runner.workers)),
        ("batches that each has ready", str(runner.prefetch) if runner.workers else NONE),
        ("pinned memory", "where a GPU trains"),
    )


def _optimizer(runner: RunnerConfig) -> tuple[tuple[str, str], ...]:
    optimizer, ema = runner.optimizer, runner.ema
    rates = ", ".join(f"{name} {lr:g}" for name, lr in optimizer.lr.items())
    moments = (
        f"betas {optimizer.betas[0]:g} and {optimizer.betas[1]:g}"
        if optimizer.name == "AdamW"
        else f"momentum {optimizer.momentum:g}"
    )
    spared = [MANY[kind] for kind in optimizer.no_decay] + list(optimizer.no_decay_names)
    spare = f"; 0 for {', '.join(spared)}" if spared and optimizer.weight_decay else ""
    averaged = (
        f"momentum {ema.momentum:g}, higher in a short training; the averaged weights are "
        "validated and saved"
    )
    many = f"between {runner.processes} processes (DDP), not compressed"
    return (
        ("optimizer", f"{optimizer.name}, {moments}"),
        ("learning rates, where a group trains", rates),
        ("weight decay", f"{optimizer.weight_decay:g}{spare}"),
        ("mixed precision", NAMES[runner.amp]),
        ("gradient clipping", f"norm {runner.clip:g}" if runner.clip else NONE),
        ("average of the weights (EMA)", averaged if ema.enabled else NONE),
        ("activation checkpointing", ", ".join(runner.checkpointing) or NONE),
        ("gradients exchanged", many if runner.processes > 1 else "no: one process"),
    )


def _schedule(schedule: ScheduleConfig, epochs: int) -> tuple[tuple[str, str], ...]:
    after = {
        "cosine": f"cosine to {schedule.final:.4g} of the rate at the last step",
        "step": f"times {schedule.gamma:g} after epochs "
        + ", ".join(f"{at:g}" for at in schedule.milestones),
        "constant": "constant",
    }
    long = ""
    if schedule.warmup_steps:
        long = f"{schedule.warmup_steps:,} steps"
    elif schedule.warmup_epochs:
        long = f"{schedule.warmup_epochs:g} epochs"
    start = f", linear from {schedule.warmup_start:g} of the rate"
    return (
        ("warm-up", f"{long}{start}" if long else NONE),
        ("then", after[schedule.name]),
        ("moves", "with every optimizer step"),
        ("epochs at most", str(epochs)),
    )


def _intervals(runner: RunnerConfig) -> tuple[tuple[str, str], ...]:
    validation, kept = runner.validation, runner.checkpoints
    begin = f", from epoch {validation.begin:g} on" if validation.begin else ""
    also = f"; one is kept {_every(kept.interval)} as well" if kept.interval else ""
    patience = f"after {validation.patience} validations without a better one"
    return (
        ("validation", f"{_every(validation.interval)}{begin}, and at the end"),
        ("checkpoints", f"the best and the last{also}"),
        ("state to resume from", _every(kept.resume_interval)),
        ("training losses logged", f"every {runner.log_interval} optimizer steps"),
        ("ended early", patience if validation.patience else "never"),
    )


def _every(epochs: float) -> str:
    if epochs < 1:
        return f"{1 / epochs:.3g} times in each epoch"
    return "every epoch" if epochs == 1 else f"every {epochs:g} epochs"
