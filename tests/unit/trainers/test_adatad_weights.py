"""What a training of AdaTAD starts from: sizes, public weights, checkpoints of ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from backend.core.errors import CheckpointError, ConfigError
from backend.trainers.adatad.loading import CLASS_HEAD
from backend.trainers.adatad.selection import group_of
from backend.trainers.adatad.spec import STRATEGIES, AdaTadConfig
from backend.trainers.adatad.weights import Start, geometry_of, start
from tests.support.adatad_files import CLASSES, config, saved

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One of ours with trained adapters, for ``CLASSES``."""
    saved(tmp_path / "ours.safetensors")
    return tmp_path / "ours.safetensors"


def begun(path: Path | None, classes: tuple[str, ...] = CLASSES, **keys: Any) -> Start:
    torch.manual_seed(0)
    return start(config(model__pretrained=path and str(path), **keys), classes)


def state(path: Path) -> dict[str, Tensor]:
    return begun(path).network.state_dict()


def test_the_published_sizes_and_the_numbers_that_train() -> None:
    """12 blocks of 384: an adapter has two projections, two convolutions and a scale."""
    published = config(model={"preset": "videomae-small"}, windows__length=768, frames__size=160)
    geometry = geometry_of(published, CLASSES)
    width, hidden = geometry.width, geometry.hidden
    assert (width, geometry.layers, hidden, geometry.detector_width) == (384, 12, 96, 512)
    small = start(published, CLASSES).selection
    one = 2 * width * hidden + width + hidden + hidden * 4 + hidden * (hidden + 1) + 1
    assert small.counts["adapter"].numbers == 12 * one
    assert small.counts["backbone"].numbers == 0
    assert small.counts["detector"].numbers == small.counts["detector"].of_numbers
    base = geometry_of(published.replace({"model.preset": "videomae-base"}), CLASSES)
    assert (base.width, base.layers, base.heads, base.detector_width) == (768, 12, 12, 512)


def test_sizes_are_those_of_the_config() -> None:
    told = config(model__adapter_ratio=0.5, model__drop_path=0.2, model__detector_drop_path=0.3)
    geometry = geometry_of(told, ("a", "b"))
    assert (geometry.classes, geometry.hidden, geometry.detector_width) == (2, 32, 16)
    assert (geometry.drop_path, geometry.detector_drop_path) == (0.2, 0.3)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"windows__length": 100}, "windows.length is 100, .* parts of 32; set 96 or 128"),
        ({"windows__length": 16}, "windows.length is 16, .* parts of 32; set 32"),
        ({"frames__size": 170}, "frames.size is 170, .* parts of 16; set 160 or 176"),
        ({"freeze__strategy": "last-layers"}, "freeze.layers.*the backbone has 3; choose 1 to 3"),
        ({"model__detector_width": 18}, "multiples of their heads"),
    ],
)
def test_sizes_that_do_not_fit_are_one_sentence(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        begun(None, **keys)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_frozen_at_random_values_is_said(strategy: str) -> None:
    made = begun(None, freeze__strategy=strategy, freeze__layers=2)
    frozen = made.selection.frozen
    assert made.source == "none"
    if strategy == "full":
        assert made.notes == ()
    else:
        (note,) = made.notes
        assert f"{strategy} freezes {len(frozen)} tensors at random values" in note


def test_ours_of_the_same_kind_loads_whole(checkpoint: Path) -> None:
    made = begun(checkpoint)
    assert made.report is not None
    assert made.report.new == frozenset()
    assert made.notes == ()
    assert len(made.source) == 64
    assert made.remarks[0].startswith(f"{checkpoint}: loaded ")
    ours, theirs = made.network.state_dict(), saved(checkpoint).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_classes_go_by_name(checkpoint: Path) -> None:
    theirs = saved(checkpoint).state_dict()
    for classes, known in ((("run", "dive", "jump"), 3), (("jump", "wave", "dive"), 2)):
        made = begun(checkpoint, classes)
        ours = made.network.state_dict()
        fresh = begun(None, classes).network.state_dict()
        for name in CLASS_HEAD:
            for at, one in enumerate(classes):
                row = theirs[name][CLASSES.index(one)] if one in CLASSES else fresh[name][at]
                assert torch.equal(ours[name][at], row)
        (told,) = (line for line in made.remarks if "keep their outputs" in line)
        assert f"{known} of 3 classes keep their outputs" in told
        assert ("fresh are wave" in told) == (known == 2)


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("a", "b")])
def test_other_classes_start_fresh_whatever_their_number(
    checkpoint: Path, classes: tuple[str, ...]
) -> None:
    made = begun(checkpoint, classes)
    assert made.report is not None
    assert made.report.replaced == CLASS_HEAD
    assert made.report.missing == ()
    ours, fresh = made.network.state_dict(), begun(None, classes).network.state_dict()
    assert all(torch.equal(ours[name], fresh[name]) for name in CLASS_HEAD)
    assert any("none of its classes is here" in line for line in made.remarks)


@pytest.mark.parametrize(
    "keys",
    [
        {"freeze__strategy": "plain-adapter"},
        {"freeze__strategy": "head-only"},
        {"freeze__strategy": "full"},
        {"model__adapter_ratio": 0.5},
    ],
)
def test_adapters_of_another_kind_start_as_the_identity(
    checkpoint: Path, keys: dict[str, Any]
) -> None:
    made = begun(checkpoint, **keys)
    ours, theirs = made.network.state_dict(), saved(checkpoint).state_dict()
    (note,) = made.notes
    assert "its adapters (temporal, 16 channels) are not those of this network" in note
    for name, one in ours.items():
        if name.endswith("up_proj.weight"):
            assert not one.any()
        elif group_of(name) != "adapter":
            assert torch.equal(one, theirs[name])


def test_a_backbone_without_adapters_gets_fresh_ones(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    saved(path, config(freeze__strategy="full"))
    made = begun(path)
    assert made.notes == ()
    assert made.report is not None
    assert {group_of(name) for name in made.report.missing} == {"adapter"}


def test_parts_of_a_backbone_that_stay_random_and_frozen_are_warned_of(tmp_path: Path) -> None:
    tensors = {
        name: one
        for name, one in begun(None).network.state_dict().items()
        if name.startswith("backbone.") and "blocks.2." not in name
    }
    path = tmp_path / "public.safetensors"
    save_file(tensors, path)
    (note,) = begun(path).notes
    assert "15 tensors of the backbone are not in it and stay frozen at random values" in note
    (full,) = [begun(path, freeze__strategy="full").notes]
    assert full == (), "they train"


def test_public_detectors_do_not_name_their_classes(tmp_path: Path) -> None:
    path = tmp_path / "epoch_59.pth"
    torch.save({"state_dict_ema": begun(None).network.state_dict()}, path)
    (note,) = begun(path).notes
    assert "does not name its classes: they are taken for those of the data" in note


def test_a_path_that_exists_is_kept_whole_and_a_name_as_it_is(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    assert config(model__pretrained=checkpoint.name).model.pretrained == str(checkpoint)
    name = "MCG-NJU/videomae-small"
    assert config(model__pretrained=name).model.pretrained == name


def test_one_key_of_the_runner_leaves_the_recipe_s_others() -> None:
    runner = config(runner__optimizer__lr__detector=1e-3).runner
    assert runner.optimizer.lr == {"backbone": 1e-5, "adapter": 2e-4, "detector": 1e-3}
    told = {"kind": "adatad", "data": "films", "runner": {"schedule": {"name": "constant"}}}
    runner = AdaTadConfig.model_validate(told).runner
    assert runner.schedule.name == "constant"
    assert (runner.clip, runner.ema.enabled, runner.schedule.warmup_epochs) == (1.0, True, 5)


def test_another_network_or_file_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    for classes in (CLASSES, ("run", "wave")):
        with pytest.raises(CheckpointError, match=r"of another size: .*set model\.preset"):
            begun(checkpoint, classes, model__detector_width=32)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"text\.safetensors: damaged"):
        begun(tmp_path / "text.safetensors")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        begun(tmp_path / "gone.safetensors")
