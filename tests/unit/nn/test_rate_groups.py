"""Learning rates by part and depth."""

import pytest
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from backend.nn.finetune.groups import rates, regroup


def optimizer(model: nn.Module) -> AdamW:
    weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
    return AdamW(
        [
            {"params": weights, "weight_decay": 0.1, "param_group": "weight"},
            {"params": biases, "weight_decay": 0.0, "param_group": "bias"},
        ],
        lr=0.01,
    )


def place(name: str) -> tuple[str, float]:
    index = int(name.partition(".")[0])
    return ("late" if index else "early"), 0.5 ** (2 - index)


@pytest.fixture
def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))


@pytest.fixture
def regrouped(model: nn.Sequential) -> AdamW:
    made = optimizer(model)
    regroup(made, {p: n for n, p in model.named_parameters()}, place)
    return made


def test_every_parameter_is_in_one_group_with_its_rate(
    model: nn.Sequential, regrouped: AdamW
) -> None:
    found = {id(p): group["lr"] for group in regrouped.param_groups for p in group["params"]}
    assert len(found) == sum(len(g["params"]) for g in regrouped.param_groups) == 6
    for name, parameter in model.named_parameters():
        assert found[id(parameter)] == pytest.approx(0.01 * place(name)[1])


def test_decay_and_kind_of_a_group_stay(regrouped: AdamW) -> None:
    for group in regrouped.param_groups:
        assert group["weight_decay"] == (0.1 if group["param_group"] == "weight" else 0.0)


def test_a_scheduler_keeps_the_ratios(regrouped: AdamW) -> None:
    scheduler = LambdaLR(regrouped, lambda epoch: 1 / (1 + epoch))
    for _ in range(3):
        regrouped.step()
        scheduler.step()
    ratios = {group["lr"] / group["scale"] for group in regrouped.param_groups}
    assert max(ratios) == pytest.approx(min(ratios))


def test_rates_give_the_highest_of_each_part(regrouped: AdamW) -> None:
    assert rates(regrouped) == pytest.approx({"early": 0.0025, "late": 0.01})


def test_one_step_moves_deep_layers_further(model: nn.Sequential, regrouped: AdamW) -> None:
    before = [layer.weight.detach().clone() for layer in model]
    model(torch.ones(1, 2)).sum().backward()
    regrouped.step()
    moved = [
        float((a.weight.detach() - b).abs().max()) for a, b in zip(model, before, strict=True)
    ]
    assert moved[0] < moved[1] < moved[2]
