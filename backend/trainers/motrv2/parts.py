"""What trains and how fast (specs/motrv2.md, 3.1, 3.2)."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from backend.runner.training import Parts
from backend.trainers.motrv2.selection import rate_group, size
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


class RateGroup(NamedTuple):
    """How many tensors and numbers train at a learning rate."""

    tensors: int
    numbers: int
    lr: float


def rate_groups(start: Start, config: Motrv2Config) -> dict[str, RateGroup]:
    """What trains at which rate, by ``GROUPS``; a group may be empty."""
    selection, lr, scales = start.selection, config.runner.optimizer.lr, _scales(config)
    names: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name in selection.trainable:
        names[rate_group(name, selection.forced)].append(name)
    return {
        group: RateGroup(*size(start.learner, chosen), lr[_optimizer_group(group)] * scales[group])
        for group, chosen in names.items()
    }


def parts_of(start: Start, config: Motrv2Config) -> Parts:
    """The freezing plan, and the rate of each parameter."""
    forced, scales = start.selection.forced, _scales(config)
    return Parts(
        frozen=start.selection.frozen,
        part_of=part_of,
        group_of=lambda name: _optimizer_group(rate_group(name, forced)),
        scale_of=lambda name: scales[rate_group(name, forced)],
        notes=tuple(_group_notes(rate_groups(start, config))),
    )


def _scales(config: Motrv2Config) -> dict[str, float]:
    """The factor of each of ``GROUPS`` on the rate of its optimizer group."""
    learning = config.learning
    factors = (1.0, learning.linear_proj_lr_mult, learning.new_lr_mult, 1.0)
    return dict(zip(GROUPS, factors, strict=True))


def _optimizer_group(group: str) -> str:
    """The key of ``runner.optimizer.lr`` for one of ``GROUPS``."""
    return "backbone" if group == "backbone" else "all"


def _group_notes(groups: Mapping[str, RateGroup]) -> Iterator[str]:
    """A line for each group that trains, and for those that do not."""
    for name, group in groups.items():
        if group.tensors:
            yield (
                f"group {name}: {group.tensors} tensors, {group.numbers:,} parameters at a "
                f"learning rate of {group.lr:g}"
            )
    if idle := [name for name, group in groups.items() if not group.tensors]:
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
