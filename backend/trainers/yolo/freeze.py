"""From a strategy's name to the exact tensors that it freezes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from backend.config.schema import CUSTOM
from backend.core.errors import ConfigError
from backend.core.events import FreezeGroup, FreezeReported
from backend.nn.finetune.freezing import Snapshot, covering_modules, statistics
from backend.trainers.yolo.spec import OptimizerConfig, YoloFreezeConfig

PARTS = ("backbone", "neck", "head")
FROZEN_PARTS = {
    "full": (),
    "backbone": ("backbone",),
    "backbone+neck": ("backbone", "neck"),
    "head-only": ("backbone", "neck", "head"),
}
ALWAYS = ".dfl."
"""The head's fixed weights, which Ultralytics freezes in every run."""

_INDEX = re.compile(r"model\.(\d+)\.")


@dataclass(frozen=True)
class Layout:
    """Which modules of a network are its backbone, neck and head."""

    backbone: int
    head: int

    @classmethod
    def of(cls, network: Any) -> "Layout":
        return cls(backbone=len(network.yaml["backbone"]), head=len(network.model) - 1)

    def part(self, name: str) -> str:
        """The part that a parameter belongs to."""
        index = self.index(name)
        return "backbone" if index < self.backbone else "neck" if index < self.head else "head"

    def index(self, name: str) -> int:
        """The module that a parameter belongs to."""
        found = _INDEX.match(name)
        if found is None:
            raise ConfigError(f"parameter {name} belongs to no numbered module")
        return int(found[1])

    def place(self, optimizer: OptimizerConfig, name: str) -> tuple[str, float]:
        """A parameter's part and its factor on the learning rate."""
        decay = optimizer.layer_decay or 1.0
        return self.part(name), decay ** (self.head - self.index(name))


@dataclass(frozen=True)
class Plan:
    """What a strategy does to one network.

    ``frozen`` are parameters that the strategy freezes; ``always`` those that are fixed anyway;
    ``modules`` is ``frozen`` as Ultralytics' ``freeze`` argument wants it. After ``until`` epochs
    nothing is frozen any more (None: it is to the end).
    """

    strategy: str
    layout: Layout
    sizes: Mapping[str, int]
    frozen: frozenset[str]
    always: frozenset[str]
    modules: tuple[str, ...]
    statistics: tuple[str, ...]
    until: int | None = None

    def at(self, epoch: int) -> "Plan":
        """The plan of an epoch, counted from 0: this one, or that of the time after."""
        if self.until is None or epoch < self.until:
            return self
        return replace(self, frozen=frozenset(), modules=(), statistics=(), until=None)


def make_plan(network: Any, freeze: YoloFreezeConfig, fresh: Iterable[str] = ()) -> Plan:
    """Decide what to freeze. Tensors in ``fresh`` (randomly initialised) are always trained.

    Raises ConfigError if nothing is left to train or the choice cannot be expressed.
    """
    layout = Layout.of(network)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    always = frozenset(name for name in sizes if ALWAYS in name)
    fixed = _with_norms(network, fresh) | always
    if freeze.strategy == CUSTOM:
        chosen = _custom(network, freeze.modules)
    else:
        parts = FROZEN_PARTS[freeze.strategy]
        chosen = {name for name in sizes if layout.part(name) in parts} - _outputs(network)
    frozen = frozenset(chosen - fixed)
    if not sizes.keys() - frozen - always:
        raise ConfigError(f"freeze.strategy '{freeze.strategy}' leaves nothing to train")
    covering = covering_modules(network, frozen)
    plan = Plan(
        strategy=freeze.strategy,
        layout=layout,
        sizes=sizes,
        frozen=frozen,
        always=always,
        modules=tuple(name.removeprefix("model.") for name in covering),
        statistics=statistics(network, frozen),
        until=freeze.unfreeze_at,
    )
    _check(network, plan)
    return plan


def _custom(network: Any, modules: int | tuple[str, ...]) -> set[str]:
    """The parameters of the first ``modules``, or of those with these names."""
    count = len(network.model)
    if isinstance(modules, int) and modules > count:
        raise ConfigError(f"freeze.modules {modules}: the network has {count} modules")
    names = tuple(map(str, range(modules))) if isinstance(modules, int) else modules
    found: set[str] = set()
    for name in names:
        path = "model." + name.removeprefix("model.")
        inside = {f"{path}.{key}" for key, _ in _module(network, path).named_parameters()}
        found |= {key for key in inside if ALWAYS not in key}
    if not found:
        raise ConfigError(f"freeze.modules {_listed(list(names))}: nothing in there can be frozen")
    return found


def _module(network: nn.Module, path: str) -> nn.Module:
    """The module at a path. Raises ConfigError that names what is there instead."""
    module = network
    for at, part in enumerate(parts := path.split(".")):
        inside = dict(module.named_children())
        if part not in inside:
            where = ".".join(parts[1:at])
            inner = f"module {where} has" if where else "there are"
            raise ConfigError(
                f"freeze.modules: there is no module '{'.'.join(parts[1:])}'; {inner} "
                f"{_listed(list(inside)) or 'none inside'}"
            )
        module = inside[part]
    return module


def _listed(names: list[str]) -> str:
    if len(names) > 3 and all(name.isdigit() for name in names):
        return f"{names[0]} to {names[-1]}"
    return ", ".join(names)


def _outputs(network: Any) -> set[str]:
    """The parameters of the last layer of each branch of the head."""
    head, prefix = network.model[-1], f"model.{len(network.model) - 1}."
    names: set[str] = set()
    for child_name, child in head.named_children():
        lists = isinstance(child, nn.ModuleList)
        branches = child.named_children() if lists else [("", child)]
        for branch_name, branch in branches:
            start = ".".join(part for part in (child_name, branch_name) if part)
            names |= {prefix + name for name in _last(branch, start)}
    return {name for name in names if ALWAYS not in name}


def _last(module: nn.Module, name: str) -> set[str]:
    while isinstance(module, nn.Sequential | nn.ModuleList):
        trainable = [
            (k, m) for k, m in module.named_children() if any(True for _ in m.parameters())
        ]
        if not trainable:
            return set()
        name, module = f"{name}.{trainable[-1][0]}", trainable[-1][1]
    return {f"{name}.{key}" for key, _ in module.named_parameters()}


def _with_norms(network: nn.Module, fresh: Iterable[str]) -> set[str]:
    """Fresh parameters and the batch norms beside them, whose statistics are no longer right."""
    names: set[str] = set()
    modules = dict(network.named_modules())
    for tensor in fresh:
        leaf = tensor.rpartition(".")[0]
        parent = leaf.rpartition(".")[0]
        siblings = dict(modules[parent].named_children()) if parent in modules else {}
        normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in siblings.values())
        owner = parent if normed else leaf
        names |= {f"{owner}.{key}" for key, _ in modules[owner].named_parameters()}
    return names


def _check(network: nn.Module, plan: Plan) -> None:
    """Ultralytics matches by substring; make sure that it finds what was meant."""
    patterns = [f"model.{name}." for name in plan.modules]
    for name in plan.sizes:
        matched = any(pattern in name for pattern in patterns)
        if matched != (name in plan.frozen):
            raise ConfigError(f"freeze.strategy '{plan.strategy}' cannot be applied to {name}")
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            matched = any(pattern in name for pattern in patterns)
            if matched != (f"{name}.running_mean" in plan.statistics):
                raise ConfigError(f"freeze.strategy '{plan.strategy}' cannot be applied to {name}")


def declared(plan: Plan, optimizer: OptimizerConfig) -> FreezeReported:
    """What will be frozen, and how fast the rest trains."""
    return FreezeReported(
        phase="declared",
        strategy=plan.strategy,
        groups=_groups(plan, optimizer),
        frozen_tensors=len(plan.frozen) + len(plan.statistics),
        notes=_notes(plan, optimizer),
        until=plan.until,
    )


def verified(
    plan: Plan,
    optimizer: OptimizerConfig,
    before: Snapshot,
    models: Mapping[str, nn.Module],
    until: int | None = None,
) -> FreezeReported:
    """What training left unchanged, tensor by tensor, to its end or up to the epoch ``until``.
    ``models`` has the key ``model``."""
    return FreezeReported(
        phase="verified",
        strategy=plan.strategy,
        groups=_groups(plan, optimizer),
        frozen_tensors=len(plan.frozen) + len(plan.statistics),
        changed_tensors=len(before.changed(models["model"])),
        violations=before.violations(models),
        notes=_notes(plan, optimizer),
        until=until,
    )


def _groups(plan: Plan, optimizer: OptimizerConfig) -> tuple[FreezeGroup, ...]:
    groups = []
    for part in PARTS:
        inside = [name for name in plan.sizes if plan.layout.part(name) == part]
        frozen = sum(plan.sizes[name] for name in inside if name in plan.frozen)
        always = sum(plan.sizes[name] for name in inside if name in plan.always)
        rates = part_rates(plan, optimizer).get(part)
        groups.append(
            FreezeGroup(
                name=part,
                trainable=sum(plan.sizes[name] for name in inside) - frozen - always,
                frozen=frozen,
                always_frozen=always,
                lr=rates[1] if rates else None,
            )
        )
    return tuple(groups)


def part_rates(plan: Plan, optimizer: OptimizerConfig) -> dict[str, tuple[float, float]]:
    """Lowest and highest initial learning rate of each part that trains."""
    rates: dict[str, list[float]] = {}
    for name in plan.sizes.keys() - plan.frozen - plan.always:
        part, scale = plan.layout.place(optimizer, name)
        rates.setdefault(part, []).append(optimizer.lr0 * scale)
    return {part: (min(found), max(found)) for part, found in rates.items()}


def _notes(plan: Plan, optimizer: OptimizerConfig) -> tuple[str, ...]:
    notes = []
    if plan.until is not None:
        notes.append(f"from epoch {plan.until + 1} on everything trains (freeze.unfreeze_at)")
    if plan.always:
        notes.append(f"always frozen by Ultralytics: {', '.join(sorted(plan.always))}")
    if plan.statistics:
        notes.append(f"{len(plan.statistics)} batch-norm statistics are frozen with their layers")
    if optimizer.layer_decay is not None:
        spans = [
            f"{part} {low:.3g} to {high:.3g}"
            for part, (low, high) in sorted(part_rates(plan, optimizer).items())
        ]
        notes.append(f"layer_decay {optimizer.layer_decay:g}: {', '.join(spans)}")
    return tuple(notes)
