"""Learning rates by group, and settings without effect."""

from pathlib import Path

import pytest

from backend.runner.groups import build_optimizer
from backend.trainers.motrv2.freeze_report import summary, summary_line
from backend.trainers.motrv2.parts import part_of, parts_of, rate_notes
from backend.trainers.motrv2.weights import start
from tests.support.motrv2_files import EIGHT, config, saved


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("backbone.0.body.stage1.0.weight", "backbone"),
        ("transformer.level_embed", "encoder"),
        ("transformer.decoder.layers.0.norm1.weight", "decoder"),
        ("transformer.decoder.bbox_embed.0.layers.0.weight", "bbox_embed"),
        ("yolox_class_embed.weight", "yolox_embed"),
        ("position.weight", "queries"),
    ],
)
def test_parts_of_the_network(name: str, part: str) -> None:
    assert part_of(name) == part


def test_each_parameter_has_the_rate_of_its_group(tmp_path: Path) -> None:
    path = tmp_path / "person.safetensors"
    saved(path)
    asked = config(
        model__pretrained=path,
        runner__optimizer__lr={"all": 1e-2, "backbone": 1e-4},
        learning__new_lr_mult=3.0,
        learning__linear_proj_lr_mult=0.5,
    )
    begun = start(asked, EIGHT)
    parts = parts_of(begun, asked)
    names = {id(one): name for name, one in begun.learner.named_parameters()}
    made = build_optimizer(begun.learner, asked.runner.optimizer, parts.group_of, parts.scale_of)
    found = {names[id(p)]: group["lr"] for group in made.param_groups for p in group["params"]}
    assert found["backbone.0.body.stage1.0.weight"] == 1e-4
    assert found["class_embed.0.weight"] == pytest.approx(3e-2)
    assert found["transformer.decoder.layers.0.cross_attn.sampling_offsets.bias"] == 5e-3
    assert found["track_embed.linear1.weight"] == 1e-2
    assert any(note.startswith("group new: 5 tensors, 1,552") for note in parts.notes)


def test_settings_without_effect_are_told(tmp_path: Path) -> None:
    path = tmp_path / "person.safetensors"
    saved(path)
    asked = config(
        model__pretrained=path,
        freeze__strategy="moderate",
        epochs=3,
        runner__schedule__milestones=(2, 3),
    )
    told = list(rate_notes(start(asked, EIGHT), asked))
    assert "lr.backbone has no effect" in told[0]
    assert "never falls at 3, there are 3 epochs" in told[1]
    assert len(told) == 2
    quiet = config(epochs=5)
    assert not list(rate_notes(start(quiet, EIGHT), quiet))
    warming = config(learning__head_warmup_steps=5)
    assert "nothing of the network is new" in next(rate_notes(start(warming, EIGHT), warming))


def test_what_trains_in_percent(tmp_path: Path) -> None:
    path = tmp_path / "eight.safetensors"
    network = saved(path, EIGHT)
    asked = config(
        model__pretrained=path, model__proposal_class="ignore", freeze__strategy="moderate"
    )
    begun = start(asked, EIGHT)
    found = summary(begun)
    numbers = sum(one.numel() for one in network.parameters())
    assert found["total"]["numbers"] == numbers
    assert found["trainable"]["numbers"] + found["frozen"]["numbers"] == numbers
    assert found["trainable"]["tensors"] == 1 + 18 + 4
    assert summary_line(begun, "moderate").endswith(f"total {numbers:,}; 23 of 125 tensors train")
