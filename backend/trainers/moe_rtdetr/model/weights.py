"""Pretrained weights into a network with or without experts, and the exact list of what came."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.core.digest import sha256
from backend.core.errors import CheckpointError
from backend.nn.finetune.transfer import transfer
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, NETWORK, Saved, read_checkpoint
from backend.trainers.moe_rtdetr.model.class_rows import ClassRows, match_classes
from backend.trainers.moe_rtdetr.model.compatible import (
    check_detector,
    check_saved,
    check_tensors,
    check_version,
)
from backend.trainers.moe_rtdetr.model.names import dense_name, part_of
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.sources import FOLDER_WEIGHTS, Source, open_source
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig

UPCYCLED = {
    "tokens.routed.experts.up_weight": "tokens.up.weight",
    "tokens.routed.experts.up_bias": "tokens.up.bias",
    "tokens.routed.experts.down_weight": "tokens.down.weight",
    "tokens.routed.experts.down_bias": "tokens.down.bias",
}
"""What each token expert is a copy of, when a dense checkpoint of ours becomes one with experts
(sparse upcycling, Komatsuzaki et al. 2023, arXiv 2212.05055)."""

_CLASSES = re.compile(
    r"^(class_embed\.\d+|detector\.enc_score_head|detector\.denoising_class_embed)\."
)
_CONSTANT = re.compile(r"\.(num_batches_tracked|n_points_scale)$")
_GATE = ("text_encoder", "dimensions", "hidden")
_SHOWN = 5


@dataclass(frozen=True)
class Loaded:
    """What came with ``model.pretrained``, by tensor name (parameters and buffers alike).

    Names are the learner's: ``network.*`` and ``language.*``. ``names`` came, with all of their
    values; an expert's copy of a dense tensor came too. ``added`` are what the source cannot
    have: routers, token experts, the language gate. ``missing`` it should have, ``mismatched``
    have other classes and start fresh, wholly or in part; ``unexpected`` (the source's names)
    have no place here. ``adapted`` tells which class output comes from which; ``source`` is the
    identity of the weights.
    """

    names: frozenset[str] = frozenset()
    added: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    source: str = "none"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Plan:
    """What to copy into a module, by its own names, and what becomes of everything else."""

    tensors: Mapping[str, Tensor]
    partial: tuple[str, ...]
    added: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_pretrained(
    network: MoeRtDetr, config: MoeRtDetrConfig, language: nn.Module | None = None
) -> Loaded:
    """Fill ``network`` (and the gate of stage 2) from ``config.model.pretrained``.

    Nothing is written into them unless all of it fits. Raises CheckpointError.
    """
    pretrained = config.model.pretrained
    if pretrained == "none":
        return Loaded(notes=("no weights were loaded: all tensors start from random values",))
    path = Path(pretrained)
    if path.suffix == ".safetensors" and path.name != FOLDER_WEIGHTS:
        return _from_assay(network, language, config)
    if language is not None:
        raise CheckpointError(
            f"model.pretrained: {pretrained} is not a checkpoint of Assay (.safetensors); the "
            "language gate is trained on top of a stage-1 checkpoint"
        )
    return _from_detector(network, open_source(config.model), config)


def _from_detector(network: MoeRtDetr, source: Source, config: MoeRtDetrConfig) -> Loaded:
    """From a plain RT-DETR: what has experts gets a copy for each of them."""
    check_detector(network.detector.config, source, config.model.preset)
    outputs = source.state.get("model.decoder.class_embed.0.bias")
    rows = None
    if outputs is not None:
        rows = match_classes(config.classes, source.classes, len(outputs))
    plan = _plan(network, source.state, dense_name, rows)
    check_tensors(network.state_dict(), plan.tensors, source.where)
    transfer(network, plan.tensors)
    return _loaded(plan, rows, source.where, source.identity)


def _from_assay(network: MoeRtDetr, language: nn.Module | None, config: MoeRtDetrConfig) -> Loaded:
    """Continue a run of this trainer, or give its dense detector experts."""
    path = Path(config.model.pretrained).expanduser().absolute()
    saved = read_checkpoint(path)
    notes = check_saved(saved, config)
    rows = None
    if saved.classes != config.classes:
        rows = match_classes(config.classes, saved.classes, len(saved.classes))
    upcycled = not saved.moe.named_groups and bool(config.moe.named_groups)
    name_in_file = _name_in_dense if upcycled else _own_name
    plan = _plan(network, _under(saved.weights, NETWORK), name_in_file, rows)
    notes += check_version(saved, plan.missing)
    check_tensors(network.state_dict(), plan.tensors, str(path))
    gate = _load_language(language, saved, config)
    transfer(network, plan.tensors)
    loaded = _loaded(plan, rows, str(path), f"sha256:{sha256(path)}", gate)
    return replace(loaded, notes=(*loaded.notes, *notes))


def _load_language(language: nn.Module | None, saved: Saved, config: MoeRtDetrConfig) -> _Plan:
    """The gate of stage 2, if both have one for the same classes and the same texts."""
    state = _under(saved.weights, LANGUAGE)
    if language is None:
        return _Plan({}, (), (), (), tuple(state))
    same = all(getattr(saved.language, key) == getattr(config.language, key) for key in _GATE)
    if not state or not same or saved.classes != config.classes:
        return _Plan({}, (), tuple(language.state_dict()), (), tuple(state))
    plan = _plan(language, state, _own_name, None)
    check_tensors(language.state_dict(), plan.tensors, f"{saved.path}, language gate")
    transfer(language, plan.tensors)
    return plan


def _own_name(name: str) -> str:
    return name


def _name_in_dense(name: str) -> str | None:
    """Where a network with experts finds its tensors in our dense one."""
    return None if part_of(name) == "routers" else UPCYCLED.get(name, name)


def _under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


def _plan(
    module: nn.Module,
    state: Mapping[str, Tensor],
    name_in_source: Callable[[str], str | None],
    rows: ClassRows | None,
) -> _Plan:
    """Find each of the module's tensors in ``state``; nothing is copied yet."""
    targets = module.state_dict()
    wanted = {name: name_in_source(name) for name in targets}
    tensors: dict[str, Tensor] = {}
    partial: list[str] = []
    for name, theirs in wanted.items():
        if theirs is not None and theirs in state:
            tensors[name] = _for_experts(targets[name], state[theirs])
            if rows is not None and _CLASSES.match(name):
                tensors[name] = _class_outputs(name, targets[name], tensors[name], rows)
                if None in rows.rows:
                    partial.append(name)
    unused = state.keys() - set(wanted.values())
    return _Plan(
        tensors=tensors,
        partial=tuple(partial),
        added=tuple(name for name, theirs in wanted.items() if theirs is None),
        missing=_counted(n for n, theirs in wanted.items() if theirs and theirs not in state),
        unexpected=_counted(sorted(unused)),
    )


def _counted(names: Iterable[str]) -> tuple[str, ...]:
    """Without those that a network of this kind always has and a file may leave out."""
    return tuple(name for name in names if not _CONSTANT.search(name))


def _for_experts(target: Tensor, tensor: Tensor) -> Tensor:
    """The tensor, or as many copies of it as there are experts, in front."""
    if target.ndim == tensor.ndim + 1:
        return tensor.expand(len(target), *tensor.shape)
    return tensor


def _class_outputs(name: str, target: Tensor, tensor: Tensor, rows: ClassRows) -> Tensor:
    """Our classes' rows out of the source's; ``target``'s own where the source has none.

    The denoising queries' embedding has one more row, the last, for no class at all.
    """
    axis = target.ndim - (1 if name.endswith(".bias") else 2)
    order, count = list(rows.rows), rows.count
    if "denoising" in name:
        order, count = [*order, count], count + 1
    others = target.select(axis, 0).shape == tensor.select(axis, 0).shape
    if not others or tensor.shape[axis] != count:
        return tensor  # of another size; to be refused with the others
    fresh = target.unbind(axis)
    found = [fresh[i] if row is None else tensor.select(axis, row) for i, row in enumerate(order)]
    return torch.stack(found, axis)


def _loaded(
    plan: _Plan,
    rows: ClassRows | None,
    where: str,
    identity: str,
    gate: _Plan | None = None,
) -> Loaded:
    whole = plan.tensors.keys() - set(plan.partial)
    if not whole:
        raise CheckpointError(f"{where}: none of its tensors has a place in this network")
    gate = gate or _Plan({}, (), (), (), ())
    loaded = Loaded(
        names=frozenset({*_named(whole, NETWORK), *_named(gate.tensors, LANGUAGE)}),
        added=(*_named(plan.added, NETWORK), *_named(gate.added, LANGUAGE)),
        missing=(*_named(plan.missing, NETWORK), *_named(gate.missing, LANGUAGE)),
        unexpected=(*plan.unexpected, *_named(gate.unexpected, LANGUAGE)),
        mismatched=_named(plan.partial, NETWORK),
        adapted=rows.copied if rows else (),
        source=identity,
    )
    return replace(loaded, notes=tuple(_notes(loaded, rows, where)))


def _named(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    return tuple(prefix + name for name in names)


def _notes(loaded: Loaded, rows: ClassRows | None, where: str) -> Iterator[str]:
    fresh = (*loaded.added, *loaded.missing, *loaded.mismatched)
    total = len(loaded.names) + len(fresh)
    yield f"loaded {len(loaded.names)} of {total} tensors from {where} ({loaded.source})"
    for names, what in (
        (loaded.added, "new tensors that such weights have not"),
        (loaded.missing, "tensors missing in these weights, re-initialised"),
        (loaded.mismatched, "class outputs of other classes, re-initialised wholly or in part"),
        (loaded.unexpected, "unexpected tensors in these weights, left out"),
    ):
        if names:
            yield f"{len(names)} {what}: {some(names)}"
    if loaded.adapted:
        yield f"class outputs copied by name: {', '.join(loaded.adapted)}"
    if rows and rows.note:
        yield rows.note


def some(names: Sequence[str]) -> str:
    """The first few, for a sentence."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
