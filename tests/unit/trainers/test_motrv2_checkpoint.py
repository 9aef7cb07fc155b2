"""Reference checkpoints: read safely, reported on, adapted, written back."""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.core.errors import CheckpointError, ConfigError
from backend.nn.finetune.weights import distinct
from backend.trainers.motrv2.checkpoint_format import (
    geometry_of,
    read_checkpoint,
    with_both_names,
    write_original,
)
from backend.trainers.motrv2.loading import HeadInit, load_weights_into
from backend.trainers.motrv2.model.geometry import TINY
from backend.trainers.motrv2.model.network import Motr
from tests.support.motrv2_frames import clip, learner


def saved(path: Path, **sizes: Any) -> Motr:
    """A network, saved as the reference saves."""
    network = learner(**sizes)
    arguments = argparse.Namespace(lr=2e-4, dec_n_points=4, resume="", sizes=[1, 2])
    content = {"model": network.state_dict(), "epoch": 4, "optimizer": {}, "args": arguments}
    torch.save(content, path)
    return network


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_namespace_is_read_and_the_weights_load_whole(tmp_path: Path) -> None:
    network = saved(tmp_path / "a.pth")
    source = read_checkpoint(tmp_path / "a.pth")
    assert source.arguments["lr"] == 2e-4
    fresh = Motr(geometry_of(source))
    report = load_weights_into(fresh, source.state, HeadInit("none"))
    assert same(fresh.state_dict(), network.state_dict())
    assert len(report.loaded) == len(network.state_dict())
    assert not report.new
    assert not report.unexpected


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    network = learner()
    content = {"model": network.state_dict(), "args": Evil(tmp_path / "ran")}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="mkdir, which could run code"):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_code_inside_of_a_namespace_does_not_run(tmp_path: Path) -> None:
    content = {"args": argparse.Namespace(evil=Evil(tmp_path / "ran"))}
    torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("layout", ["model", "state_dict", "bare"])
@pytest.mark.parametrize("prefix", ["", "module.", "detr.", "module.detr."])
def test_layouts_and_prefixes(tmp_path: Path, layout: str, prefix: str) -> None:
    state = learner().state_dict()
    named = {prefix + name: one for name, one in state.items()}
    named[f"{prefix}transformer.total_ops"] = torch.zeros(1)
    torch.save(named if layout == "bare" else {layout: named, "epoch": 1}, tmp_path / "a.pth")
    assert same(dict(read_checkpoint(tmp_path / "a.pth").state), dict(state))


@pytest.mark.parametrize("content", [[1, 2], {"model": {"fc.weight": torch.ones(1)}}, {}])
def test_other_files_are_refused_in_a_sentence(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"^\S+a\.pth: not a checkpoint"):
        read_checkpoint(tmp_path / "a.pth")


def test_damaged_and_absent_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    for name, words in (("cut.pth", "damaged"), ("none.pth", "no such checkpoint")):
        with pytest.raises(CheckpointError, match=words):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"classes": 8, "proposal_classes": 3, "queries": 7},
        {"denoising": False, "position_update": True, "levels": 3, "encoder_layers": 2},
        {"width": 32, "feedforward": 48, "decoder_layers": 3, "heads": 8},
    ],
)
def test_the_geometry_is_read_from_the_file(tmp_path: Path, sizes: dict[str, Any]) -> None:
    saved(tmp_path / "a.pth", **sizes)
    assert geometry_of(read_checkpoint(tmp_path / "a.pth")) == replace(TINY, **sizes)


def test_contradicting_shapes_are_refused(tmp_path: Path) -> None:
    state = dict(learner().state_dict())
    for name in ("class_embed.1.weight", "class_embed.1.bias"):
        del state[name]
    torch.save({"model": state}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="1 class heads for 2 decoder layers"):
        geometry_of(read_checkpoint(tmp_path / "a.pth"))
    for shape in ((2, 64), (64,), (0, 64)):
        torch.save({"model": {"transformer.level_embed": torch.ones(shape)}}, tmp_path / "b.pth")
        with pytest.raises(CheckpointError, match="missing or of an odd shape"):
            geometry_of(read_checkpoint(tmp_path / "b.pth"))


def test_one_class_into_eight_is_reported_by_name_and_shape() -> None:
    old, new = learner(), learner(classes=8)
    report = load_weights_into(new, old.state_dict(), HeadInit())
    entries = len(new.state_dict())
    heads = [f"class_embed.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")]
    assert [one.name for one in report.mismatched] == heads
    assert {one.adapter for one in report.mismatched} == {"prior"}
    assert (report.mismatched[0].source, report.mismatched[0].target) == ((1, 64), (8, 64))
    assert (len(report.loaded), report.missing, report.unexpected) == (entries - 4, (), ())
    assert report.lines()[0] == (
        f"loaded {entries - 4} of {entries} entries, mismatched 4, missing 0, unexpected 0"
    )
    assert "class_embed.0.weight [1, 64] in the file, [8, 64] here: prior" in report.lines()[1]
    assert json.loads(json.dumps(report.as_json()))["mismatched"][1]["target"] == [8]


def test_without_an_adapter_nothing_is_loaded() -> None:
    old, new = learner(), learner(classes=8)
    with torch.no_grad():
        old.yolox_embed.weight.fill_(7)
    before = new.yolox_embed.weight.clone()
    with pytest.raises(ConfigError, match="head_init is none"):
        load_weights_into(new, old.state_dict(), HeadInit("none"))
    wide = learner(feedforward=64)
    with pytest.raises(CheckpointError, match="of another network"):
        load_weights_into(wide, old.state_dict(), HeadInit())
    odd = dict(new.state_dict()) | {"track_embed.norm1.weight": torch.ones(65)}
    with pytest.raises(CheckpointError, match=r"norm1\.weight \[65\] in the file, \[64\] here"):
        load_weights_into(new, odd, HeadInit())
    assert torch.equal(new.yolox_embed.weight, before)


def test_a_file_of_another_network_is_named_with_what_to_do() -> None:
    wide, old = learner(feedforward=64), learner().state_dict()
    told = r"^mot17.pth is of another network: .* leave model.queries unset .* model.pretrained$"
    with pytest.raises(CheckpointError, match=told):
        load_weights_into(wide, old, HeadInit(), Path("mot17.pth"))


def test_missing_parts_have_their_reasons() -> None:
    old = learner(denoising=False)
    new = learner(proposal_classes=8, position_update=True)
    report = load_weights_into(new, old.state_dict(), HeadInit())
    reasons = {one.name: one.reason for one in report.missing}
    assert reasons.pop("refine_embed.weight") == "the source had no denoising"
    assert reasons.pop("yolox_class_embed.weight") == "new by design, starts at zero"
    assert set(reasons.values()) == {"the source had no position update"}
    assert len(reasons) == 8
    back = load_weights_into(old, new.state_dict(), HeadInit())
    assert set(back.unexpected) == {one.name for one in report.missing}


def test_head_rules() -> None:
    old, new = learner(), learner(classes=3)
    with torch.no_grad():
        old.class_embed[1].bias.fill_(0.25)
    fresh = {name: one.clone() for name, one in new.state_dict().items()}
    load_weights_into(new, old.state_dict(), HeadInit("replicate"))
    assert torch.equal(new.class_embed[1].weight, old.class_embed[1].weight.expand(3, -1))
    assert new.class_embed[1].bias.tolist() == [0.25] * 3
    new.load_state_dict(fresh)
    load_weights_into(new, old.state_dict(), HeadInit("map", {2: 0}))
    assert torch.equal(new.class_embed[0].weight[2], old.class_embed[0].weight[0])
    assert torch.equal(new.class_embed[0].weight[:2], fresh["class_embed.0.weight"][:2])
    assert new.class_embed[1].bias.tolist() == [*fresh["class_embed.1.bias"][:2].tolist(), 0.25]


def test_rows_of_many_classes_are_taken_by_number() -> None:
    coco, one = learner(classes=91), learner()
    report = load_weights_into(one, coco.state_dict(), HeadInit("map", {0: 1}))
    assert torch.equal(one.class_embed[0].weight[0], coco.class_embed[0].weight[1])
    assert {each.adapter for each in report.mismatched} == {"map"}
    for rule in (HeadInit("map", {0: 91}), HeadInit("map", {1: 0}), HeadInit("replicate")):
        with pytest.raises(ConfigError, match="91"):
            load_weights_into(one, coco.state_dict(), rule)


@pytest.mark.parametrize("count", [2, 6])
def test_another_number_of_learned_queries(count: int) -> None:
    old, new = learner(queries=4), learner(queries=count)
    fresh = new.query_embed.weight.clone()
    report = load_weights_into(new, old.state_dict(), HeadInit())
    both = min(count, 4)
    assert {one.adapter for one in report.mismatched} == {f"first {both} rows"}
    assert {"query_embed.weight", "position.weight"} == report.new
    assert torch.equal(new.query_embed.weight[:both], old.query_embed.weight[:both])
    assert torch.equal(new.query_embed.weight[both:], fresh[both:])


def test_deformable_detr_is_a_start(tmp_path: Path) -> None:
    state = dict(learner(classes=91).state_dict())
    for name in [n for n in state if n.startswith(("track_embed", "yolox", "position", "refine"))]:
        del state[name]
    state["query_embed.weight"] = torch.ones(300, 128)
    state["transformer.reference_points.weight"] = torch.ones(2, 64)
    torch.save({"model": state}, tmp_path / "coco.pth")
    source = read_checkpoint(tmp_path / "coco.pth")
    geometry = geometry_of(source)
    assert (geometry.queries, geometry.classes, geometry.denoising) == (10, 91, False)
    network = Motr(replace(geometry, classes=1))
    report = load_weights_into(network, source.state, HeadInit("map", {0: 1}))
    assert report.unexpected == ("transformer.reference_points.weight",)
    assert {"query_embed.weight", "track_embed.linear1.weight"} <= report.new


@pytest.mark.parametrize("change", [with_both_names, distinct])
def test_export_and_back_is_equal_to_the_bit(tmp_path: Path, change: Any) -> None:
    network = saved(tmp_path / "a.pth")
    source = read_checkpoint(tmp_path / "a.pth")
    assert write_original(tmp_path / "b.pth", change(source.state)) == ()
    again = torch.load(tmp_path / "b.pth", weights_only=True)
    assert same(again["model"], dict(network.state_dict()))
    assert same(dict(read_checkpoint(tmp_path / "b.pth").state), dict(source.state))


def test_export_tells_what_it_must_leave_out(tmp_path: Path) -> None:
    network = learner(proposal_classes=8)
    assert write_original(tmp_path / "a.pth", network.state_dict()) == ()
    assert "yolox_class_embed.weight" not in read_checkpoint(tmp_path / "a.pth").state
    with torch.no_grad():
        network.yolox_class_embed.weight[3] = 1
    left_out = write_original(tmp_path / "a.pth", network.state_dict())
    assert left_out == ("yolox_class_embed.weight",)


def test_a_loaded_network_says_the_same(tmp_path: Path) -> None:
    network = saved(tmp_path / "a.pth")
    source = read_checkpoint(tmp_path / "a.pth")
    other = learner(proposal_classes=2)
    load_weights_into(other, source.state, HeadInit())
    frames = clip((0, 1), (0, 1), (1,))
    expected, found = network.run(frames), other.run(frames)
    assert all(torch.equal(expected.terms[name], found.terms[name]) for name in expected.terms)
