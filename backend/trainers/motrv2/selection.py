"""What trains, by regular expressions over all names of a tensor (specs/motrv2.md, 3.1, 3.2).

A box head has two names, of which ``named_parameters`` tells one only; so tensors are told apart
by identity, and an expression selects a tensor if it matches any of its names.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from backend.core.errors import ConfigError

Strategy = Literal["minimal", "moderate", "aggressive", "full", "custom"]
StrategyNames = Literal["assay", "reference_substring"]

ALIASES: Mapping[str, str] = {
    "yolox_embed": r"^yolox_(class_)?embed\.",
    "track_embed": r"^track_embed\.",
    "class_embed": r"^class_embed\.\d+\.",
    "query_interaction": r"^transformer\.decoder\.layers\.\d+\.(self_attn|norm2)\.",
    "box_embed": r"bbox_embed\.\d+\.",
    "decoder": r"^transformer\.decoder\.layers\.",
    "encoder": r"^transformer\.encoder\.",
    "level_embed": r"^transformer\.level_embed$",
    "backbone": r"^backbone\.",
    "input_proj": r"^input_proj\.",
    "queries": r"^(query_embed|position|refine_embed)\.",
}
STRATEGIES: Mapping[str, tuple[str, ...]] = {
    "minimal": ("yolox_embed",),
    "moderate": ("yolox_embed", "track_embed", "class_embed"),
    "aggressive": ("yolox_embed", "track_embed", "class_embed", "query_interaction"),
    "full": (".",),
}
BRIEF = ("minimal", "moderate", "aggressive")
"""The strategies that the brief describes."""
NEVER = re.compile(r"^backbone\.0\.body\.(conv1|layer1)\.")
"""The ResNet's first layers train in no strategy, as in the reference."""
_BACKBONE = re.compile(ALIASES["backbone"])
_SLOW = re.compile(r"sampling_offsets|reference_points")


Names = Mapping[str, tuple[str, ...]]
"""All names of each tensor, by one of them."""


@dataclass(frozen=True)
class Choice:
    """What is asked for.

    ``custom`` are aliases or expressions, ``!`` before one takes its tensors out again.
    ``names: reference_substring`` filters by the brief's four names as parts of a name.
    ``train_new`` trains what did not come from the checkpoint in every strategy.
    """

    strategy: Strategy
    custom: Sequence[str] = ()
    names: StrategyNames = "assay"
    train_new: bool = True
    allow_untrained_new: bool = False


@dataclass(frozen=True)
class Selection:
    """Parameter names as ``named_parameters`` gives them.

    ``forced`` are those that train because they are new; ``matched`` counts the tensors of each
    expression.
    """

    trainable: frozenset[str]
    frozen: frozenset[str]
    forced: frozenset[str]
    matched: Mapping[str, int]
    notes: tuple[str, ...] = ()


def all_names(model: nn.Module) -> Names:
    """All names of each parameter, by the name that ``named_parameters`` gives."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return {name: tuple(names[id(one)]) for name, one in model.named_parameters()}


def select(model: nn.Module, choice: Choice, new: Collection[str] = ()) -> Selection:
    """What trains of a model of which ``new`` (any names, buffers too) came from no checkpoint.

    Raises ConfigError for an expression that is none or selects nothing, for a selection that
    trains nothing, and for new parameters that would stay untrained.
    """
    tensors = all_names(model)
    able = {name for name in tensors if not NEVER.match(name)}
    wanted, matched, notes = _chosen(tensors, able, choice)
    fresh = {name for name, every in tensors.items() if not set(every).isdisjoint(new)}
    forced = fresh & able if choice.train_new else frozenset()
    untrained = sorted(fresh - wanted - forced)
    if untrained and not choice.allow_untrained_new:
        raise ConfigError(
            f"{_few(untrained)} did not come from the checkpoint and would stay untrained, so "
            "that scores stay near their start and nothing is tracked; set train_new, or "
            "allow_untrained_new if that is meant"
        )
    trainable = frozenset(wanted | forced)
    if not trainable:
        raise ConfigError(f"strategy {choice.strategy} trains nothing")
    frozen = frozenset(tensors.keys() - trainable)
    return Selection(trainable, frozen, frozenset(forced), matched, notes)


def apply(model: nn.Module, selection: Selection) -> None:
    """Let only the selected parameters have gradients."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in selection.trainable)


def size(model: nn.Module, names: Collection[str]) -> tuple[int, int]:
    """How many tensors and numbers the named parameters are."""
    chosen = [p.numel() for name, p in model.named_parameters() if name in names]
    return len(chosen), sum(chosen)


def rate_group(name: str, forced: Collection[str]) -> str:
    """The learning-rate group of a trainable parameter: ``backbone``, ``linear_proj``, ``new``
    or ``rest``, the first that fits."""
    if _BACKBONE.match(name):
        return "backbone"
    if _SLOW.search(name):
        return "linear_proj"
    return "new" if name in forced else "rest"


def steps_to_confidence(lr: float, width: int) -> float:
    """At least so many AdamW steps, all in one direction, take a fresh head from a score of 0.01
    to 0.5: its logit moves by about ``lr * width`` in each."""
    return 4.6 / (lr * width)


def _chosen(
    tensors: Names, able: set[str], choice: Choice
) -> tuple[set[str], dict[str, int], tuple[str, ...]]:
    if choice.names == "reference_substring" and choice.strategy in BRIEF:
        return _by_substring(tensors, able, choice.strategy)
    expressions = choice.custom if choice.strategy == "custom" else STRATEGIES[choice.strategy]
    wanted: set[str] = set()
    matched: dict[str, int] = {}
    for expression in expressions:
        found = _matching(expression.removeprefix("!"), tensors) & able
        if not found:
            raise ConfigError(f"'{expression}' matches no parameter that can train")
        matched[expression] = len(found)
        wanted = wanted - found if expression.startswith("!") else wanted | found
    return wanted, matched, ()


def _matching(expression: str, tensors: Names) -> set[str]:
    try:
        pattern = re.compile(ALIASES.get(expression, expression))
    except re.error as error:
        raise ConfigError(f"'{expression}' is no regular expression: {error}") from error
    return {name for name, every in tensors.items() if any(map(pattern.search, every))}


def _by_substring(
    tensors: Names, able: set[str], strategy: str
) -> tuple[set[str], dict[str, int], tuple[str, ...]]:
    """The brief's filter: its layer names as parts of parameter names; some match nothing."""
    matched = {part: {name for name in able if part in name} for part in STRATEGIES[strategy]}
    notes = tuple(
        f"no parameter's name contains '{part}', so aggressive trains what moderate trains"
        for part, found in matched.items()
        if not found
    )
    wanted = set().union(*matched.values())
    return wanted, {part: len(found) for part, found in matched.items()}, notes


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more
