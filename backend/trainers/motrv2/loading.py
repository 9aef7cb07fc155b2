"""Weights into a network that may differ in classes, queries or parts, with an honest report."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from backend.core.errors import CheckpointError, ConfigError
from backend.trainers.motrv2.checkpoint_format import CLASS_VECTORS

_COUNTER = "num_batches_tracked"
"""Of a batch norm; one that is constant has none."""
Rule = Literal["prior", "replicate", "map", "none"]


@dataclass(frozen=True)
class HeadInit:
    """What classifiers of another class count start from (specs/motrv2.md, 3.4).

    ``prior``: fresh, scores near 0.01. ``replicate``: the one old row everywhere. ``map``: rows
    of ``head_from`` (target class to source row), the others fresh. ``none``: refuse. With
    ``renamed`` as many classes are still others, so the rule holds for them too.
    """

    rule: Rule = "prior"
    head_from: Mapping[int, int] = field(default_factory=dict)
    renamed: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A tensor of another shape in the file, and what it was started from instead."""

    name: str
    source: tuple[int, ...]
    target: tuple[int, ...]
    adapter: str


@dataclass(frozen=True)
class Missing:
    """A tensor that the file has not, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class LoadReport:
    """What became of each entry of the network and of the file."""

    loaded: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    missing: tuple[Missing, ...]
    unexpected: tuple[str, ...]

    @property
    def new(self) -> frozenset[str]:
        """Entries that did not come whole from the file: they must be trained."""
        return frozenset(
            [one.name for one in self.mismatched] + [one.name for one in self.missing]
        )

    def as_json(self) -> dict[str, object]:
        """For a file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people: the counts, then each entry that was not loaded."""
        total = len(self.loaded) + len(self.new)
        return [
            f"loaded {len(self.loaded)} of {total} entries, mismatched {len(self.mismatched)}, "
            f"missing {len(self.missing)}, unexpected {len(self.unexpected)}",
            *(f"mismatched {_words(one)}: {one.adapter}" for one in self.mismatched),
            *(f"missing {one.name}: {one.reason}" for one in self.missing),
            *(f"unexpected {name}" for name in self.unexpected),
        ]


def load_weights_into(
    network: nn.Module,
    state: Mapping[str, Tensor],
    head: HeadInit = HeadInit(),
    source: Path | str = "the checkpoint",
) -> LoadReport:
    """Copy what fits, adapt what is known to differ, and tell of all; ``source`` is the file.

    Nothing is copied if it raises: ConfigError for a rule that does not fit the class counts,
    CheckpointError for shapes that no adapter knows.
    """
    target = network.state_dict()
    common = [name for name in target if name in state]
    other = [name for name in common if _differs(name, state[name], target[name], head)]
    adapted = {name: _adapted(name, state[name], target[name], head) for name in other}
    mismatched = tuple(
        Mismatch(name, tuple(state[name].shape), tuple(target[name].shape), adapted[name][1])
        for name in other
    )
    _refuse_unknown(mismatched, head, source)
    loaded = tuple(name for name in common if name not in adapted)
    with torch.no_grad():
        for name in loaded:
            target[name].copy_(state[name])
        for name, (value, _) in adapted.items():
            target[name].copy_(value)
    missing = tuple(Missing(name, _why(name)) for name in target if name not in state)
    unexpected = tuple(
        name for name in state if name not in target and not name.endswith(_COUNTER)
    )
    return LoadReport(loaded, mismatched, missing, unexpected)


def _differs(name: str, source: Tensor, target: Tensor, head: HeadInit) -> bool:
    of_classes = name.startswith(("class_embed.", CLASS_VECTORS))
    other_rows = of_classes and (head.renamed or head.rule == "map")
    return other_rows or source.shape != target.shape


def _adapted(name: str, source: Tensor, target: Tensor, head: HeadInit) -> tuple[Tensor, str]:
    """What a tensor starts from, and the adapter's name, empty if there is none."""
    if source.shape[1:] != target.shape[1:]:
        fresh = name == "query_embed.weight"
        return target, "initial values (another width)" if fresh else ""
    if name.startswith("class_embed."):
        return _rows(source, target, head), "" if head.rule == "none" else head.rule
    if name in ("query_embed.weight", "position.weight"):
        count = min(len(source), len(target))
        value = target.clone()
        value[:count] = source[:count]
        return value, f"first {count} rows"
    if name.startswith(CLASS_VECTORS):
        mapped = head.rule == "map"
        return (_mapped(source, target, head), "map") if mapped else (target, "zeros")
    return target, ""


def _rows(source: Tensor, target: Tensor, head: HeadInit) -> Tensor:
    """Rows of a class head. Raises ConfigError."""
    if head.rule == "replicate":
        if len(source) != 1:
            raise ConfigError(
                f"head_init replicate needs a checkpoint of one class, this one has "
                f"{len(source)}; use map and name the rows"
            )
        return source.expand_as(target)
    return _mapped(source, target, head) if head.rule == "map" else target


def _mapped(source: Tensor, target: Tensor, head: HeadInit) -> Tensor:
    """Rows by ``head_from``, the others as they are. Raises ConfigError."""
    value = target.clone()
    for ours, theirs in head.head_from.items():
        if not (0 <= ours < len(target) and 0 <= theirs < len(source)):
            raise ConfigError(
                f"head_from {ours}: {theirs} is not possible: there are {len(target)} "
                f"classes and {len(source)} rows in the checkpoint, counted from 0"
            )
        value[ours] = source[theirs]
    return value


def _refuse_unknown(mismatched: tuple[Mismatch, ...], head: HeadInit, source: Path | str) -> None:
    without = [one for one in mismatched if not one.adapter]
    if not without:
        return
    shown = "; ".join(_words(one) for one in without[:3])
    more = f" and {len(without) - 3} more" if len(without) > 3 else ""
    if all(one.name.startswith("class_embed.") for one in without) and head.rule == "none":
        raise ConfigError(
            f"{source} has other classes ({shown}{more}) and head_init is none; use prior, "
            "replicate or map"
        )
    raise CheckpointError(
        f"{source} is of another network: {shown}{more}; leave model.queries unset and all "
        "other sizes to the file, or name another model.pretrained"
    )


def _words(one: Mismatch) -> str:
    return f"{one.name} {list(one.source)} in the file, {list(one.target)} here"


def _why(name: str) -> str:
    if name.startswith("refine_embed."):
        return "the source had no denoising"
    if name.startswith(CLASS_VECTORS):
        return "new by design, starts at zero"
    if "_pos" in name or name.startswith("track_embed.norm3."):
        return "the source had no position update"
    return "not in the file"
