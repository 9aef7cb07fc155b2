"""Weights of a plain RT-DETR into a network with experts: made-up checkpoints, no network."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.trainers.moe_rtdetr.model.class_rows import COCO, match_classes
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Predicted
from backend.trainers.moe_rtdetr.model.weights import Loaded, load_pretrained
from backend.trainers.moe_rtdetr.spec import CLASSES
from tests.support.rtdetr_sources import (
    COCO_ROWS,
    config_of,
    detector,
    first_version,
    network_of,
    original_state,
    saved_folder,
    sliced,
)

CLASS_TENSORS = ("class_embed", "enc_score_head", "denoising_class_embed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_folder(detector(), tmp_path_factory.mktemp("made_up"))


def load(pretrained: Path, **changed: object) -> tuple[MoeRtDetr, Loaded]:
    config = config_of(pretrained, **changed)
    network = network_of(config)
    return network.eval(), load_pretrained(network, config)


@torch.no_grad()
def same_answers(network: MoeRtDetr, model: nn.Module) -> None:
    """Every query of the last layer, to the specification's 1e-4."""
    images = torch.rand(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    found: Predicted = network(images).layers[-1]
    expected = model(images)
    assert torch.allclose(found.logits, expected.logits, atol=1e-4)
    assert torch.allclose(found.boxes, expected.pred_boxes, atol=1e-4)
    assert expected.logits.std() > 0.05
    assert expected.pred_boxes.std() > 0.05


@pytest.mark.parametrize("top_k", [1, 2, 6])
def test_experts_answer_as_the_dense_detector_did(folder: Path, top_k: int) -> None:
    network, _ = load(folder, moe={"hidden": 32, "top_k": top_k})
    same_answers(network, sliced(detector()))


@pytest.mark.parametrize("experts", ["B", "C", "dense"])
def test_so_do_other_experts_and_none(folder: Path, experts: str) -> None:
    network, _ = load(folder, moe={"hidden": 32, "experts": experts})
    same_answers(network, sliced(detector()))


@pytest.mark.parametrize("layout", ["ema", "model"])
def test_an_original_checkpoint_answers_as_before(tmp_path: Path, layout: str) -> None:
    path, model = tmp_path / "made_up.pth", detector()
    state = original_state(model)
    torch.save({"ema": {"module": state}} if layout == "ema" else {"model": state}, path)
    network, loaded = load(path)
    same_answers(network, sliced(model))
    assert loaded.source.startswith("sha256:")
    assert loaded.missing == loaded.unexpected == ()
    assert any("does not name its 80 classes" in note for note in loaded.notes)


def test_the_first_version_has_the_same_network(tmp_path: Path) -> None:
    older = first_version(detector())
    network, loaded = load(saved_folder(older, tmp_path / "v1"))
    assert loaded.missing == ()
    same_answers(network, sliced(older_as_second(older)))


def older_as_second(older: nn.Module) -> nn.Module:
    """The second version of a first-version detector; the library itself must agree."""
    newer = detector()
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.allclose(older(images).logits, newer(images).logits, atol=1e-5)
    return newer


def test_the_file_in_the_folder_means_the_folder(folder: Path) -> None:
    _, loaded = load(folder / "model.safetensors")
    assert loaded.source == load(folder)[1].source


def test_exactly_what_came_is_listed(folder: Path) -> None:
    network, loaded = load(folder)
    ours = {f"network.{name}" for name in network.state_dict()}
    new = {name for name in ours if ".router." in name or name.startswith("network.tokens.")}
    assert set(loaded.added) == new
    assert loaded.missing == loaded.unexpected == loaded.mismatched == ()
    assert loaded.names | new == ours
    assert not loaded.names & new
    fresh = network_of(config_of())
    for name, tensor in fresh.state_dict().items():
        if f"network.{name}" in new:
            assert torch.equal(network.state_dict()[name], tensor), name


def test_the_counters_of_frozen_batch_norms_are_no_loss(tmp_path: Path) -> None:
    model = detector(freeze_backbone_batch_norms=True)  # as in all public checkpoints
    assert not any("backbone" in n and "tracked" in n for n in model.state_dict())
    network, loaded = load(saved_folder(model, tmp_path / "frozen"))
    assert loaded.missing == loaded.unexpected == ()
    same_answers(network, sliced(detector()))


def test_every_expert_gets_a_copy_of_the_classes(folder: Path) -> None:
    network, loaded = load(folder)
    state, source = network.state_dict(), detector().state_dict()
    rows = list(COCO_ROWS)
    for layer in range(2):
        weight = source[f"model.decoder.class_embed.{layer}.weight"][rows]
        copies: Tensor = state[f"class_embed.{layer}.weight"]
        assert copies.shape == (6, 6, 64)
        assert all(torch.equal(copy, weight) for copy in copies)
    scores = source["model.enc_score_head.bias"][rows]
    assert torch.equal(state["detector.enc_score_head.bias"], scores)
    embedding = source["model.denoising_class_embed.weight"][[*rows, 80]]
    assert torch.equal(state["detector.denoising_class_embed.weight"], embedding)
    assert "motorcycle from motorbike (3)" in loaded.adapted
    assert loaded.adapted[0] == "car from car (2)"


def test_a_class_that_the_source_has_not_starts_fresh(folder: Path) -> None:
    classes = ("car", "tram", "person")
    moe = {"experts": "custom", "groups": {"a": ["car", "tram"], "b": ["person"]}, "hidden": 32}
    network, loaded = load(folder, classes=classes, moe=moe)
    fresh = network_of(config_of(classes=classes, moe=moe))
    state, before, source = network.state_dict(), fresh.state_dict(), detector().state_dict()
    found = state["class_embed.0.weight"]
    expected = source["model.decoder.class_embed.0.weight"]
    for expert in range(2):
        assert torch.equal(found[expert, 0], expected[2])
        assert torch.equal(found[expert, 1], before["class_embed.0.weight"][expert, 1])
        assert torch.equal(found[expert, 2], expected[0])
    assert torch.equal(state["detector.enc_score_head.bias"][1],
                       before["detector.enc_score_head.bias"][1])  # fmt: skip
    partial = {f"network.{name}" for name in state if any(part in name for part in CLASS_TENSORS)}
    assert set(loaded.mismatched) == partial
    assert not partial & loaded.names
    assert "the checkpoint has no class tram" in loaded.notes


def test_classes_without_names(tmp_path: Path) -> None:
    three = detector(3, {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"})
    folder = saved_folder(three, tmp_path / "three")
    _, loaded = load(folder)
    assert any("does not name its 3 classes" in note for note in loaded.notes)
    assert {name.split(".")[1] for name in loaded.mismatched} == {"class_embed", "detector"}
    moe = {"experts": "dense", "hidden": 32}
    network, same = load(folder, classes=("a", "b", "c"), moe=moe)
    assert same.mismatched == ()
    assert any("taken for a, b, c in this order" in note for note in same.notes)
    same_answers(network, three)


def test_only_a_backbone(tmp_path: Path) -> None:
    state = original_state(detector())
    backbone = {
        name.removeprefix("backbone."): tensor
        for name, tensor in state.items()
        if name.startswith("backbone.")
    }
    torch.save(backbone, tmp_path / "resnet.pth")
    _, loaded = load(tmp_path / "resnet.pth")
    assert all(name.startswith("network.detector.backbone.") for name in loaded.names)
    assert "network.detector.enc_score_head.weight" in loaded.missing
    assert any("missing in these weights, re-initialised" in note for note in loaded.notes)


def test_the_report_can_be_read(folder: Path) -> None:
    _, loaded = load(folder)
    first, second, third = loaded.notes
    total = len(loaded.names) + len(loaded.added)
    assert first.startswith(f"loaded {len(loaded.names)} of {total} tensors from {folder} (")
    assert second.startswith(f"{len(loaded.added)} new tensors that such weights have not: ")
    assert third.startswith("class outputs copied by name: car from car (2), truck from truck (7)")


def test_nothing_asked_nothing_loaded() -> None:
    config = config_of()
    network = network_of(config)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loaded = load_pretrained(network, config)
    assert loaded.names == frozenset()
    assert loaded.source == "none"
    assert "no weights were loaded" in loaded.notes[0]
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_loading_draws_no_random_numbers(folder: Path) -> None:
    config = config_of(folder)
    network = network_of(config)
    state = torch.get_rng_state()
    load_pretrained(network, config)
    assert torch.equal(torch.get_rng_state(), state)


def test_coco_has_the_six_classes_in_their_places() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert match_classes(CLASSES, (), 80).rows == COCO_ROWS
    assert match_classes(CLASSES, COCO, 80).rows == COCO_ROWS
    odd = ("Person", "traffic-light", "Motor_Bike", "MOTORBIKE")
    assert match_classes(("person", "Traffic Light", "motorcycle"), odd, 4).rows == (0, 1, 3)
    unnamed = [f"LABEL_{number}" for number in range(80)]
    assert match_classes(("dog",), unnamed, 80).rows == (16,)
    assert match_classes(("dog",), ("0", "1"), 2).rows == (None,)
