"""Training: frozen stays frozen to the bit, nothing depends on chance, precision or averaging."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.nn.finetune.freezing import Snapshot
from backend.runner.config import OptimizerConfig
from backend.runner.ema import Ema
from backend.runner.groups import build_optimizer
from backend.runner.module import train_mode
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.selection import Mode, adapter_of, apply, group_of, select
from tests.support.adatad_windows import batch, network, window

OPTIMIZER = OptimizerConfig.model_validate(
    {"lr": {"backbone": 1e-4, "adapter": 2e-3, "detector": 1e-3}, "weight_decay": 0.05}
)


def learner(mode: Mode, last: int = 0, seed: int = 0) -> tuple[AdaTad, Any]:
    model = network(
        seed, adapter=adapter_of(mode), layers=3, drop_path=0.1, detector_drop_path=0.1
    )
    apply(model, select(model, mode, last))
    return model, build_optimizer(model, OPTIMIZER, group_of)


def step(model: AdaTad, optimizer: Any, seed: int) -> float:
    train_mode(model)
    torch.manual_seed(seed)
    given = batch(window(seed=seed % 3), window(valid=21, seed=3 + seed % 3))
    losses = model.loss(given)
    total: Tensor = losses["cls_loss"] + losses["reg_loss"]
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total.item()


@pytest.mark.parametrize(
    ("mode", "last", "steps"),
    [
        ("adapter", 0, 50),
        ("plain-adapter", 0, 5),
        ("head-only", 0, 5),
        ("last-layers", 1, 5),
        ("full", 0, 5),
    ],
)
def test_what_is_frozen_stays_to_the_bit(mode: Mode, last: int, steps: int) -> None:
    model, optimizer = learner(mode, last)
    selection = select(model, mode, last)
    before = Snapshot(model, selection.frozen)
    for seed in range(steps):
        step(model, optimizer, seed)
    assert before.thawed(model) == ()
    assert set(before.changed(model)) == selection.trainable
    parameters = dict(model.named_parameters())
    assert all(parameters[name].grad is None for name in selection.frozen)
    in_optimizer = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert in_optimizer == {id(parameters[name]) for name in selection.trainable}
    assert {id(one) for one in optimizer.state} == in_optimizer
    assert any(name.startswith("backbone.") for name in selection.frozen) == (mode != "full")


def test_it_learns_where_the_actions_are() -> None:
    model, optimizer = learner("adapter")
    known = batch(window(seed=0), window(valid=21, seed=3))
    before = model.eval().loss(known)
    for _ in range(60):
        step(model, optimizer, seed=0)
    after = model.eval().loss(known)
    for name in ("cls_loss", "reg_loss"):
        assert after[name] < 0.7 * before[name]


def test_the_same_seed_gives_the_same_bits() -> None:
    ends = []
    for _ in range(2):
        model, optimizer = learner("adapter", seed=7)
        for seed in range(5):
            step(model, optimizer, seed)
        ends.append(model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_training_goes_on_from_a_state_as_if_unbroken() -> None:
    """Weights with the running normaliser, and the optimizer's state, are all there is."""
    model, optimizer = learner("adapter")
    for seed in range(4):
        step(model, optimizer, seed)
    again, other = learner("adapter", seed=9)
    again.load_state_dict(copy.deepcopy(model.state_dict()))
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(4, 8):
        assert step(model, optimizer, seed) == step(again, other, seed)
    here, there = model.state_dict(), again.state_dict()
    assert all(torch.equal(here[name], there[name]) for name in here)


def test_averaged_weights_keep_the_frozen_bits_and_follow_the_others() -> None:
    model, optimizer = learner("adapter")
    selection = select(model, "adapter")
    average, given = Ema(model, momentum=0.001), batch()
    start = Snapshot(model, selection.frozen)
    by_hand = {name: one.detach().clone() for name, one in model.named_parameters()}
    for seed in range(6):
        step(model, optimizer, seed)
        weight = average.weight()
        average.update(model)
        for name, one in model.named_parameters():
            by_hand[name] += weight * (one.detach() - by_hand[name])
    assert start.thawed(average.module) == ()
    for name, one in average.module.named_parameters():
        torch.testing.assert_close(one, by_hand[name], atol=1e-6, rtol=1e-5)
    model.eval()
    model.load_state_dict(average.module.state_dict())
    with torch.no_grad():
        live = model(given.frames, given.valid)
        averaged = average.module(given.frames, given.valid)
    assert torch.equal(live.logits, averaged.logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_changes_little(dtype: torch.dtype) -> None:
    model, optimizer = learner("adapter")
    for seed in range(20):
        step(model, optimizer, seed)
    model.eval()
    given = batch()
    with torch.no_grad():
        whole = model(given.frames, given.valid)
        losses = model.loss(given)
        with torch.autocast("cpu", dtype):
            half = model(given.frames, given.valid)
            other = model.loss(given)
    assert half.logits.dtype == half.offsets.dtype == torch.float32
    torch.testing.assert_close(half.logits, whole.logits, atol=0.1, rtol=0.05)
    assert not torch.equal(half.logits, whole.logits)
    for name, value in losses.items():
        assert other[name].dtype == torch.float32
        torch.testing.assert_close(other[name], value, atol=0.01, rtol=0.05)
