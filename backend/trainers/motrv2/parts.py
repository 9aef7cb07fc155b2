"""What trains and how fast (specs/motrv2.md, 3.1, 3.2)."""

from collections import Counter
from collections.abc import Iterator, Mapping

from torch import nn

from backend.runner.training import Parts
from backend.trainers.motrv2.selection import rate_group
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.weights import Start

GROUPS = ("backbone", "linear_proj", "new", "rest")
_PARTS: Mapping[str, str] = {
    "transformer.encoder.": "encoder",
    "transformer.decoder.bbox_embed.": "bbox_embed",
    "transformer.decoder.": "decoder",
    "transformer.": "encoder",
    "query_embed.": "queries",
    "position.": "queries",
    "refine_embed.": "queries",
    "yolox_class_embed.": "yolox_embed",
}
"""Where a part is called otherwise than the first word of its names."""


def part_of(name: str) -> str:
    """The part of the network that a parameter belongs to, as reports show it."""
    return next(
        (part for prefix, part in _PARTS.items() if name.startswith(prefix)),
        name.partition(".")[0],
    )


def rates_of(config: Motrv2Config) -> dict[str, float]:
    """The learning rate of each of ``GROUPS``."""
    lr, learning = config.runner.optimizer.lr, config.learning
    return {
        "backbone": lr["backbone"],
        "linear_proj": lr["all"] * learning.linear_proj_lr_mult,
        "new": lr["all"] * learning.new_lr_mult,
        "rest": lr["all"],
    }


def parts_of(start: Start, config: Motrv2Config) -> Parts:
    """The freezing plan, and the rate of each parameter."""
    forced, learning = start.selection.forced, config.learning
    scales = {
        "backbone": 1.0,
        "linear_proj": learning.linear_proj_lr_mult,
        "new": learning.new_lr_mult,
        "rest": 1.0,
    }

    def group_of(name: str) -> str:
        return "backbone" if rate_group(name, forced) == "backbone" else "all"

    def scale_of(name: str) -> float:
        return scales[rate_group(name, forced)]

    return Parts(
        frozen=start.selection.frozen,
        part_of=part_of,
        group_of=group_of,
        scale_of=scale_of,
        notes=tuple(_group_notes(start.learner, start, config)),
    )


def _group_notes(learner: nn.Module, start: Start, config: Motrv2Config) -> Iterator[str]:
    """A line for each group that trains, and for those that do not."""
    tensors: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for name, parameter in learner.named_parameters():
        if name in start.selection.trainable:
            group = rate_group(name, start.selection.forced)
            tensors[group] += 1
            numbers[group] += parameter.numel()
    rates = rates_of(config)
    for group in GROUPS:
        if tensors[group]:
            yield (
                f"group {group}: {tensors[group]} tensors, {numbers[group]:,} parameters at a "
                f"learning rate of {rates[group]:g}"
            )
    if idle := [group for group in GROUPS if not tensors[group]]:
        yield f"without a parameter that trains: {', '.join(idle)}"


def rate_notes(start: Start, config: Motrv2Config) -> Iterator[str]:
    """Settings without effect."""
    if not any(name.startswith("backbone.") for name in start.selection.trainable):
        yield "runner.optimizer.lr.backbone has no effect: the backbone is frozen"
    schedule = config.runner.schedule
    if late := [one for one in schedule.milestones if one >= config.epochs]:
        yield (
            f"runner.schedule.milestones: the learning rate never falls at {late[0]:g}, there "
            f"are {config.epochs} epochs"
        )
    steps = config.learning.head_warmup_steps
    if steps and not start.selection.forced:
        yield "learning.head_warmup_steps has no effect: nothing of the network is new"
