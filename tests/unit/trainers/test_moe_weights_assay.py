"""Continuing checkpoints of our own: the same experts, a dense one that gets experts, stage 2."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backend.core.errors import CheckpointError
from backend.nn.finetune.weights import save_weights
from backend.trainers.moe_rtdetr.checkpoint import facts_of
from backend.trainers.moe_rtdetr.learner import make_learner
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.weights import Loaded, load_pretrained
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig
from tests.support.rtdetr_sources import config_of, network_of, saved_checkpoint

DENSE = {"experts": "dense", "hidden": 32, "top_k": 1}
GATE = {"enabled": True, "dimensions": 256, "hidden": 8}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "step-0000012.safetensors"


def load(config: MoeRtDetrConfig) -> tuple[MoeRtDetr, Loaded]:
    network = network_of(config)
    return network.eval(), load_pretrained(network, config)


@torch.no_grad()
def logits(network: nn.Module) -> Tensor:
    images = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    found: Tensor = network(images).layers[-1].logits
    return found


def equal(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(tensor, expected[name]) for name, tensor in found.items()
    )


@pytest.mark.parametrize("experts", ["A", "B", "dense"])
def test_the_same_configuration_takes_everything(path: Path, experts: str) -> None:
    moe = {"experts": experts, "hidden": 32}
    before = saved_checkpoint(path, config_of(moe=moe))
    network, loaded = load(config_of(path, moe=moe))
    assert equal(network.state_dict(), before.state_dict())
    assert loaded.names == {f"network.{name}" for name in before.state_dict()}
    assert loaded.added == loaded.missing == loaded.unexpected == loaded.mismatched == ()
    assert loaded.notes[0].startswith(f"loaded {len(loaded.names)} of {len(loaded.names)} tensors")
    assert len(loaded.notes) == 1


def test_another_top_k_is_told(path: Path) -> None:
    saved_checkpoint(path, config_of(moe={"hidden": 32, "top_k": 3}))
    _, loaded = load(config_of(path, moe={"hidden": 32, "top_k": 1}))
    assert loaded.notes[-1] == "moe.top_k is 1; the checkpoint was trained with 3"


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ("B", "C", r"its experts are B \(vehicles: car .*\), but moe\.experts is C \(large_obj"),
        ("A", "dense", r"its experts are A \(car: car, .*\), but moe\.experts is dense; "),
    ],
)
def test_other_experts_are_refused(path: Path, before: str, now: str, told: str) -> None:
    saved_checkpoint(path, config_of(moe={"experts": before, "hidden": 32}))
    with pytest.raises(CheckpointError, match=told):
        load(config_of(path, moe={"experts": now, "hidden": 32}))


def test_experts_of_ones_own_keep_their_order(path: Path) -> None:
    groups = {"wheels": ["bicycle", "motorcycle", "car"], "rest": ["person", "truck", "bus"]}
    moe = {"experts": "custom", "groups": groups, "hidden": 32}
    before = saved_checkpoint(path, config_of(moe=moe))
    network, _ = load(config_of(path, moe=moe))
    assert network.experts == ("wheels", "rest")
    assert torch.equal(logits(network), logits(before))
    turned = moe | {"groups": dict(reversed(groups.items()))}
    with pytest.raises(CheckpointError, match="its experts are custom"):
        load(config_of(path, moe=turned))


@pytest.mark.parametrize("top_k", [1, 2, 6])
def test_a_dense_checkpoint_gets_experts_and_answers_as_before(path: Path, top_k: int) -> None:
    before = saved_checkpoint(path, config_of(moe=DENSE))
    network, loaded = load(config_of(path, moe={"hidden": 32, "top_k": top_k}))
    assert torch.allclose(logits(network), logits(before), atol=1e-4)
    assert all(".router." in name for name in loaded.added)
    assert loaded.missing == loaded.unexpected == loaded.mismatched == ()
    assert "network.tokens.routed.experts.up_weight" in loaded.names


def test_experts_that_cannot_be_copies_are_refused(path: Path) -> None:
    saved_checkpoint(path, config_of(moe=DENSE | {"top_k": 2}))
    with pytest.raises(CheckpointError, match=r"64 wide; set moe\.hidden to 64 \(it is 32\)"):
        load(config_of(path, moe={"hidden": 32}))
    load(config_of(path, moe={"hidden": 64}))


def test_another_width_is_refused(path: Path) -> None:
    saved_checkpoint(path, config_of(moe={"hidden": 32}))
    with pytest.raises(CheckpointError, match=r"is 32 wide, but moe\.hidden makes it 64"):
        load(config_of(path, moe={"hidden": 64}))


def test_another_preset_is_refused(path: Path) -> None:
    config = config_of(moe=DENSE)
    model = config.model.model_dump() | {"preset": "r18"}
    saved_checkpoint(path, config, model=model)
    with pytest.raises(CheckpointError, match=r"preset is r18, but model\.preset is tiny"):
        load(config_of(path, moe=DENSE))


def test_classes_in_another_order_are_found_by_name(path: Path) -> None:
    before = saved_checkpoint(path, config_of(moe=DENSE))
    classes = ("person", "car", "truck", "bus", "bicycle", "motorcycle")
    network, loaded = load(config_of(path, moe=DENSE, classes=classes))
    order = [before.classes.index(name) for name in classes]
    assert torch.allclose(logits(network), logits(before)[..., order], atol=1e-5)
    assert loaded.adapted[0] == "person from person (3)"


def test_classes_in_another_order_with_experts(path: Path) -> None:
    moe = {"experts": "B", "hidden": 32}
    before = saved_checkpoint(path, config_of(moe=moe))
    classes = ("person", "car", "truck", "bus", "bicycle", "motorcycle")
    network, _ = load(config_of(path, moe=moe, classes=classes))
    order = [before.classes.index(name) for name in classes]
    assert torch.allclose(logits(network), logits(before)[..., order], atol=1e-5)


def test_stage_2_keeps_all_of_stage_1(path: Path) -> None:
    before = saved_checkpoint(path, config_of())
    config = config_of(path, language=GATE)
    learner = make_learner(config.model, config.moe, config.language, config.classes)
    assert learner.language is not None
    gate = {name: tensor.clone() for name, tensor in learner.language.state_dict().items()}
    loaded = load_pretrained(learner.network, config, learner.language)
    assert equal(learner.network.state_dict(), before.state_dict())
    assert equal(learner.language.state_dict(), gate)
    assert set(loaded.added) == {f"language.{name}" for name in gate}
    assert loaded.names == {f"network.{name}" for name in before.state_dict()}


def test_stage_2_goes_on_with_its_gate_or_leaves_it(path: Path) -> None:
    config = config_of(path, language=GATE)
    first = make_learner(config.model, config.moe, config.language, config.classes)
    assert first.language is not None
    saved_checkpoint(path, config, first.language)
    second = make_learner(config.model, config.moe, config.language, config.classes)
    assert second.language is not None
    loaded = load_pretrained(second.network, config, second.language)
    assert equal(second.language.state_dict(), first.language.state_dict())
    assert loaded.added == ()
    _, without = load(config_of(path))
    assert {name.partition(".")[0] for name in without.unexpected} == {"language"}
    assert any("unexpected tensors in these weights, left out: language." in note
               for note in without.notes)  # fmt: skip
    other = config_of(path, language=GATE | {"hidden": 16})
    third = make_learner(other.model, other.moe, other.language, other.classes)
    anew = load_pretrained(third.network, other, third.language)
    assert any(name.startswith("language.") for name in anew.added)


def test_the_gate_needs_a_checkpoint_of_ours(tmp_path: Path) -> None:
    config = config_of(tmp_path, language=GATE)
    learner = make_learner(config.model, config.moe, config.language, config.classes)
    with pytest.raises(CheckpointError, match=r"the language gate is trained on top of a stage-1"):
        load_pretrained(learner.network, config, learner.language)


def test_another_release_of_transformers(path: Path) -> None:
    saved_checkpoint(path, config_of(), libraries={"transformers": "5.11.0"})
    _, loaded = load(config_of(path))
    assert "saved with transformers 5.11.0" in loaded.notes[-1]
    before = saved_checkpoint(path, config_of(), libraries={"transformers": "4.57.1"})
    old = {name.replace("aifi", "encoder"): tensor for name, tensor in before.state_dict().items()}
    write_again(path, config_of(), old, {"transformers": "4.57.1"})
    with pytest.raises(
        CheckpointError, match=r"saved with transformers 4\.57\.1; with 5\..* lacks"
    ):
        load(config_of(path))


def write_again(
    path: Path, config: MoeRtDetrConfig, state: Mapping[str, Tensor], libraries: dict[str, str]
) -> None:
    weights = {f"network.{name}": tensor for name, tensor in state.items()}
    save_weights(path, weights, facts_of(config) | {"libraries": libraries})


def test_damaged_and_foreign_files(path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load(config_of(path))
    saved_checkpoint(path, config_of(), trainer="yolo")
    with pytest.raises(CheckpointError, match="not a checkpoint of moe_rtdetr, but of yolo"):
        load(config_of(path))
    saved_checkpoint(path, config_of())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        load(config_of(path))
