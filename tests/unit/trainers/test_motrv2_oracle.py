"""Encoder and decoder layers against transformers' Deformable DETR with mapped weights.

The two were written apart from each other, so equality speaks for both (specs/motrv2.md, 6.2).
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.trainers.motrv2.model.geometry import Geometry
from backend.trainers.motrv2.model.positions import cell_centres, sine_code
from backend.trainers.motrv2.model.transformer import DecoderLayer, EncoderLayer, Memory

pytest.importorskip("transformers", reason="the oracle is transformers, which is not there")

SHAPES = ((6, 9), (3, 5), (2, 3))
TOLERANCE = 2e-6
PUBLISHED = Geometry(levels=3)
SMALL = Geometry(levels=3, width=64, feedforward=96, heads=4, points=2, groups=8)


def theirs(of: Geometry, layer: str) -> Any:
    """A layer of the library, of the same sizes and in plain torch."""
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr import modeling_deformable_detr as library

    config = DeformableDetrConfig(
        d_model=of.width, num_feature_levels=of.levels, dropout=0.0, attention_dropout=0.0,
        activation_dropout=0.0, activation_function="relu",
        encoder_attention_heads=of.heads, decoder_attention_heads=of.heads,
        encoder_n_points=of.points, decoder_n_points=of.points,
        encoder_ffn_dim=of.feedforward, decoder_ffn_dim=of.feedforward,
        disable_custom_kernels=True, attn_implementation="eager",
    )  # fmt: skip
    return getattr(library, f"DeformableDetr{layer}Layer")(config).eval()


def randomised(layer: nn.Module) -> nn.Module:
    """All weights differ from their start, under which offsets depend on no query."""
    chance = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=chance) * 0.03)
    return layer.eval()


def mapped(layer: nn.Module, decoder: bool) -> dict[str, Tensor]:
    """Our tensors under the library's names; query, key and value are apart there."""
    norms = (
        {"norm1": "encoder_attn_layer_norm", "norm2": "self_attn_layer_norm",
         "norm3": "final_layer_norm", "cross_attn": "encoder_attn"}
        if decoder else {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}
    )  # fmt: skip
    names = {**norms, "linear1": "mlp.fc1", "linear2": "mlp.fc2", "self_attn": "self_attn"}
    found = {}
    for name, tensor in layer.state_dict().items():
        module, _, rest = name.partition(".")
        if rest.startswith("in_proj_"):
            kind = rest.removeprefix("in_proj_")
            for part, values in zip("qkv", tensor.chunk(3), strict=True):
                found[f"self_attn.{part}_proj.{kind}"] = values
        else:
            rest = rest.replace("out_proj", "o_proj") if "out_proj" in rest and decoder else rest
            found[f"{names[module]}.{rest}"] = tensor
    return found


def maps(of: Geometry) -> dict[str, Any]:
    """The shapes of the maps as the library wants them."""
    sizes = torch.tensor(SHAPES)
    starts = torch.cat([torch.zeros(1, dtype=torch.long), sizes.prod(1).cumsum(0)[:-1]])
    return {"spatial_shapes": sizes, "spatial_shapes_list": list(SHAPES),
            "level_start_index": starts}  # fmt: skip


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("of", [PUBLISHED, SMALL], ids=["published", "small"])
def test_an_encoder_layer_is_the_librarys(of: Geometry) -> None:
    ours, other = randomised(EncoderLayer(of)), theirs(of, "Encoder")
    other.load_state_dict(mapped(ours, decoder=False))
    cells = sum(height * width for height, width in SHAPES)
    x, codes = noise(2, cells, of.width, seed=1), noise(cells, of.width, seed=2)
    centres = torch.cat([cell_centres(*shape, torch.device("cpu")) for shape in SHAPES])
    placed = centres[None, :, None].expand(-1, -1, of.levels, -1)
    with torch.no_grad():
        found = ours(x, codes, placed, SHAPES)
        expected = other(
            hidden_states=x, attention_mask=None,
            spatial_position_embeddings=codes[None].expand(2, -1, -1),
            reference_points=placed.expand(2, -1, -1, -1), **maps(of),
        )  # fmt: skip
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    assert found.std() > 0.1


@pytest.mark.parametrize("masked", [False, True], ids=["all", "masked"])
@pytest.mark.parametrize("of", [PUBLISHED, SMALL], ids=["published", "small"])
def test_a_decoder_layer_is_the_librarys(of: Geometry, masked: bool) -> None:
    """Boxes as references, and queries that must not see each other."""
    ours, other = randomised(DecoderLayer(of)), theirs(of, "Decoder")
    other.load_state_dict(mapped(ours, decoder=True))
    cells = sum(height * width for height, width in SHAPES)
    x, values = noise(1, 7, of.width, seed=3), noise(1, cells, of.width, seed=4)
    boxes = noise(1, 7, 4, seed=5).sigmoid()
    mask = torch.zeros(7, 7, dtype=torch.bool)
    mask[:4, 4:] = masked
    with torch.no_grad():
        found = ours(x, boxes, Memory(values, SHAPES), mask if masked else None)
        barred = torch.zeros(1, 1, 7, 7).masked_fill(mask, float("-inf"))
        expected = other(
            hidden_states=x, object_queries_position_embeddings=sine_code(boxes, of.width // 4),
            reference_points=boxes[:, :, None].expand(-1, -1, of.levels, -1),
            encoder_hidden_states=values, encoder_attention_mask=None,
            attention_mask=barred if masked else None, **maps(of),
        )  # fmt: skip
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    if masked:
        with torch.no_grad():
            free = ours(x, boxes, Memory(values, SHAPES), None)
        assert not torch.allclose(free[:, :4], found[:, :4])
        torch.testing.assert_close(free[:, 4:], found[:, 4:])
