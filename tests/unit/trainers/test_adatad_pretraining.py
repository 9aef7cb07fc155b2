"""A backbone worth freezing: repeatable, loadable, better than chance, and never mistaken."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backend.core.errors import DataError
from backend.trainers.adatad.loading import load_public
from backend.trainers.adatad.model.geometry import SMALL
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.pretraining import Pretraining, pretrained

SHORT = Pretraining(clips=24, unseen=6, steps=3, batch=4, warmup=2)


def test_the_seed_decides_every_bit(tmp_path: Path) -> None:
    plans = {"a": SHORT, "b": SHORT, "c": replace(SHORT, seed=1)}
    made = {
        name: pretrained(tmp_path / f"{name}.safetensors", plan) for name, plan in plans.items()
    }
    files = {name: one.path.read_bytes() for name, one in made.items()}
    assert files["a"] == files["b"]
    weights = [load_file(made[name].path) for name in "ac"]
    assert all(not torch.equal(one, weights[1][name]) for name, one in weights[0].items()
               if name.endswith("weight") and one.ndim > 1)  # fmt: skip


def test_every_tensor_of_the_backbone_is_loaded(tmp_path: Path) -> None:
    made = pretrained(tmp_path / "new" / "backbone.safetensors", SHORT)
    network = AdaTad(SMALL)
    report = load_public(network, str(made.path))
    assert not report.unexpected
    assert not report.untrained_backbone
    written = load_file(made.path)
    held = network.backbone.state_dict()
    assert all(torch.equal(held[name.removeprefix("backbone.")], one)
               for name, one in written.items())  # fmt: skip


def test_a_file_that_is_there_is_used_again(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    first = pretrained(path, SHORT)
    stamp = path.stat().st_mtime_ns
    assert pretrained(path, SHORT) == first
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("found", ["another plan", "something else"])
def test_another_file_is_refused_and_kept(tmp_path: Path, found: str) -> None:
    path = tmp_path / "backbone.safetensors"
    if found == "another plan":
        pretrained(path, replace(SHORT, steps=2))
    else:
        path.write_bytes(b"somebody's")
    before = path.read_bytes()
    with pytest.raises(DataError, match="delete or move it"):
        pretrained(path, SHORT)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        pretrained(tmp_path / "taken" / "backbone.safetensors", replace(SHORT, steps=1))


def test_it_learns(tmp_path: Path) -> None:
    plan = Pretraining(clips=64, unseen=60, steps=30, batch=6, warmup=5)
    assert pretrained(tmp_path / "backbone.safetensors", plan).colour > 0.3  # chance: 1 in 6
