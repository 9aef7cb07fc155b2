"""What trains and how fast: learning rates follow what was really loaded, freezing the strategy.

``pretrained_lr`` is for parameters that came with the weights, ``new_lr`` for the others, and
``scratch_lr`` for all of them if nothing came. The language gate has a rate of its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from backend.core.errors import ConfigError
from backend.runner.config import RunnerConfig
from backend.runner.training import Parts
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, NETWORK
from backend.trainers.moe_rtdetr.model import names
from backend.trainers.moe_rtdetr.model.weights import Loaded, some
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

FROZEN_PARTS: Mapping[str, tuple[str, ...]] = {
    "full": (),
    "backbone": ("backbone",),
    "backbone+encoder": ("backbone", "encoder"),
    "experts-only": ("backbone", "encoder", "decoder"),
    "head-only": ("backbone", "encoder", "decoder", "token_experts"),
}
ROUTERS = "*.router.weight"
TOKENS = f"{NETWORK}tokens."


def part_of(name: str) -> str:
    """The part of the learner that a parameter belongs to."""
    if name.startswith(LANGUAGE):
        return "language"
    return names.part_of(name.removeprefix(NETWORK))


def group_of(name: str, loaded: Loaded) -> str:
    """The learning-rate group of a parameter."""
    if name.startswith(LANGUAGE):
        return "language"
    if not loaded.names:
        return "scratch"
    return "pretrained" if name in loaded.names else "new"


def rates_of(config: MoeRtDetrConfig) -> dict[str, float]:
    """Learning rate of each group."""
    return {
        "pretrained": config.pretrained_lr,
        "new": config.new_lr,
        "scratch": config.scratch_lr,
        "language": config.language.lr,
    }


def runner_of(config: MoeRtDetrConfig) -> RunnerConfig:
    """``config.runner`` with the groups' rates, and without weight decay on routers."""
    optimizer = config.runner.optimizer
    routers = (ROUTERS,) if config.moe.named_groups else ()
    changed = {
        "lr": rates_of(config),
        "no_decay_names": tuple(dict.fromkeys((*optimizer.no_decay_names, *routers))),
    }
    return config.runner.model_copy(update={"optimizer": optimizer.model_copy(update=changed)})


def parts_of(learner: nn.Module, config: MoeRtDetrConfig, loaded: Loaded) -> Parts:
    """Freezing, groups and notes for a learner with ``network.*`` and perhaps ``language.*``.

    Raises ConfigError if nothing would train.
    """
    sizes = {name: parameter.numel() for name, parameter in learner.named_parameters()}
    wanted = {name for name in sizes if _frozen_by(name, config)}
    kept = {name for name in wanted if _must_train(name, config, loaded)}
    frozen = frozenset(wanted - kept)
    if len(frozen) == len(sizes):
        raise ConfigError(f"freeze.strategy '{config.freeze.strategy}' leaves nothing to train")
    notes = (
        *_freezing_notes(frozen, kept, config, loaded),
        *_group_notes({n: s for n, s in sizes.items() if n not in frozen}, config, loaded),
    )
    return Parts(
        frozen=frozen,
        part_of=part_of,
        group_of=lambda name: group_of(name, loaded),
        notes=notes,
    )


def weights_report(
    learner: nn.Module, config: MoeRtDetrConfig, loaded: Loaded
) -> dict[str, object]:
    """Every parameter in its learning-rate group, and what else became of the weights; JSON."""
    rates = rates_of(config)
    groups: dict[str, dict[str, Any]] = {}
    for name, _ in learner.named_parameters():
        group = group_of(name, loaded)
        groups.setdefault(group, {"lr": rates[group], "parameters": []})["parameters"].append(name)
    return {
        "source": loaded.source,
        "groups": groups,
        "missing": loaded.missing,
        "unexpected": loaded.unexpected,
        "mismatched": loaded.mismatched,
        "classes": loaded.adapted,
    }


def _frozen_by(name: str, config: MoeRtDetrConfig) -> bool:
    """Does the config ask to freeze it? The language gate always trains."""
    if part_of(name) == "language":
        return False
    if config.language.enabled and config.language.freeze_stage1:
        return True
    strategy = config.freeze.strategy
    if strategy == "head-only" and name.startswith(TOKENS):  # with their router
        return True
    return part_of(name) in FROZEN_PARTS[strategy]


def _must_train(name: str, config: MoeRtDetrConfig, loaded: Loaded) -> bool:
    """A random tensor in a loaded network would stay a hole in it, whatever is frozen.

    Not so a new layer of token experts, which adds nothing until it trains; and if nothing was
    loaded, nothing but the strategy can be followed.
    """
    if not loaded.names or name in loaded.names:
        return False
    return not (name.startswith(TOKENS) and name in loaded.added)


def _freezing_notes(
    frozen: frozenset[str], kept: set[str], config: MoeRtDetrConfig, loaded: Loaded
) -> Iterator[str]:
    strategy = config.freeze.strategy
    if config.language.enabled and config.language.freeze_stage1:
        strategy = "language.freeze_stage1"
    if kept:
        yield (
            f"{strategy} would freeze {len(kept)} parameters that did not come with the weights; "
            f"they train all the same: {some(sorted(kept))}"
        )
    if frozen and not loaded.names:
        yield f"{strategy} freezes {len(frozen)} parameters at random values: nothing was loaded"
    idle = {name for name in frozen if name not in loaded.names}
    if idle and loaded.names:
        yield f"{strategy} freezes the new layer of token experts, which so never adds anything"


def _group_notes(
    trained: Mapping[str, int], config: MoeRtDetrConfig, loaded: Loaded
) -> Iterator[str]:
    """One line per group: its rate, how many tensors and values it trains."""
    rates = rates_of(config)
    for group, key in (
        ("pretrained", "pretrained_lr"),
        ("new", "new_lr"),
        ("scratch", "scratch_lr"),
        ("language", "language.lr"),
    ):
        sizes = [size for name, size in trained.items() if group_of(name, loaded) == group]
        if sizes:
            yield (
                f"group {group}: {len(sizes)} tensors, {sum(sizes):,} parameters at {key} "
                f"{rates[group]:g}"
            )
    if not loaded.names:
        yield "no weights were loaded, so nothing trains at pretrained_lr"
