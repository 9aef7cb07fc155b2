"""What trains, and at which of the three rates: by what was really loaded, never by name."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.core.errors import ConfigError
from backend.runner.groups import build_optimizer, undecayed
from backend.runner.training import Parts
from backend.trainers.moe_rtdetr.data_notes import small_set_notes
from backend.trainers.moe_rtdetr.learner import Learner, make_learner
from backend.trainers.moe_rtdetr.model.weights import Loaded, load_pretrained
from backend.trainers.moe_rtdetr.parts import (
    FROZEN_PARTS,
    parts_of,
    rates_of,
    runner_of,
    weights_report,
)
from backend.trainers.moe_rtdetr.spec import STRATEGIES, MoeRtDetrConfig
from tests.support.rtdetr_sources import (
    config_of,
    detector,
    original_state,
    saved_checkpoint,
    saved_folder,
)

GATE = {"enabled": True, "dimensions": 256, "hidden": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_folder(detector(), tmp_path_factory.mktemp("made_up"))


def learner_of(config: MoeRtDetrConfig) -> Learner:
    torch.manual_seed(7)
    return make_learner(config.model, config.moe, config.language, config.classes)


def prepared(config: MoeRtDetrConfig) -> tuple[Learner, Loaded, Parts]:
    learner = learner_of(config)
    loaded = load_pretrained(learner.network, config, learner.language)
    return learner, loaded, parts_of(learner, config, loaded)


def rates(config: MoeRtDetrConfig) -> dict[str, float]:
    """Each parameter's rate in the optimizer that the Runner would build."""
    learner, _, parts = prepared(config)
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name not in parts.frozen)
    optimizer = build_optimizer(learner, runner_of(config).optimizer, parts.group_of)
    names = {parameter: name for name, parameter in learner.named_parameters()}
    return {
        names[parameter]: group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


def test_nothing_loaded_nothing_trains_at_the_pretrained_rate() -> None:
    config = config_of(pretrained_lr=3e-5, scratch_lr=2e-3)
    assert set(rates(config).values()) == {2e-3}
    learner, _, parts = prepared(config)
    count = len(list(learner.parameters()))
    values = sum(parameter.numel() for parameter in learner.parameters())
    assert parts.notes == (
        f"group scratch: {count} tensors, {values:,} parameters at scratch_lr 0.002",
        "no weights were loaded, so nothing trains at pretrained_lr",
    )


@pytest.mark.parametrize("experts", ["A", "C", "dense"])
def test_the_two_groups_are_what_came_and_what_did_not(folder: Path, experts: str) -> None:
    moe = {"experts": experts, "hidden": 32}
    config = config_of(folder, moe=moe, pretrained_lr=3e-5, new_lr=4e-4)
    learner, loaded, parts = prepared(config)
    by_rate = rates(config)
    assert by_rate.keys() == {name for name, _ in learner.named_parameters()}
    assert {name for name, rate in by_rate.items() if rate == 3e-5} == (
        by_rate.keys() & loaded.names
    )
    new = {name for name, rate in by_rate.items() if rate == 4e-4}
    assert new == by_rate.keys() - loaded.names
    assert all(".router." in name or ".tokens." in name for name in new)
    sizes = {name: parameter.numel() for name, parameter in learner.named_parameters()}
    assert parts.notes == tuple(
        f"group {group}: {len(names)} tensors, {sum(sizes[n] for n in names):,} parameters at "
        f"{group}_lr {rate}"
        for group, names, rate in (
            ("pretrained", sizes.keys() - new, "3e-05"),
            ("new", new, "0.0004"),
        )
    )


def test_the_report_names_each_parameter_once(folder: Path) -> None:
    config = config_of(folder)
    learner, loaded, _ = prepared(config)
    report: dict[str, Any] = json.loads(json.dumps(weights_report(learner, config, loaded)))
    names = [name for name, _ in learner.named_parameters()]
    pretrained, new = (report["groups"][group] for group in ("pretrained", "new"))
    assert pretrained == {"lr": 1e-5, "parameters": [n for n in names if n in loaded.names]}
    assert new == {"lr": 1e-4, "parameters": [n for n in names if n not in loaded.names]}
    assert report["source"] == loaded.source
    assert report["classes"][0] == "car from car (2)"


def test_a_head_copied_from_the_dense_head_was_loaded(folder: Path) -> None:
    _, _, parts = prepared(config_of(folder))
    assert parts.group_of("network.class_embed.0.weight") == "pretrained"
    assert parts.group_of("network.detector.decoder.bbox_embed.1.router.weight") == "new"


def test_class_outputs_of_other_classes_are_new(folder: Path) -> None:
    moe = {"experts": "dense", "hidden": 32}
    by_rate = rates(config_of(folder, classes=("tram",), moe=moe))
    new = {name for name, rate in by_rate.items() if rate == 1e-4}
    outputs = ("class_embed", "enc_score_head", "denoising")
    assert new == {
        name for name in by_rate if ".tokens." in name or any(part in name for part in outputs)
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies(folder: Path, strategy: str) -> None:
    _, loaded, parts = prepared(config_of(folder, freeze={"strategy": strategy}))
    learner = learner_of(config_of())
    for name, _ in learner.named_parameters():
        frozen = parts.part_of(name) in FROZEN_PARTS[strategy]
        if strategy == "head-only":
            head = ".bbox_embed." in name or "class_embed" in name or ".enc_" in name
            frozen = not head or "enc_output" in name
        assert (name in parts.frozen) == frozen, name
    assert (parts.frozen == frozenset()) == (strategy == "full")
    assert any("never adds anything" in n for n in parts.notes) == (strategy == "head-only")
    assert loaded.names


def test_each_strategy_freezes_more_than_the_one_before(folder: Path) -> None:
    counts = [
        len(prepared(config_of(folder, freeze={"strategy": strategy}))[2].frozen)
        for strategy in STRATEGIES
    ]
    assert counts == sorted(set(counts))


def test_what_did_not_come_is_trained_in_a_frozen_part(tmp_path: Path) -> None:
    state = original_state(detector())
    for name in [name for name in state if name.startswith("encoder.input_proj.")]:
        del state[name]
    torch.save({"model": state}, tmp_path / "part.pth")
    config = config_of(tmp_path / "part.pth", freeze={"strategy": "backbone+encoder"})
    _, _, parts = prepared(config)
    kept = "network.detector.encoder_input_proj.0.0.weight"
    assert kept not in parts.frozen
    assert "network.detector.encoder.fpn_blocks.0.conv1.conv.weight" in parts.frozen
    assert parts.group_of(kept) == "new"
    assert parts.notes[0].startswith(
        "backbone+encoder would freeze 9 parameters that did not come with the weights; they "
        f"train all the same: {kept}, "
    )


def test_without_weights_the_strategy_is_followed_and_it_is_told() -> None:
    _, _, parts = prepared(config_of(freeze={"strategy": "backbone"}))
    assert parts.frozen
    assert parts.notes[0] == (
        f"backbone freezes {len(parts.frozen)} parameters at random values: nothing was loaded"
    )


def test_the_language_gate(tmp_path: Path) -> None:
    path = tmp_path / "stage1.safetensors"
    saved_checkpoint(path, config_of())
    config = config_of(path, language=GATE | {"lr": 5e-3}, freeze={"strategy": "head-only"})
    by_rate = rates(config)
    assert {rate for name, rate in by_rate.items() if name.startswith("language.")} == {5e-3}
    assert any(name.startswith("network.") for name in by_rate)
    alone = config_of(path, language=GATE | {"freeze_stage1": True})
    learner, _, parts = prepared(alone)
    trained = {name for name, _ in learner.named_parameters()} - parts.frozen
    assert trained == {name for name in rates(alone) if name.startswith("language.")}
    assert {parts.part_of(name) for name in trained} == {"language"}
    assert len(parts.notes) == 1
    assert parts.notes[0].startswith(f"group language: {len(trained)} tensors, ")


def test_norms_biases_and_routers_do_not_decay() -> None:
    config = config_of()
    learner = learner_of(config)
    spared = undecayed(learner, runner_of(config).optimizer)
    for name, parameter in learner.named_parameters():
        free = ".router." in name or "bias" in name or "norm" in name
        free = free or parameter.ndim == 1 or "denoising_class_embed" in name
        assert (name in spared) == free, name
    dense = config_of(moe={"experts": "dense", "hidden": 32})
    undecayed(learner_of(dense), runner_of(dense).optimizer)


def test_the_runner_keeps_all_else() -> None:
    optimizer = {"weight_decay": 0.05, "no_decay_names": ["*.router.weight", "network.tokens.*"]}
    config = config_of(runner={"batch": 3, "optimizer": optimizer}, new_lr=2e-4)
    runner = runner_of(config)
    assert runner.optimizer.lr == rates_of(config)
    assert runner.optimizer.lr == {
        **{"pretrained": 1e-5, "new": 2e-4, "scratch": 1e-3, "language": 3e-3}
    }
    assert runner.optimizer.no_decay_names == ("*.router.weight", "network.tokens.*")
    assert math.isclose(runner.optimizer.weight_decay, 0.05)
    assert runner.batch == 3


def test_a_small_set_without_weights_is_warned_of(folder: Path) -> None:
    none, some = Loaded(), Loaded(names=frozenset({"network.class_embed.0.weight"}))
    assert "there are 600 training images" in small_set_notes(none, 600)[0]
    assert small_set_notes(some, 600) == ()
    assert small_set_notes(none, 118_000) == ()


def test_nothing_left_to_train_is_refused(folder: Path) -> None:
    learner, loaded, _ = prepared(config_of(folder))
    config = config_of(folder, freeze={"strategy": "backbone"})
    with pytest.raises(ConfigError, match=r"freeze\.strategy 'backbone' leaves nothing to train"):
        parts_of(torch.nn.ModuleDict({"network": OnlyBackbone(learner)}), config, loaded)


class OnlyBackbone(torch.nn.Module):
    """The backbone under its name in the learner."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.detector = torch.nn.ModuleDict({"backbone": learner.network.detector.backbone})
