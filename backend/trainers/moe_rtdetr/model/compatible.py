"""Do these weights belong into this network? Refusals name what is there and what is wanted."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version

from torch import Tensor
from transformers import PretrainedConfig

from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.checkpoint import Saved
from backend.trainers.moe_rtdetr.model.sources import Source
from backend.trainers.moe_rtdetr.spec import MoeConfig, MoeRtDetrConfig

_BLOCK = re.compile(r"^model\.backbone\.model\.encoder\.stages\.2\.layers\.(\d+)\.layer\.(\d)\.")
_STEM = "model.backbone.model.embedder.embedder.0.convolution.weight"
_PRESETS = {
    **{(32, 2, 2): "r18", (32, 6, 2): "r34", (32, 6, 3): "r50", (32, 23, 3): "r101"},
    (8, 1, 2): "tiny",
}
"""Width of the stem, blocks of the third stage and convolutions in each, by preset."""

_SAME_FUNCTION = (
    *("encoder_attention_heads", "decoder_attention_heads", "encoder_layers", "normalize_before"),
    *("activation_function", "encoder_activation_function", "decoder_activation_function"),
    *("encode_proj_layers", "positional_encoding_temperature", "layer_norm_eps", "batch_norm_eps"),
    *("decoder_n_points", "decoder_n_levels", "num_feature_levels", "decoder_offset_scale"),
    *("decoder_method", "learn_initial_query", "with_box_refine", "feat_strides"),
)
_SAME_BACKBONE = (
    *("layer_type", "hidden_act", "downsample_in_first_stage", "downsample_in_bottleneck"),
)
"""Settings that change what a network computes; most of them leave no trace in its shapes."""


def likely_preset(state: Mapping[str, Tensor]) -> str:
    """The preset with this ResNet, or what it looks like in words; empty without a backbone."""
    blocks = [found for name in state if (found := _BLOCK.match(name))]
    if _STEM not in state or not blocks:
        return ""
    depth = 1 + max(int(found[1]) for found in blocks)
    convolutions = 1 + max(int(found[2]) for found in blocks)
    stem = len(state[_STEM])
    other = f"a ResNet with {depth} blocks of {convolutions} convolutions in its third stage"
    return _PRESETS.get((stem, depth, convolutions), other)


def check_detector(config: PretrainedConfig, source: Source, preset: str) -> None:
    """Refuse weights of another preset, or for a network that computes something else.

    ``config`` is our network's. Raises CheckpointError.
    """
    found = likely_preset(source.state)
    if found and found != preset:
        raise CheckpointError(
            f"{source.where}: these weights look like {found}, but model.preset is {preset}"
        )
    if source.config is None:
        return
    differing = [
        *_differences(source.config, config, _SAME_FUNCTION),
        *_differences(source.config.backbone_config, config.backbone_config, _SAME_BACKBONE),
    ]
    if differing:
        raise CheckpointError(
            f"{source.where}: its network computes something else than the preset {preset}: "
            f"{'; '.join(differing)}"
        )


def check_tensors(targets: Mapping[str, Tensor], found: Mapping[str, Tensor], where: str) -> None:
    """Refuse tensors of another size, or with values that are not numbers.

    Raises CheckpointError.
    """
    wrong = [
        f"{name} is {list(tensor.shape)} there and {list(targets[name].shape)} here"
        for name, tensor in found.items()
        if tensor.shape != targets[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"{where}: {len(wrong)} tensors are of another size than the network's: "
            f"{'; '.join(wrong[:3])}"
        )
    for name, tensor in found.items():
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{where}: {name} holds values that are not numbers")


def check_saved(saved: Saved, config: MoeRtDetrConfig) -> tuple[str, ...]:
    """Refuse a checkpoint of ours with other experts; say what else is not as it was.

    Raises CheckpointError.
    """
    path, moe, before = saved.path, config.moe, saved.moe
    if saved.model.preset != config.model.preset:
        raise CheckpointError(
            f"{path}: its preset is {saved.model.preset}, but model.preset is "
            f"{config.model.preset}"
        )
    if before.named_groups and list(before.named_groups.items()) != list(moe.named_groups.items()):
        raise CheckpointError(
            f"{path}: its experts are {_experts(before)}, but moe.experts is {_experts(moe)}; an "
            "expert cannot be given other classes, so use the same configuration or start from a "
            "dense checkpoint"
        )
    _check_width(saved, moe)
    notes = []
    if before.named_groups and before.top_k != moe.top_k:
        notes.append(f"moe.top_k is {moe.top_k}; the checkpoint was trained with {before.top_k}")
    return tuple(notes)


def _check_width(saved: Saved, moe: MoeConfig) -> None:
    """The layer over all tokens: as wide as before, also where experts become its copies."""
    before = saved.moe
    wide = before.hidden if before.named_groups else before.hidden * before.top_k
    wanted = moe.hidden if moe.named_groups else moe.hidden * moe.top_k
    if wide == wanted:
        return
    if before.named_groups or not moe.named_groups:
        raise CheckpointError(
            f"{saved.path}: its layer over all tokens is {wide} wide, but moe.hidden makes it "
            f"{wanted}"
        )
    raise CheckpointError(
        f"{saved.path}: each token expert starts as a copy of the dense layer, which is {wide} "
        f"wide; set moe.hidden to {wide} (it is {moe.hidden})"
    )


def check_version(saved: Saved, missing: Sequence[str]) -> tuple[str, ...]:
    """Refuse weights of another release of transformers unless they fill the whole network.

    Most names are those of transformers' modules, which change between releases. Raises
    CheckpointError.
    """
    there, here = (
        saved.libraries.get("transformers", "an unknown release"),
        version("transformers"),
    )
    if there.split(".")[:2] == here.split(".")[:2]:
        return ()
    if missing:
        raise CheckpointError(
            f"{saved.path}: saved with transformers {there}; with {here}, which is installed, it "
            f"lacks {len(missing)} tensors, for example {missing[0]}; install transformers {there}"
        )
    return (
        f"the checkpoint was saved with transformers {there} and {here} is installed: every "
        "tensor has its place; evaluate it once before you compare",
    )


def _experts(moe: MoeConfig) -> str:
    groups = moe.named_groups
    told = ", ".join(f"{name}: {' + '.join(owned)}" for name, owned in groups.items())
    return f"{moe.experts} ({told})" if groups else moe.experts


def _differences(
    theirs: PretrainedConfig, ours: PretrainedConfig, names: tuple[str, ...]
) -> Iterator[str]:
    for name in names:
        here = _plain(getattr(ours, name))
        there = _plain(getattr(theirs, name, here))
        if there != here:
            yield f"{name} is {there} there and {here} here"


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
