"""Made-up RT-DETR weights: small, random everywhere, as transformers or the original code saves
them."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrV2ForObjectDetection

from backend.nn.finetune.weights import save_weights
from backend.trainers.moe_rtdetr.checkpoint import LANGUAGE, NETWORK, facts_of
from backend.trainers.moe_rtdetr.model.build import build_network, detector_config
from backend.trainers.moe_rtdetr.model.class_rows import COCO
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.sources import quiet
from backend.trainers.moe_rtdetr.spec import ModelConfig, MoeRtDetrConfig

TINY = ModelConfig(preset="tiny", image_size=(96, 128), queries=20, denoising=10)
OLD_NAMES = {3: "motorbike", 4: "aeroplane", 57: "sofa"}
COCO_ROWS = (2, 7, 5, 0, 1, 3)
"""Of car, truck, bus, person, bicycle and motorcycle."""


def config_of(pretrained: object = "none", **changed: object) -> MoeRtDetrConfig:
    """A small config; ``changed`` are its top-level keys."""
    model = TINY.model_dump() | {"pretrained": str(pretrained)}
    return MoeRtDetrConfig.model_validate(
        {"data": "data", "model": model, "moe": {"hidden": 32}} | changed
    )


def network_of(config: MoeRtDetrConfig) -> MoeRtDetr:
    """As the trainer builds it, with the same weights each time."""
    torch.manual_seed(7)
    return build_network(config.model, config.moe, config.classes)


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Give every weight and statistic a random value; none keeps what an initialiser chose."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point() or name.endswith("n_points_scale"):
            continue
        values = torch.randn(tensor.shape, generator=generator)
        scale = 0.5 / max(1.0, tensor[0].numel() ** 0.5 if tensor.ndim > 1 else 2.0)
        if name.endswith(("running_var", "norm.weight", "normalization.weight")):
            values, scale = values.abs() + 1, 1.0
        tensor.copy_(values * scale)


def detector(
    classes: int = 80, names: Mapping[int, str] | None = None, **settings: object
) -> nn.Module:
    """transformers' RT-DETR v2 of the tiny preset, but for ``settings``."""
    config = detector_config(TINY, classes)
    for name, value in settings.items():
        setattr(config, name, value)
    config.id2label = dict(names) if names else dict(enumerate(COCO)) | OLD_NAMES
    model: nn.Module = RTDetrV2ForObjectDetection(config).eval()
    randomise(model)
    return model


def first_version(model: nn.Module) -> nn.Module:
    """The same detector as RT-DETR v1, which differs in no weight."""
    settings = model.config.to_dict()  # type: ignore[operator, union-attr]
    config = RTDetrConfig(**{k: v for k, v in settings.items() if k != "model_type"})
    older: nn.Module = RTDetrForObjectDetection(config).eval()
    older.load_state_dict({k: v for k, v in model.state_dict().items() if k in older.state_dict()})
    return older


def saved_folder(model: nn.Module, folder: Path) -> Path:
    """As ``save_pretrained`` writes it."""
    with quiet():
        model.save_pretrained(folder)  # type: ignore[operator]
    return folder


def sliced(model: nn.Module, rows: tuple[int, ...] = COCO_ROWS) -> nn.Module:
    """The same detector with these of its classes only."""
    smaller: nn.Module = RTDetrV2ForObjectDetection(detector_config(TINY, len(rows))).eval()
    state = {}
    for name, tensor in model.state_dict().items():
        if "class_embed" in name or "enc_score_head" in name:
            last = (len(tensor) - 1,) if "denoising" in name else ()
            tensor = tensor[[*rows, *last]]
        state[name] = tensor
    smaller.load_state_dict(state)
    return smaller


def saved_checkpoint(
    path: Path, config: MoeRtDetrConfig, language: nn.Module | None = None, **facts: object
) -> MoeRtDetr:
    """Write a random network as the trainer does; its checkpoint says ``facts`` besides."""
    network = network_of(config)
    randomise(network, seed=11)
    weights = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}
    if language is not None:
        weights |= {f"{LANGUAGE}{name}": tensor for name, tensor in language.state_dict().items()}
    save_weights(path, weights, facts_of(config) | facts)
    return network.eval()


def original_state(model: nn.Module) -> dict[str, Tensor]:
    """The detector's weights under the names of the original code."""
    state = model.state_dict()
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("model.") and "n_points_scale" not in name:
            found[_original_name(name)] = tensor
    for name in [name for name in found if ".self_attn.q_proj." in name]:
        packed = [found.pop(name.replace("q_proj", f"{kind}_proj")) for kind in "qkv"]
        found[name.replace("q_proj.", "in_proj_")] = torch.cat(packed)
    return found


def _original_name(name: str) -> str:
    name = name.removeprefix("model.")
    head, _, rest = name.partition(".")
    if head == "backbone":
        return _backbone_name(rest.removeprefix("model."))
    if head in ("encoder_input_proj", "decoder_input_proj"):
        level, index, leaf = rest.split(".", 2)
        return f"{head[:7]}.input_proj.{level}.{('conv', 'norm')[int(index)]}.{leaf}"
    if head == "encoder":
        return "encoder." + _layer_name(rest.replace("aifi.", "encoder."), last_norm="norm2")
    if head == "decoder":
        for ours, theirs in (
            ("class_embed.", "dec_score_head."),
            ("bbox_embed.", "dec_bbox_head."),
            ("query_pos_head.", "query_pos_head."),
        ):
            if rest.startswith(ours):
                return f"decoder.{theirs}{rest.removeprefix(ours)}"
        return "decoder.decoder." + _layer_name(rest, last_norm="norm3")
    name = name.replace("enc_output.0.", "enc_output.proj.")
    return "decoder." + name.replace("enc_output.1.", "enc_output.norm.")


def _backbone_name(name: str) -> str:
    parts = name.split(".")
    leaf = parts[-1]
    kind = {"convolution": "conv", "normalization": "norm"}[parts[-2]]
    if parts[0] == "embedder":
        return f"backbone.conv1.conv1_{int(parts[2]) + 1}.{kind}.{leaf}"
    block = f"backbone.res_layers.{parts[2]}.blocks.{parts[4]}"
    if parts[5] == "shortcut":
        pooled = ".conv" if parts[6] == "1" else ""
        return f"{block}.short{pooled}.{kind}.{leaf}"
    return f"{block}.branch2{'abc'[int(parts[6])]}.{kind}.{leaf}"


def _layer_name(name: str, last_norm: str) -> str:
    for ours, theirs in (
        ("mlp.fc", "linear"),
        ("o_proj", "out_proj"),
        ("encoder_attn_layer_norm", "norm2"),
        ("encoder_attn.", "cross_attn."),
        ("self_attn_layer_norm", "norm1"),
        ("final_layer_norm", last_norm),
    ):
        name = name.replace(ours, theirs)
    return name
