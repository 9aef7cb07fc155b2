"""Weights that cannot be used: each a sentence that a user can act on, and nothing written."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.models.rt_detr.modeling_rt_detr_resnet import RTDetrResNetBackbone
from transformers.utils import logging

from backend.core.errors import CheckpointError
from backend.trainers.moe_rtdetr.model.build import BACKBONES, detector_config
from backend.trainers.moe_rtdetr.model.compatible import likely_preset
from backend.trainers.moe_rtdetr.model.sources import HUB
from backend.trainers.moe_rtdetr.model.weights import load_pretrained
from backend.trainers.moe_rtdetr.spec import ModelConfig
from tests.support.rtdetr_sources import (
    config_of,
    detector,
    network_of,
    original_state,
    saved_folder,
)


def refused(pretrained: object, told: str, **model: object) -> None:
    config = config_of(pretrained)
    config = config.model_copy(update={"model": config.model.model_copy(update=model)})
    network = network_of(config_of())
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=told) as error:
        load_pretrained(network, config)
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def changed_json(folder: Path, **changed: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def test_names_on_the_hub_need_permission() -> None:
    hub = (
        r"PekingU/rtdetr_v2_r18vd(, which)? is on the Hugging Face hub, and nothing is downloaded"
    )
    refused("torch_hub", hub, preset="r18")
    refused("PekingU/rtdetr_v2_r18vd", hub)
    refused("torch_hub", "there are no weights for the preset tiny; start from none, or choose")
    assert set(HUB) == {"r18", "r34", "r50", "r101"}


def test_with_permission_the_hub_is_asked() -> None:
    """This name is one that the client itself refuses, before it uses a network."""
    refused("no/such--name..", r"cannot be downloaded .*; offline, give", allow_download=True)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    refused(tmp_path / "absent", r"absent is no such file; give a folder of transformers \(config")
    refused("../not a name", "not a name is no such file")
    refused(tmp_path / "absent.pth", r"absent\.pth: no such checkpoint")
    refused(tmp_path / "absent.safetensors", r"absent\.safetensors: no such checkpoint")
    refused(tmp_path, r"no config\.json and no model\.safetensors; a folder of transformers has")
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", r"notes\.txt is not a file that weights can be read from")


def test_folders_of_something_else(tmp_path: Path) -> None:
    folder = saved_folder(detector(), tmp_path / "made_up")
    changed_json(folder, model_type="detr")
    refused(folder, r"holds a model of the kind detr, not RT-DETR \(rt_detr_v2 or rt_detr\)")
    changed_json(folder, model_type="rt_detr_v2", use_timm_backbone=True)
    refused(folder, "its backbone is not RT-DETR's own ResNet")
    (folder / "config.json").write_text("{")
    refused(folder, r"config\.json is not a model's config")


def test_a_folder_whose_weights_are_cut_short(tmp_path: Path) -> None:
    folder = saved_folder(detector(), tmp_path / "made_up")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    refused(folder, r"transformers cannot load it \(.*is model\.safetensors whole")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == (bars, level)


def test_a_config_that_belongs_to_other_weights(tmp_path: Path) -> None:
    folder = saved_folder(detector(), tmp_path / "made_up")
    changed_json(folder, decoder_ffn_dim=64)
    refused(folder, "transformers cannot load it")


def test_a_network_that_computes_something_else(tmp_path: Path) -> None:
    """The number of heads leaves no trace in any tensor's size."""
    heads = saved_folder(detector(decoder_attention_heads=8), tmp_path / "heads")
    refused(heads, r"than the preset tiny: decoder_attention_heads is 8 there and 4 here")
    act = saved_folder(detector(activation_function="relu"), tmp_path / "act")
    refused(act, "activation_function is relu there and silu here")


def test_other_sizes_are_named(tmp_path: Path) -> None:
    wide = detector(decoder_ffn_dim=64)
    told = r"of another size than the network's: .*mlp\.fc1\.\w+ is \[64.* there and \[128.* here"
    refused(saved_folder(wide, tmp_path / "wide"), told)
    torch.save({"model": original_state(wide)}, tmp_path / "wide.pth")
    refused(tmp_path / "wide.pth", told)


@pytest.mark.parametrize(
    ("stem", "depth", "convolutions", "likely"),
    [
        (32, 2, 2, "r18"),
        (32, 6, 2, "r34"),
        (32, 6, 3, "r50"),
        (32, 23, 3, "r101"),
        (32, 36, 3, "a ResNet with 36 blocks of 3 convolutions in its third stage"),
    ],
)
def test_another_preset_is_recognised(
    tmp_path: Path, stem: int, depth: int, convolutions: int, likely: str
) -> None:
    state = {"backbone.conv1.conv1_1.conv.weight": torch.zeros(stem, 3, 3, 3)}
    for block in range(depth):
        for branch in "abc"[:convolutions]:
            name = f"backbone.res_layers.2.blocks.{block}.branch2{branch}.conv.weight"
            state[name] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "other.pth")
    refused(tmp_path / "other.pth", f"look like {likely}, but model.preset is tiny")


def test_query_selection_without_classes(tmp_path: Path) -> None:
    """The original code can score tokens by one number; ours scores them by class."""
    state = original_state(detector())
    for name in ("decoder.enc_score_head.weight", "decoder.enc_score_head.bias"):
        state[name] = state[name][:1]
    torch.save({"model": state}, tmp_path / "agnostic.pth")
    refused(tmp_path / "agnostic.pth", r"enc_score_head\.weight is \[1, 64\] there and \[6, 64\]")


def test_weights_without_a_place(tmp_path: Path) -> None:
    name = "backbone.res_layers.9.blocks.0.branch2a.conv.weight"
    torch.save({name: torch.zeros(1)}, tmp_path / "odd.pth")
    refused(tmp_path / "odd.pth", "none of its tensors has a place in this network")


@pytest.mark.parametrize("preset", BACKBONES)
def test_every_preset_recognises_itself(preset: str) -> None:
    model = ModelConfig.model_validate({"preset": preset})
    with torch.device("meta"):
        backbone = RTDetrResNetBackbone(detector_config(model, 6).backbone_config)
    state = {f"model.backbone.model.{name}": t for name, t in backbone.state_dict().items()}
    assert likely_preset(state) == preset


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    model: nn.Module = detector()
    with torch.no_grad():
        model.get_parameter("model.enc_output.0.bias")[3] = float("nan")
    folder = saved_folder(model, tmp_path / "nan")
    refused(folder, r"detector\.enc_output\.0\.bias holds values that are not numbers")
