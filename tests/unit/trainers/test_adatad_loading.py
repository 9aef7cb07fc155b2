"""Public weights: names of three codes, sizes that do not fit, files that are not safe."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from backend.core.errors import CheckpointError
from backend.trainers.adatad.key_map import to_our_names
from backend.trainers.adatad.loading import find_file, load_into, load_public, read_tensors
from backend.trainers.adatad.model.network import AdaTad
from tests.support.adatad_windows import GEOMETRY, network

LAYER = "backbone.blocks.1.layer."


def backbone_of(model: AdaTad) -> dict[str, Tensor]:
    return {
        name: one
        for name, one in model.state_dict().items()
        if name.startswith("backbone.") and ".adapter." not in name
    }


def in_reference_names(model: AdaTad, prefix: str, adapters: bool = True) -> dict[str, Tensor]:
    """As the public AdaTAD code saves them: fused queries, keys and values."""
    renamed = {
        "backbone.patches.": f"{prefix}patch_embed.",
        "backbone.blocks.": f"{prefix}blocks.",
        "layer.layernorm_before": "norm1",
        "layer.layernorm_after": "norm2",
        "layer.attention.output.dense": "attn.proj",
        "layer.attention.attention.query.bias": "attn.q_bias",
        "layer.attention.attention.value.bias": "attn.v_bias",
        "layer.intermediate.dense": "mlp.layers.0.0",
        "layer.output.dense": "mlp.layers.1",
    }
    theirs: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if (".adapter." in name or not name.startswith("backbone.")) and not adapters:
            continue
        for ours, other in renamed.items():
            name = name.replace(ours, other)
        name = re.sub(r"^head\.scale\.(\d)", r"rpn_head.scale.\1.scale", name)
        name = re.sub(r"^head\.", "rpn_head.", name)
        name = re.sub(r"^(projection\..*\.mlp)\.2\.", r"\1.3.", name)
        theirs[name] = tensor
    return fused(theirs)


def fused(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(state)
    for name in state:
        if name.endswith("attention.query.weight"):
            parts = [found.pop(name.replace("query", one)) for one in ("query", "key", "value")]
            start = name.removesuffix("layer.attention.attention.query.weight")
            found[f"{start}attn.qkv.weight"] = torch.cat(parts)
    return found


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("prefix", ["backbone.", "module.backbone.model.backbone.", ""])
def test_the_reference_s_backbone(prefix: str) -> None:
    source, target = network(seed=1), network(seed=2)
    tensors = in_reference_names(source, prefix, adapters=False)
    tensors[f"{prefix}pos_embed"] = torch.zeros(1, 8, 24)
    tensors["cls_head.fc_cls.weight"] = torch.zeros(400, 24)
    report = load_into(target, tensors, "file.pth")
    assert_same(backbone_of(target), backbone_of(source))
    assert report.loaded[f"{LAYER}attention.attention.key.weight"] == (
        f"{prefix}blocks.1.attn.qkv.weight"
    )
    assert report.unexpected == tuple(sorted([f"{prefix}pos_embed", "cls_head.fc_cls.weight"]))
    assert report.untrained_backbone == ()
    assert report.new == target.state_dict().keys() - backbone_of(target).keys()
    assert report.lines()[0] == (
        f"file.pth: loaded {len(backbone_of(target))} of {len(target.state_dict())} tensors, "
        f"missing {len(report.missing)}, replaced 0, unexpected 2"
    )


@pytest.mark.parametrize("wrapper", ["state_dict", "state_dict_ema"])
def test_a_whole_checkpoint_of_the_reference(tmp_path: Path, wrapper: str) -> None:
    source, target = network(seed=1), network(seed=2)
    tensors = in_reference_names(source, "module.backbone.model.backbone.")
    tensors = {
        name if name.startswith("module.") else f"module.{name}": one
        for name, one in tensors.items()
    }
    path = tmp_path / "epoch_59.pth"
    torch.save({"epoch": 59, "state_dict": {"live": torch.zeros(1)}, wrapper: tensors}, path)
    report = load_public(target, str(path))
    assert report.new == frozenset()
    assert report.unexpected == ()
    assert_same(target.state_dict(), source.state_dict())


def test_another_number_of_classes_starts_fresh() -> None:
    source, target = network(seed=1, classes=20), network(seed=2)
    before = target.head.cls_head.weight.clone()
    report = load_into(target, source.state_dict(), "file")
    assert report.replaced == ("head.cls_head.bias", "head.cls_head.weight")
    assert report.missing == ()
    assert torch.equal(target.head.cls_head.weight, before)
    assert report.lines()[1].startswith("other classes, starts fresh: head.cls_head.bias")


def test_hugging_face_by_folder_and_with_separate_biases(tmp_path: Path) -> None:
    config = VideoMAEConfig(
        image_size=16, patch_size=8, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=96, decoder_hidden_size=8, decoder_num_attention_heads=2,
        decoder_num_hidden_layers=1, decoder_intermediate_size=16,
    )  # fmt: skip
    theirs = VideoMAEForPreTraining(config)
    theirs.save_pretrained(tmp_path)
    ours = network()
    report = load_public(ours, str(tmp_path))
    state = {f"backbone.{name}": one for name, one in theirs.videomae.state_dict().items()}
    query = "layer.1.attention.attention.query.weight"
    assert torch.equal(
        ours.state_dict()[f"{LAYER}attention.attention.query.weight"],
        state[f"backbone.encoder.{query}"],
    )
    assert len(report.loaded) == len(state)
    assert report.untrained_backbone == ()
    assert {name.split(".")[0] for name in report.unexpected} == {
        "decoder", "encoder_to_decoder", "mask_token",
    }  # fmt: skip
    older = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): one
        for name, one in theirs.videomae.state_dict().items()
    }
    assert_same(to_our_names(older).state, backbone_of(ours))


def test_the_original_s_names() -> None:
    source = network(seed=1, adapter="none")
    tensors = {
        "encoder."
        + name.replace("mlp.layers.0.0", "mlp.fc1")
        .replace("mlp.layers.1", "mlp.fc2")
        .replace("patch_embed.projection", "patch_embed.proj"): one
        for name, one in in_reference_names(source, "", adapters=False).items()
    }
    assert_same(to_our_names(tensors).state, backbone_of(source))
    whole = {"blocks.0.attn.qkv.bias": torch.arange(72)}
    thirds = to_our_names(whole).state
    assert [name.split(".")[-2] for name in thirds] == ["query", "value"]
    assert [one[0].item() for one in thirds.values()] == [0, 48]


def test_our_own_names_stay() -> None:
    state = network().state_dict()
    assert_same(to_our_names(state).state, state)
    assert to_our_names(state).origin == {name: name for name in state}


def test_another_size_is_refused_and_nothing_is_copied() -> None:
    target = network(seed=2)
    before = {name: one.clone() for name, one in target.state_dict().items()}
    wider = in_reference_names(network(seed=1, width=32), "backbone.")
    with pytest.raises(CheckpointError, match=r"of another size: backbone\..* set model.preset"):
        load_into(target, wider, "wide.pth")
    assert_same(target.state_dict(), before)


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    resnet = {"conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(2)}
    with pytest.raises(
        CheckpointError, match=r"no weights of VideoMAE .* conv1.weight, fc.weight"
    ):
        load_into(network(), resnet, "resnet.pth")
    with pytest.raises(CheckpointError, match="called nothing"):
        load_into(network(), {}, "empty.pth")
    path = tmp_path / "list.pth"
    torch.save([1, 2], path)
    assert read_tensors(path) == {}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    unsafe, torn = tmp_path / "unsafe.pth", tmp_path / "torn.safetensors"
    torch.save({"state_dict": GEOMETRY}, unsafe)
    with pytest.raises(CheckpointError, match="carries code and was not run"):
        load_public(network(), str(unsafe))
    save_file({"blocks.0.norm1.weight": torch.zeros(24)}, torn)
    torn.write_bytes(torn.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        load_public(network(), str(torn))


def test_where_files_are_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model.safetensors and no pytorch_model.bin"):
        find_file(str(tmp_path))
    (tmp_path / "pytorch_model.bin").touch()
    assert find_file(str(tmp_path)).name == "pytorch_model.bin"
    (tmp_path / "model.safetensors").touch()
    assert find_file(str(tmp_path)).name == "model.safetensors"
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        find_file("missing.pth")


def test_names_of_hugging_face_come_from_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = "MCG-NJU/videomae-small-finetuned-kinetics"
    with pytest.raises(CheckpointError, match=f"'hf download {name}'"):
        find_file(name)
    folder = tmp_path / f"models--{name.replace('/', '--')}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc", encoding="utf-8")
    file = folder / "snapshots" / "abc" / "pytorch_model.bin"
    torch.save(in_reference_names(network(seed=1), "backbone."), file)
    assert find_file(name) == file
    assert load_public(network(), name).untrained_backbone == ()
