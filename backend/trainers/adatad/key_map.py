"""Names of tensors in public files, translated to this network's.

Known are Hugging Face's VideoMAE (``encoder.layer.N``), the original's and mmaction's
(``blocks.N`` with queries, keys and values in one tensor), and whole checkpoints of the public
AdaTAD code (OpenTAD), adapters and detector included. Our own names stay as they are.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

_BLOCK = "backbone.blocks"
_WRAPPERS = re.compile(r"^(module\.|videomae\.|model\.(?=backbone\.))+")
_BACKBONE = re.compile(
    r"^(?:backbone\.(?:model\.backbone\.)?|encoder\.)?(?=(?:blocks\.\d+|patch_embed)\.)"
)
_RENAMED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^embeddings\.patch_embeddings\.", "backbone.patches."),
        (r"^patch_embed\.proj(ection)?\.", "backbone.patches.projection."),
        (r"^encoder\.layer\.(\d+)\.", rf"{_BLOCK}.\1.layer."),
        (r"(\.layer\.attention\.attention)\.q_bias$", r"\1.query.bias"),
        (r"(\.layer\.attention\.attention)\.v_bias$", r"\1.value.bias"),
        (r"^blocks\.(\d+)\.norm1\.", rf"{_BLOCK}.\1.layer.layernorm_before."),
        (r"^blocks\.(\d+)\.norm2\.", rf"{_BLOCK}.\1.layer.layernorm_after."),
        (r"^blocks\.(\d+)\.attn\.q_bias$", rf"{_BLOCK}.\1.layer.attention.attention.query.bias"),
        (r"^blocks\.(\d+)\.attn\.v_bias$", rf"{_BLOCK}.\1.layer.attention.attention.value.bias"),
        (r"^blocks\.(\d+)\.attn\.proj\.", rf"{_BLOCK}.\1.layer.attention.output.dense."),
        (r"^blocks\.(\d+)\.mlp\.(layers\.0\.0|fc1)\.", rf"{_BLOCK}.\1.layer.intermediate.dense."),
        (r"^blocks\.(\d+)\.mlp\.(layers\.1|fc2)\.", rf"{_BLOCK}.\1.layer.output.dense."),
        (r"^blocks\.(\d+)\.adapter\.", rf"{_BLOCK}.\1.adapter."),
        (r"^rpn_head\.", "head."),
        (r"^(head\.scale\.\d+)\.scale$", r"\1"),
        (r"^(projection\.(?:stem|branch)\.\d+\.mlp)\.3\.", r"\1.2."),
    )
)
_FUSED = re.compile(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")
_OURS = re.compile(r"^backbone\.(patches|blocks\.\d+\.(layer|adapter))\.")


@dataclass(frozen=True)
class Mapped:
    """Tensors by our names, and ``origin``: the name in the file of each."""

    state: Mapping[str, Tensor]
    origin: Mapping[str, str]


def to_our_names(source: Mapping[str, Tensor]) -> Mapped:
    """A file's tensors under the names of ``AdaTad``; unknown names stay as they are."""
    state: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    for name, tensor in source.items():
        for ours, part in _translated(name, tensor):
            state[ours] = part
            origin[ours] = name
    return Mapped(state, origin)


def _translated(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    bare = _WRAPPERS.sub("", name)
    if _OURS.match(bare):
        yield bare, tensor
        return
    bare = _BACKBONE.sub("", bare)
    fused = _FUSED.match(bare)
    if fused:
        yield from _split(int(fused[1]), fused[2], tensor)
        return
    for pattern, replacement in _RENAMED:
        bare = pattern.sub(replacement, bare)
    yield bare, tensor


def _split(block: int, kind: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Thirds of one tensor. Keys have no bias here: it changes no attention."""
    for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
        if (part, kind) != ("key", "bias"):
            yield f"{_BLOCK}.{block}.layer.attention.attention.{part}.{kind}", third
