"""How the network begins: its sizes, names and first weights, and what it costs."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import RTDetrV2ForObjectDetection

from backend.core.errors import ConfigError
from backend.trainers.moe_rtdetr.model.build import build_network, detector_config, same_cost
from backend.trainers.moe_rtdetr.model.cost import gflops, parameters
from backend.trainers.moe_rtdetr.model.names import dense_name, part_of
from backend.trainers.moe_rtdetr.spec import CLASSES, ModelConfig, MoeConfig
from tests.support.moe_networks import PLACES, SIZE, images, model_config, network, plain_detector

ROOT = Path(__file__).parents[3]


def test_r18_is_the_public_network() -> None:
    """20,184,464 numbers, as the original code has with COCO's 80 classes."""
    config = detector_config(ModelConfig(preset="r18"), 80)
    with torch.device("meta"):
        assert parameters(RTDetrV2ForObjectDetection(config)) == 20_184_464


@pytest.mark.parametrize("preset", ["r34", "r50", "r101"])
def test_larger_presets_are_whole(preset: str) -> None:
    model = ModelConfig.model_validate({"preset": preset})
    millions = {"r34": 31.4, "r50": 42.9, "r101": 76.7}
    with torch.device("meta"):
        plain = RTDetrV2ForObjectDetection(detector_config(model, 80))
    assert parameters(plain) / 1e6 == pytest.approx(millions[preset], abs=0.1)


def test_every_plain_tensor_has_its_place_in_ours() -> None:
    plain = {n: v for n, v in plain_detector().state_dict().items() if n.startswith("model.")}
    for experts, count in (("dense", 0), ("A", 6), ("B", 3)):
        ours = network(experts).state_dict()
        sources = {name: dense_name(name) for name in ours}
        assert {s for s in sources.values() if s} == set(plain)
        for name, source in sources.items():
            if source is None:
                assert part_of(name) in ("routers", "token_experts")
                continue
            stacked = part_of(name) == "heads" and ours[name].ndim > plain[source].ndim
            wanted = (count, *plain[source].shape) if stacked else plain[source].shape
            assert ours[name].shape == wanted, name
            per_expert = name.startswith(("class_embed.", "detector.decoder.bbox_embed."))
            assert stacked == (count > 0 and per_expert), name


def test_every_parameter_has_one_part() -> None:
    net = network()
    found = {part_of(name) for name, _ in net.named_parameters()}
    assert found == {"backbone", "encoder", "token_experts", "routers", "decoder", "heads"}
    routers = [name for name, _ in net.named_parameters() if part_of(name) == "routers"]
    assert routers == [
        "tokens.routed.router.weight",
        "detector.decoder.bbox_embed.0.router.weight",
        "detector.decoder.bbox_embed.1.router.weight",
    ]
    assert part_of("class_embed.1.weight") == "heads"
    assert part_of("detector.decoder.bbox_embed.0.layers.2.bias") == "heads"
    assert part_of("detector.enc_score_head.weight") == "heads"
    assert part_of("detector.denoising_class_embed.weight") == "heads"
    assert part_of("detector.encoder_input_proj.0.0.weight") == "encoder"
    assert part_of("detector.decoder_input_proj.0.0.weight") == "decoder"
    assert part_of("tokens.norm.weight") == "token_experts"
    assert {part_of(n) for n, _ in network("dense").named_parameters()} == found - {"routers"}


@pytest.mark.parametrize("experts", ["A", "dense"])
def test_from_scratch_norms_are_the_identity_and_boxes_where_selected(experts: str) -> None:
    net = network(experts)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert module.weight.requires_grad, "batch norms train"
    names = {type(m).__name__ for m in net.modules()}
    assert "RTDetrV2FrozenBatchNorm2d" not in names
    output = net.eval()(images())
    torch.testing.assert_close(output.layers[-1].boxes, output.encoder.boxes, atol=1e-4, rtol=0)
    for head in (net.detector.enc_score_head, *net.class_embed):
        torch.testing.assert_close(head.bias.sigmoid(), torch.full_like(head.bias, 1 / 7))
    assert net.class_embed[-1].weight.std() > 0.01


def test_signals_neither_vanish_nor_explode_at_the_start() -> None:
    net = network()
    seen: dict[str, float] = {}
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(
                lambda m, i, o, name=name: seen.__setitem__(name, o.std().item())
            )
    net(images())
    quiet = ("sampling_offsets", "attention_weights", "layers.2")  # start at zero on purpose
    wrong = {n: s for n, s in seen.items() if not n.endswith(quiet) and not 0.01 < s < 20}
    assert wrong == {}


def test_experts_start_different_from_each_other_and_tokens_as_they_are() -> None:
    net = network()
    heads = net.class_embed[0].weight
    assert not torch.allclose(heads[0], heads[1])
    x = torch.randn(1, 5, 64)
    assert torch.equal(net.tokens(x, None)[0], x)
    assert torch.equal(network("dense").tokens(x, None)[0], x)


def test_sizes_that_cannot_be_are_refused_before_anything_is_built() -> None:
    with pytest.raises(ValidationError, match="multiples of 32"):
        model_config(image_size=(64, 100))
    with pytest.raises(ConfigError, match=f"{PLACES + 1}, but an image of 64 x 96 has only"):
        build_network(model_config(queries=PLACES + 1), MoeConfig(), CLASSES)
    build_network(model_config(queries=PLACES), MoeConfig(hidden=8), CLASSES)


@pytest.mark.parametrize(("experts", "top_k"), [("A", 1), ("A", 2), ("B", 3), ("C", 2)])
def test_dense_of_the_same_cost_costs_the_same(experts: str, top_k: int) -> None:
    """At the size of the synthetic set; heads of all experts run, so there is a rest."""
    moe = MoeConfig.model_validate({"experts": experts, "top_k": top_k, "hidden": 128})
    model = model_config(image_size=(160, 256), queries=30)
    torch.manual_seed(0)
    ours, dense = (build_network(model, m, CLASSES) for m in (moe, same_cost(moe)))
    cost, twin = (gflops(net, (160, 256)) for net in (ours, dense))
    assert cost == pytest.approx(twin, rel=0.021)
    assert 0.29 < cost < 0.37


def test_cost_counts_each_choice_as_it_runs() -> None:
    costs = [gflops(network(top_k=k), SIZE) for k in (1, 2, 6)]
    one = 4 * 64 * 32 * PLACES / 1e9
    assert costs[1] - costs[0] == pytest.approx(one, rel=1e-6)
    assert costs[2] - costs[0] == pytest.approx(5 * one, rel=1e-6)


def test_measuring_leaves_the_network_as_it_was() -> None:
    net = network()
    net.detector.backbone.eval()
    before = {n: v.clone() for n, v in net.state_dict().items()}
    modes = [m.training for m in net.modules()]
    gflops(net, SIZE)
    assert [m.training for m in net.modules()] == modes
    assert all(torch.equal(v, before[n]) for n, v in net.state_dict().items())
    assert parameters(net) == sum(p.numel() for p in net.parameters())
