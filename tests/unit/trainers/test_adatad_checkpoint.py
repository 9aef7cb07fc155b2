"""Checkpoints of AdaTAD: what they say of themselves, and the network made of one again."""

from pathlib import Path

import pytest
import torch

from backend.core.errors import CheckpointError
from backend.nn.finetune.weights import load_weights, save_weights
from backend.trainers.adatad.checkpoint import facts_at, read_checkpoint, restored
from tests.support.adatad_files import CLASSES, config, saved


def test_a_network_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    made = saved(path)
    again = restored(read_checkpoint(path), config())
    assert not again.training
    assert again.geometry == made.geometry
    ours, theirs = again.state_dict(), made.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_it_knows_its_classes_and_the_inputs_it_was_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved(path, config(windows__length=64, windows__stride=2, frames__size=32))
    facts = facts_at(path)
    assert facts.classes == CLASSES
    assert facts.strategy == "adapter"
    fitting = facts.fitting(config(windows__length=96, inference__overlap=0.1))
    windows = fitting.windows
    assert (windows.length, windows.stride, fitting.frames.size) == (64, 2, 32)
    assert fitting.inference.overlap == 0.1, "all else is as it was asked for"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": "mdfed"}, "not a checkpoint of adatad, but of mdfed"),
        ({"geometry": {"classes": "many"}}, "its facts do not describe a network"),
        ({"classes": None}, r"\(classes\)"),
    ],
)
def test_what_is_no_checkpoint_of_this_trainer_is_named(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    path = tmp_path / "a.safetensors"
    saved(path)
    weights, facts = load_weights(path)
    save_weights(path, weights, {**facts, **change})
    for read in (read_checkpoint, facts_at):
        with pytest.raises(CheckpointError, match=said) as refused:
            read(path)
        assert "\n" not in str(refused.value)


def test_a_checkpoint_without_a_tensor_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    saved(path)
    weights, facts = load_weights(path)
    del weights["head.cls_head.bias"]
    save_weights(path, weights, facts)
    with pytest.raises(CheckpointError, match=r"1 tensors are missing .* head\.cls_head\.bias"):
        restored(read_checkpoint(path), config())
