"""Checkpoints of the reference: read without running code, understood, and written back.

Facts: specs/motrv2.md, 1.7, and the public reference code (MIT).
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from backend.core.errors import CheckpointError
from backend.nn.finetune.weights import save_state
from backend.trainers.motrv2.model.geometry import TINY, Geometry

ALIAS = re.compile(r"^transformer\.decoder\.(?=bbox_embed\.)")
"""Before a box head's name: its second one."""
CLASS_VECTORS = "yolox_class_embed."
"""Before the name of what the reference has not: a vector for each class of a detection."""
_WRAPPED = ("model", "state_dict")
_PREFIXES = ("module.", "detr.")
_COUNTED = ("total_params", "total_ops")
_CLASS = re.compile(r"GLOBAL (\S+)|Unsupported class (\S+)")


@dataclass(frozen=True)
class Source:
    """Weights by the network's names, and the command line that the file remembers."""

    path: Path
    state: Mapping[str, Tensor]
    arguments: Mapping[str, object] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Source:
    """The weights of a reference file; of all classes only ``argparse.Namespace`` is read.

    Accepts ``model``, ``state_dict`` or bare tensors, and names behind ``module.`` or ``detr.``.
    Raises CheckpointError.
    """
    content = _load(path)
    arguments = content.get("args")
    state = _tensors(content)
    if "transformer.level_embed" not in state:
        raise CheckpointError(
            f"{path}: not a checkpoint of MOTRv2 or Deformable DETR; its entries are called "
            f"{', '.join(map(str, list(state or content)[:3])) or 'nothing'}"
        )
    known = vars(arguments) if isinstance(arguments, argparse.Namespace) else {}
    return Source(path, with_both_names(state), known)


def with_both_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state in which box heads have both of their names, whichever it came with."""
    full = dict(state)
    for name, tensor in state.items():
        if ALIAS.match(name):
            full.setdefault(ALIAS.sub("", name), tensor)
        elif name.startswith("bbox_embed."):
            full.setdefault(f"transformer.decoder.{name}", tensor)
    return full


def write_original(path: Path, state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Write ``state`` in the reference's layout; the names that it does not know are left out.

    Returns those whose absence changes what the network says. Raises OSError.
    """
    left_out = {name: tensor for name, tensor in state.items() if name.startswith(CLASS_VECTORS)}
    kept = {
        name: tensor.detach().cpu()
        for name, tensor in with_both_names(state).items()
        if name not in left_out
    }
    save_state(path, {"model": kept})
    return tuple(name for name, tensor in left_out.items() if bool(tensor.any()))


def geometry_of(source: Source) -> Geometry:
    """The sizes of a file's network, read from its shapes.

    Heads and points are told by the file's command line, or are as many points as the
    reference has; a file without tracks (Deformable DETR) gets its ten learned queries. Raises
    CheckpointError for a file whose shapes contradict each other.
    """
    try:
        return _geometry(source)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{source.path}: parts of the network are missing or of an odd shape ({error})"
        ) from error


def _geometry(source: Source) -> Geometry:
    state = source.state
    tiny = "backbone.0.body.stage1.0.weight" in state
    levels, width = state["transformer.level_embed"].shape
    decoder_layers = _layers(state, "transformer.decoder.layers")
    points = source.arguments.get("dec_n_points", Geometry.points)
    places = len(state["transformer.decoder.layers.0.cross_attn.attention_weights.bias"])
    if not isinstance(points, int) or points < 1 or places % (levels * points):
        raise CheckpointError(f"{source.path}: {places} places are not {points} on each map")
    heads = _layers(state, "class_embed")
    if heads != decoder_layers:
        raise CheckpointError(
            f"{source.path}: {heads} class heads for {decoder_layers} decoder layers; only a "
            "network with box refinement, one head in each layer, can be used"
        )
    learned = state.get("position.weight")
    vectors = state.get(f"{CLASS_VECTORS}weight")
    return replace(
        TINY if tiny else Geometry(),
        classes=len(state["class_embed.0.bias"]),
        queries=Geometry.queries if learned is None else len(learned),
        width=width,
        feedforward=len(state["transformer.decoder.layers.0.linear1.bias"]),
        heads=places // (levels * points),
        points=points,
        levels=levels,
        encoder_layers=_layers(state, "transformer.encoder.layers"),
        decoder_layers=decoder_layers,
        denoising="refine_embed.weight" in state,
        position_update="track_embed.linear_pos1.weight" in state,
        proposal_classes=0 if vectors is None else len(vectors),
    )


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    pattern = re.compile(rf"^{re.escape(prefix)}\.(\d+)\.")
    return len({found[1] for found in map(pattern.match, state) if found})


def _load(path: Path) -> dict[str, object]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:
        raise CheckpointError(f"{path}: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint, but a {type(content).__name__}")
    return content


def _reason(error: Exception) -> str:
    found = _CLASS.search(str(error))
    if found:
        return (
            f"names {found[1] or found[2]}, which could run code, so it is not loaded; save its "
            "weights alone"
        )
    return f"damaged or not written by torch ({type(error).__name__})"


def _tensors(content: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors of a file's content under bare names."""
    for key in _WRAPPED:
        inner = content.get(key)
        if isinstance(inner, Mapping):
            return _tensors(inner)
    named = ((str(name), value) for name, value in content.items())
    return {
        _bare(name): value
        for name, value in named
        if isinstance(value, Tensor) and not name.endswith(_COUNTED)
    }


def _bare(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name
