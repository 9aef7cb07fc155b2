"""What a training starts from: sizes of the file, classes of the data, and what was replaced."""

from pathlib import Path
from typing import Any

import pytest
import torch

from backend.core.errors import CheckpointError, ConfigError
from backend.trainers.motrv2.checkpoint import (
    facts_at,
    read_checkpoint,
    restored,
    with_previous_heads,
)
from backend.trainers.motrv2.checkpoint_format import write_original
from backend.trainers.motrv2.weights import confidence_steps, start
from tests.support.motrv2_files import EIGHT, config, saved


@pytest.fixture
def person(tmp_path: Path) -> Path:
    saved(tmp_path / "person.safetensors")
    return tmp_path / "person.safetensors"


def test_sizes_come_from_the_file_and_classes_from_the_data(tmp_path: Path) -> None:
    path = tmp_path / "wide.safetensors"
    saved(path, feedforward=96, queries=7, denoising=False)
    begun = start(config(model__pretrained=path), EIGHT)
    geometry = begun.learner.geometry
    assert (geometry.feedforward, geometry.queries, geometry.classes) == (96, 7, 8)
    assert geometry.denoising
    assert geometry.proposal_classes == 8
    more = start(config(model__pretrained=path, model__queries=9), EIGHT).learner.geometry
    assert more.queries == 9


def test_the_published_sizes_without_a_file() -> None:
    begun = start(config(), ("Person",))
    assert begun.report is None
    assert begun.source == "none"
    assert not begun.selection.frozen
    assert begun.learner.geometry.proposal_classes == 0, "one class has nothing to tell apart"


def test_a_strategy_without_a_file_freezes_random_values() -> None:
    begun = start(config(freeze__strategy="minimal"), EIGHT)
    assert "at random values" in begun.notes[-1]


def test_new_heads_train_whatever_the_strategy(person: Path) -> None:
    begun = start(config(model__pretrained=person, freeze__strategy="minimal"), EIGHT)
    heads = {f"class_embed.{at}.{name}" for at in (0, 1) for name in ("weight", "bias")}
    assert begun.selection.forced == heads | {"yolox_class_embed.weight"}
    assert begun.selection.trainable == begun.selection.forced | {"yolox_embed.weight"}
    assert begun.report is not None
    assert {one.name for one in begun.report.mismatched} == heads
    assert [one.name for one in begun.report.missing] == ["yolox_class_embed.weight"]
    assert "mismatched 4" in begun.remarks[0]
    assert confidence_steps(begun, config()) == 72  # 4.6 / (5 x 2e-4 x 64)


def test_new_heads_that_stay_untrained_are_refused_or_told(person: Path) -> None:
    frozen: dict[str, Any] = {"freeze__strategy": "minimal", "freeze__train_new": False}
    with pytest.raises(ConfigError, match="would stay untrained"):
        start(config(model__pretrained=person, **frozen), EIGHT)
    meant = config(model__pretrained=person, freeze__allow_untrained_new=True, **frozen)
    assert "class_embed.0.bias" in start(meant, EIGHT).untrained


def test_what_was_replaced_travels_and_comes_back(person: Path) -> None:
    begun = start(config(model__pretrained=person), EIGHT)
    assert begun.previous_classes == ("Person",)
    old = read_checkpoint(person)
    again = with_previous_heads(begun.learner)
    assert again.geometry == old.geometry
    assert not again.training
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, old.weights[name]), name
    assert "previous.class_embed.0.bias" in begun.learner.state_dict()
    assert not any("previous" in name for name, _ in begun.learner.named_parameters())


def test_the_same_classes_replace_nothing_and_keep_what_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    saved(path, EIGHT, previous=("Person",), proposal_classes=8)
    begun = start(config(model__pretrained=path), EIGHT)
    assert not begun.selection.forced
    assert begun.previous_classes == ("Person",)
    assert len(begun.learner.state_dict()["previous.class_embed.0.bias"]) == 1


def test_the_same_classes_in_another_order_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    saved(path, EIGHT)
    turned = (*EIGHT[1:], EIGHT[0])
    with pytest.raises(CheckpointError, match=r"in another order .*0: 1, 1: 2"):
        start(config(model__pretrained=path), turned)
    rows = {at: EIGHT.index(name) for at, name in enumerate(turned)}
    mapped = config(model__pretrained=path, model__head_init="map", model__head_from=rows)
    begun = start(mapped, turned)
    old = read_checkpoint(path).weights["class_embed.0.weight"]
    assert torch.equal(begun.learner.state_dict()["class_embed.0.weight"], old[[*range(1, 8), 0]])


def test_as_many_other_classes_are_new(person: Path) -> None:
    begun = start(config(model__pretrained=person), ("Ball",))
    assert "class_embed.0.weight" in begun.selection.forced
    assert begun.previous_classes == ("Person",)
    with pytest.raises(ConfigError, match="head_init is none"):
        start(config(model__pretrained=person, model__head_init="none"), ("Ball",))


def test_a_file_of_the_reference_names_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "reference.pth"
    write_original(path, saved(tmp_path / "a.safetensors").state_dict())
    assert start(config(model__pretrained=path), ("Person",)).previous_classes == ()
    assert start(config(model__pretrained=path), EIGHT).previous_classes == ("",)
    assert facts_at(path).knows(("Person",)) == "now"


def test_a_checkpoint_is_looked_at_with_either_classes(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    saved(path, EIGHT, previous=("Person",), proposal_classes=8)
    found = read_checkpoint(path)
    assert restored(found, config(), EIGHT).geometry.classes == 8
    old = restored(found, config(), ("Person",))
    assert (old.geometry.classes, old.geometry.proposal_classes) == (1, 0)
    assert torch.equal(
        old.state_dict()["class_embed.0.weight"], found.weights["previous.class_embed.0.weight"]
    )
    with pytest.raises(CheckpointError, match=r"8 classes \(Player.*, the data have 1 class"):
        restored(found, config(), ("Ball",))


def test_parts_that_this_network_has_not_are_told(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    saved(path, EIGHT, proposal_classes=8)
    begun = start(config(model__pretrained=path, model__proposal_class="ignore"), EIGHT)
    assert "yolox_class_embed.weight is in the file and not" in begun.notes[0]
