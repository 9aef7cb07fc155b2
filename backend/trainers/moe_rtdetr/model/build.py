"""The network of a configuration, with fresh weights."""

from typing import Any

from transformers import RTDetrResNetConfig, RTDetrV2Config

from backend.core.errors import ConfigError
from backend.trainers.moe_rtdetr.model.initialise import initialise
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.spec import ModelConfig, MoeConfig

STRIDES = (8, 16, 32)

BASIC = {"layer_type": "basic", "hidden_sizes": [64, 128, 256, 512]}
BACKBONES: dict[str, dict[str, Any]] = {
    "tiny": {
        **{"layer_type": "basic", "embedding_size": 16},
        **{"hidden_sizes": [16, 32, 64, 96], "depths": [1, 1, 1, 1]},
    },
    "r18": {**BASIC, "depths": [2, 2, 2, 2]},
    "r34": {**BASIC, "depths": [3, 4, 6, 3]},
    "r50": {"depths": [3, 4, 6, 3]},
    "r101": {"depths": [3, 4, 23, 3]},
}
DETECTORS: dict[str, dict[str, Any]] = {
    "tiny": {
        **{"d_model": 64, "encoder_hidden_dim": 64, "decoder_in_channels": [64, 64, 64]},
        **{"encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "hidden_expansion": 0.5},
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "decoder_layers": 2},
    },
    "r18": {"hidden_expansion": 0.5, "decoder_layers": 3},
    "r34": {"hidden_expansion": 0.5, "decoder_layers": 4},
    "r50": {},
    "r101": {
        **{"encoder_hidden_dim": 384, "decoder_in_channels": [384, 384, 384]},
        **{"encoder_ffn_dim": 2048},
    },
}


def detector_config(model: ModelConfig, classes: int) -> RTDetrV2Config:
    """transformers' configuration of a preset; all but ``tiny`` are as the public checkpoints.

    Batch norms of the backbone train, unlike in the library: a backbone frozen as a whole keeps
    them still.
    """
    backbone = RTDetrResNetConfig(**BACKBONES[model.preset], out_indices=[2, 3, 4])
    return RTDetrV2Config(
        **DETECTORS[model.preset],
        backbone_config=backbone,
        encoder_in_channels=list(backbone.hidden_sizes[1:]),
        freeze_backbone_batch_norms=False,
        feat_strides=STRIDES,
        num_labels=classes,
        num_queries=model.queries,
        num_denoising=model.denoising,
    )


def build_network(model: ModelConfig, moe: MoeConfig, classes: tuple[str, ...]) -> MoeRtDetr:
    """A network that has learned nothing, drawn from torch's global generator.

    Raises ConfigError for more queries than the image has places, and for classes that do not
    belong to exactly one expert each.
    """
    height, width = model.image_size
    places = sum((height // stride) * (width // stride) for stride in STRIDES)
    if model.queries > places:
        raise ConfigError(
            f"model.queries: {model.queries}, but an image of {height} x {width} has only "
            f"{places} places for them; ask for fewer or larger images"
        )
    network = MoeRtDetr(detector_config(model, len(classes)), moe, classes)
    initialise(network)
    return network


def same_cost(moe: MoeConfig) -> MoeConfig:
    """The dense model of the same cost as these experts at their top-k."""
    return moe.model_copy(update={"experts": "dense", "groups": {}})
