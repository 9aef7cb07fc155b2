"""Freezing plans by exact name, and what really stays still."""

import pytest
import torch
from torch import nn

from backend.core.errors import ConfigError
from backend.nn.finetune.freezing import Snapshot
from backend.runner.groups import build_optimizer
from backend.runner.module import train_mode
from backend.trainers.mdfed.learner import Learner
from backend.trainers.mdfed.losses import Criterion
from backend.trainers.mdfed.model.network import build_network
from backend.trainers.mdfed.parts import FROZEN_PARTS, part_of, parts_of
from backend.trainers.mdfed.spec import STRATEGIES, LossConfig, MdFedConfig
from tests.support.mdfed_batches import made_batch, mdfed_config

ORDER = ["encoder", "temporal", "lcl", "mlc", "ctx"]


def config_of(strategy: str, **more: object) -> MdFedConfig:
    model = {"preset": "tiny", "context": True}
    return mdfed_config(model=model, freeze={"strategy": strategy}, **more)


def learner_of(config: MdFedConfig) -> Learner:
    torch.manual_seed(0)
    return Learner(build_network(config, elements=4), Criterion(LossConfig(), torch.ones(4)))


def test_every_strategy_has_a_plan_and_every_parameter_a_part() -> None:
    assert set(FROZEN_PARTS) == set(STRATEGIES)
    names = [name for name, _ in learner_of(config_of("full")).named_parameters()]
    assert list(dict.fromkeys(map(part_of, names))) == ORDER, "parts come in network order"


@pytest.mark.parametrize(
    ("strategy", "trained"),
    [
        ("full", ORDER),
        ("encoder", ["temporal", "lcl", "mlc", "ctx"]),
        ("encoder+gru", ["lcl", "mlc", "ctx"]),
        ("all-but-mlc", ["mlc"]),
    ],
)
def test_what_is_frozen_stays_to_the_bit_with_its_buffers(
    strategy: str, trained: list[str]
) -> None:
    """Trained as the Runner does, dropout and batch norms included."""
    config = config_of(strategy)
    learner = learner_of(config)
    parts = parts_of(learner, config)
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name not in parts.frozen)
    named = {part_of(n) for n, p in learner.named_parameters() if p.requires_grad}
    assert named == set(trained)
    before = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    snapshot = Snapshot(learner, parts.frozen)
    optimizer = build_optimizer(learner, config.runner.optimizer, parts.group_of)
    train_mode(learner)
    for seed in range(8):
        optimizer.zero_grad()
        learner.loss(made_batch(seed=seed))["loss"].backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = 1e-2
        optimizer.step()
    assert snapshot.violations({"live": learner}) == ()
    for name, tensor in learner.state_dict().items():
        if part_of(name) not in trained:
            assert torch.equal(tensor, before[name]), name
    moved = {part_of(name) for name in snapshot.changed(learner)}
    assert moved == set(trained)
    dropout = learner.network.temporal.dropout
    assert dropout.training is ("temporal" in trained)


def test_a_teacher_never_trains_nor_do_heads_without_a_loss() -> None:
    """Stage 2: the network learns from a teacher beside it."""
    config = config_of("full").model_copy(update={"stage": 2})
    learner = learner_of(config_of("full"))
    learner.add_module("teacher", learner_of(config_of("full")).network)
    parts = parts_of(learner, config)
    trained = {n for n, _ in learner.named_parameters()} - parts.frozen
    assert {part_of(name) for name in trained} == {"encoder", "temporal"}
    for name, parameter in learner.named_parameters():
        parameter.requires_grad_(name not in parts.frozen)
    train_mode(learner)
    teacher = learner.get_submodule("teacher")
    assert not any(module.training for module in teacher.modules())
    assert learner.network.encoder.training


def test_freezing_random_weights_is_said_and_freezing_all_refused() -> None:
    config = config_of("encoder+gru")
    (note,) = parts_of(learner_of(config), config).notes
    assert "at random values" in note
    loaded = config.model_copy(
        update={"model": config.model.model_copy(update={"pretrained": "stage1.safetensors"})}
    )
    assert parts_of(learner_of(config), loaded).notes == ()
    assert parts_of(learner_of(config), config_of("full")).notes == ()
    silent = config_of("all-but-mlc", loss={"mlc": 0})
    with pytest.raises(ConfigError, match=r"loss\.mlc is 0"):
        parts_of(learner_of(silent), silent)


def test_parts_know_modules_that_are_not_theirs() -> None:
    assert part_of("teacher.encoder.read.weight") == "teacher"
    assert isinstance(learner_of(config_of("full")), nn.Module)
