"""Checkpoints of the original RT-DETR code.

Its layers are rebuilt here from torch's own and named as there, so that the map of names is
checked by what the layers compute, not by itself.
"""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2ConvEncoder,
    RTDetrV2DecoderLayer,
    RTDetrV2EncoderLayer,
)

from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.model.build import detector_config
from backend.trainers.moe_rtdetr.model.original import read_original, to_transformers
from tests.support.rtdetr_sources import TINY, detector, original_state, randomise


class ConvNorm(nn.Module):
    """Convolution and norm."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Two convolutions beside a shortcut, which pools where the block halves its input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch2a = ConvNorm(inputs, outputs, 3, stride)
        self.branch2b = ConvNorm(outputs, outputs, 3, 1)
        pooled = OrderedDict(
            pool=nn.AvgPool2d(2, 2, 0, ceil_mode=True), conv=ConvNorm(inputs, outputs, 1, 1)
        )
        plain = ConvNorm(inputs, outputs, 1, 1)
        self.short: nn.Module = nn.Sequential(pooled) if stride == 2 else plain

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.branch2b(torch.relu(self.branch2a(x))) + self.short(x))


class Backbone(nn.Module):
    """The ResNet-vd of the tiny preset."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            OrderedDict(
                conv1_1=ConvNorm(3, 8, 3, 2),
                conv1_2=ConvNorm(8, 8, 3, 1),
                conv1_3=ConvNorm(8, 16, 3, 1),
            )
        )
        widths = (16, 16, 32, 64, 96)
        self.res_layers = nn.ModuleList()
        for stage in range(4):
            layer = nn.Module()
            block = Block(widths[stage], widths[stage + 1], 2 if stage else 1)
            layer.blocks = nn.ModuleList([block])
            self.res_layers.append(layer)

    def forward(self, x: Tensor) -> list[Tensor]:
        for layer in self.conv1:
            x = torch.relu(layer(x))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        maps = []
        for stage in self.res_layers:
            x = stage.blocks[0](x)  # type: ignore[index, operator]
            maps.append(x)
        return maps[1:]


def renamed(module: nn.Module, prefix: str, theirs: str) -> dict[str, Tensor]:
    """The module's tensors by transformers' names, without the prefix that they get there."""
    state = {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()}
    return {name.removeprefix(theirs): t for name, t in to_transformers(state).items()}


def test_the_backbone_computes_the_same() -> None:
    original = Backbone().eval()
    randomise(original)
    ours = RTDetrV2ConvEncoder(detector_config(TINY, 6)).eval()
    ours.load_state_dict(renamed(original, "backbone.", "model.backbone."))
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found = [features for features, _ in ours(images, torch.ones(2, 64, 96))]
        expected = original(images)
    for theirs, mine in zip(expected, found, strict=True):
        assert torch.allclose(theirs, mine, atol=1e-5)


def test_an_encoder_layer_computes_the_same() -> None:
    original = nn.TransformerEncoderLayer(
        64, 4, 128, dropout=0.0, activation="gelu", batch_first=True
    )
    randomise(original, seed=1)
    ours = RTDetrV2EncoderLayer(detector_config(TINY, 6)).eval()
    ours.load_state_dict(
        renamed(original, "encoder.encoder.0.layers.0.", "model.encoder.aifi.0.layers.0.")
    )
    x = torch.randn(2, 12, 64)
    with torch.no_grad():
        expected = original(x)  # in training mode: its fast path is another kernel
        found = ours(x, attention_mask=None, spatial_position_embeddings=torch.zeros(1, 12, 64))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_decoders_self_attention_computes_the_same() -> None:
    original = nn.Module()
    original.self_attn = nn.MultiheadAttention(64, 4, batch_first=True)
    randomise(original, seed=2)
    ours = RTDetrV2DecoderLayer(detector_config(TINY, 6)).eval()
    start = "model.decoder.layers.3."
    state = renamed(original, "decoder.decoder.layers.3.", start)
    wrong = ours.load_state_dict(state, strict=False)
    assert wrong.unexpected_keys == []
    assert not any("self_attn." in name for name in wrong.missing_keys)
    x = torch.randn(2, 9, 64)
    with torch.no_grad():
        expected, _ = original.self_attn(x, x, x)
        found, _ = ours.self_attn(hidden_states=x, position_embeddings=torch.zeros_like(x))
    assert torch.allclose(found, expected, atol=1e-5)


NAMES = """
encoder.encoder.0.layers.0.norm2.bias         model.encoder.aifi.0.layers.0.final_layer_norm.bias
encoder.input_proj.2.norm.running_var         model.encoder_input_proj.2.1.running_var
encoder.input_proj.2.0.weight                 model.encoder_input_proj.2.0.weight
encoder.fpn_blocks.1.bottlenecks.2.conv1.norm.bias
                                        model.encoder.fpn_blocks.1.bottlenecks.2.conv1.norm.bias
decoder.input_proj.0.conv.weight              model.decoder_input_proj.0.0.weight
decoder.decoder.layers.1.norm1.weight         model.decoder.layers.1.self_attn_layer_norm.weight
decoder.decoder.layers.1.norm2.weight         model.decoder.layers.1.encoder_attn_layer_norm.weight
decoder.decoder.layers.1.norm3.weight         model.decoder.layers.1.final_layer_norm.weight
decoder.decoder.layers.1.linear2.weight       model.decoder.layers.1.mlp.fc2.weight
decoder.decoder.layers.1.cross_attn.num_points_scale
                                        model.decoder.layers.1.encoder_attn.n_points_scale
decoder.decoder.layers.1.cross_attn.value_proj.bias
                                        model.decoder.layers.1.encoder_attn.value_proj.bias
decoder.enc_output.proj.weight                model.enc_output.0.weight
decoder.enc_output.1.weight                   model.enc_output.1.weight
decoder.dec_bbox_head.2.layers.1.bias         model.decoder.bbox_embed.2.layers.1.bias
decoder.query_pos_head.layers.0.bias          model.decoder.query_pos_head.layers.0.bias
decoder.denoising_class_embed.weight          model.denoising_class_embed.weight
"""


def test_names() -> None:
    words = NAMES.split()
    for theirs, ours in zip(words[::2], words[1::2], strict=True):
        assert list(to_transformers({theirs: torch.zeros(3)})) == [ours]


def test_what_the_original_computes_anew_is_left_out() -> None:
    computed = ("decoder.anchors", "decoder.valid_mask", "encoder.pos_embed2")
    assert to_transformers({name: torch.zeros(1) for name in computed}) == {}


def test_every_tensor_of_a_detector_has_its_place_and_back() -> None:
    model = detector()
    state = {n: t for n, t in model.state_dict().items() if n.startswith("model.")}
    found = to_transformers(original_state(model))
    assert found.keys() == {name for name in state if "n_points_scale" not in name}
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.items())


@pytest.mark.parametrize("wrapped", ["ema", "model", "bare", "data parallel"])
def test_where_the_weights_lie_in_the_file(tmp_path: Path, wrapped: str) -> None:
    name, path = "backbone.res_layers.0.blocks.0.branch2a.conv.weight", tmp_path / "made_up.pth"
    good, other = {name: torch.ones(2)}, {name: torch.zeros(2)}
    contents: dict[str, object] = {
        "ema": {"ema": {"module": good, "updates": 3}, "model": other, "last_epoch": 71},
        "model": {"model": good, "date": "today"},
        "bare": good,
        "data parallel": {"model": {f"module.{name}": torch.ones(2)}},
    }
    torch.save(contents[wrapped], path)
    ours = "model.backbone.model.encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert torch.equal(read_original(path)[ours], torch.ones(2))


def test_a_backbone_alone(tmp_path: Path) -> None:
    torch.save(Backbone().state_dict(), tmp_path / "resnet_vd.pth")
    found = read_original(tmp_path / "resnet_vd.pth")
    expected = RTDetrV2ConvEncoder(detector_config(TINY, 6)).state_dict()
    assert {f"model.backbone.{name}" for name in expected} == set(found)


class Evil:
    """Would run code when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("evil"),)  # type: ignore[return-value]


def test_a_file_that_carries_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth: loading this file would run code"):
        read_original(Path("bad.pth"))
    assert not Path("evil").exists()


def test_files_that_hold_no_rt_detr(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.pth", tmp_path / "bad.pth"
    torch.save({"model": original_state(detector())}, whole)
    cases: list[tuple[bytes, str]] = [
        (whole.read_bytes()[:5000], "not a whole checkpoint of torch"),
        (b"", "not a whole checkpoint of torch"),
        (b"something else", "not a whole checkpoint of torch"),
    ]
    for content, told in cases:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=told):
            read_original(path)
    torch.save({"model": {"stem.weight": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError, match=r"not an RT-DETR with a ResNet .* stem\.weight"):
        read_original(path)
    torch.save({"epoch": 3, "model": {}}, path)
    with pytest.raises(CheckpointError, match="holds no weights under"):
        read_original(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_original(tmp_path / "absent.pth")
