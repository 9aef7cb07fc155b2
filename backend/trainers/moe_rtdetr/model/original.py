"""Checkpoints of the original RT-DETR code (v1 and v2, ResNet backbones) under the names of
transformers 5.

Facts on names from the public reference code (Apache-2.0), https://github.com/lyuwenyu/RT-DETR.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from backend.core.errors import CheckpointError

_STAGE = r"^backbone\.res_layers\.(\d+)\.blocks\.(\d+)"
_LAYER = r"model.backbone.model.encoder.stages.\1.layers.\2"

_RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (
        r"^backbone\.conv1\.conv1_(\d)\.",
        lambda found: f"model.backbone.model.embedder.embedder.{int(found[1]) - 1}.",
    ),
    (rf"{_STAGE}\.branch2([abc])\.", lambda found: _branch(found)),
    (rf"{_STAGE}\.short\.conv\.(?=conv|norm)", rf"{_LAYER}.shortcut.1."),
    (rf"{_STAGE}\.short\.", rf"{_LAYER}.shortcut."),
    (r"^(model\.backbone\..*)\.conv\.", r"\1.convolution."),
    (r"^(model\.backbone\..*)\.norm\.", r"\1.normalization."),
    (r"^(encoder|decoder)\.input_proj\.(\d)\.(?:conv|0)\.", r"model.\1_input_proj.\2.0."),
    (r"^(encoder|decoder)\.input_proj\.(\d)\.(?:norm|1)\.", r"model.\1_input_proj.\2.1."),
    (r"^encoder\.encoder\.(\d+)\.(layers\.\d+)\.norm2\.", r"encoder.aifi.\1.\2.final_layer_norm."),
    (r"^encoder\.encoder\.", "encoder.aifi."),
    (r"^encoder\.", "model.encoder."),
    (r"^decoder\.decoder\.", "model.decoder."),
    (r"^decoder\.dec_score_head\.", "model.decoder.class_embed."),
    (r"^decoder\.dec_bbox_head\.", "model.decoder.bbox_embed."),
    (r"^decoder\.query_pos_head\.", "model.decoder.query_pos_head."),
    (r"^decoder\.tgt_embed\.", "model.weight_embedding."),
    (r"^decoder\.enc_output\.proj\.", "model.enc_output.0."),
    (r"^decoder\.enc_output\.norm\.", "model.enc_output.1."),
    (r"^decoder\.", "model."),
    (r"\.cross_attn\.num_points_scale$", ".cross_attn.n_points_scale"),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.self_attn\.out_proj\.", ".self_attn.o_proj."),
    (r"\.linear([12])\.", r".mlp.fc\1."),
    (r"\.norm1\.", ".self_attn_layer_norm."),
    (r"\.norm2\.", ".encoder_attn_layer_norm."),
    (r"\.norm3\.", ".final_layer_norm."),
)
"""Applied in turn; ``norm2`` is the last norm of an encoder layer, but not of a decoder layer."""

_COMPUTED = re.compile(r"^decoder\.(anchors|valid_mask)$|^encoder\.pos_embed\d+$")
_CODE = re.compile(r"GLOBAL|nsupported class|allowlisted")
_PACKED = re.compile(r"\.in_proj_(weight|bias)$")


def read_original(path: Path) -> dict[str, Tensor]:
    """The weights of an original checkpoint, under transformers' names.

    The average if the file has one, else the model; the bare weights of a backbone as well.
    Nothing in the file is executed. Raises CheckpointError.
    """
    state = _weights_in(_load(path), path)
    if any(name.startswith(("conv1.conv1_", "res_layers.")) for name in state):
        state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    if not any(name.startswith("backbone.res_layers.") for name in state):
        raise CheckpointError(
            f"{path}: not an RT-DETR with a ResNet backbone of the original code; its tensors are "
            f"called {', '.join(list(state)[:3])}"
        )
    return to_transformers(state)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the original code by transformers' names; packed attention is taken apart."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not _COMPUTED.search(name):
            named.update(_unpacked(_renamed(name), tensor))
    return named


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _branch(found: re.Match[str]) -> str:
    return f"{found.expand(_LAYER)}.layer.{'abc'.index(found[3])}."


def _unpacked(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """torch's MultiheadAttention keeps queries, keys and values as thirds of one tensor."""
    packed = _PACKED.search(name)
    if packed is None:
        yield name, tensor
        return
    start = name[: packed.start()]
    for kind, part in zip("qkv", tensor.chunk(3), strict=True):
        yield f"{start}.{kind}_proj.{packed[1]}", part


def _load(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch's own reader meets damaged files with errors of any kind
        if isinstance(error, UnpicklingError) and _CODE.search(str(error)):
            raise CheckpointError(
                f"{path}: loading this file would run code that it carries, so it was refused and "
                "nothing was run; save its state_dict alone, {'model': model.state_dict()}"
            ) from error
        raise CheckpointError(
            f"{path}: not a whole checkpoint of torch (cut short, or something else)"
        ) from error


def _weights_in(content: object, path: Path) -> dict[str, Tensor]:
    """The state dict in ``['ema']['module']``, else ``['model']``, else the file itself."""
    average = content.get("ema") if isinstance(content, dict) else None
    for state in (
        average.get("module") if isinstance(average, dict) else None,
        content.get("model") if isinstance(content, dict) else None,
        content,
    ):
        if isinstance(state, dict) and state:
            tensors = {
                str(name).removeprefix("module."): tensor
                for name, tensor in state.items()
                if isinstance(tensor, Tensor)
            }
            if tensors:
                return tensors
    raise CheckpointError(f"{path}: holds no weights under ['ema']['module'] or ['model']")
