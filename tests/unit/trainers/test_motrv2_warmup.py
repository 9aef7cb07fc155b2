"""At first only what is new trains, and nothing else moves by a bit."""

import copy

import pytest
import torch
from torch import nn

from backend.runner.training import Point
from backend.trainers.motrv2.warmup import Warmup


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))


@pytest.mark.parametrize(
    ("asked", "new", "steps", "epochs", "expected"),
    [
        (None, ("1.bias",), 40, 4, 10),
        (None, ("1.bias",), 4000, 4, 500),
        (None, ("1.bias",), 40, 1, 20),
        (7, ("1.bias",), 40, 4, 7),
        (0, ("1.bias",), 40, 4, 0),
        (7, (), 40, 4, 0),
    ],
)
def test_how_long(
    asked: int | None, new: tuple[str, ...], steps: int, epochs: int, expected: int
) -> None:
    assert Warmup(network(), new, asked).steps(Point(0, steps, 1, epochs)) == expected


def trained(model: nn.Sequential, first: int, last: int) -> torch.optim.Optimizer:
    watch = Warmup(model, ("1.weight", "1.bias"), 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    watch.began(optimizer)
    for step in range(first, last):
        watch.stepping(Point(step, 6, 1, 1))
        optimizer.zero_grad()
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
    return optimizer


def test_the_rest_has_no_gradient_no_decay_and_no_momentum() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer = trained(model, 0, 2)
    after = model.state_dict()
    assert {name for name in before if torch.equal(before[name], after[name])} == {
        "0.weight", "0.bias",
    }  # fmt: skip
    assert len(optimizer.state) == 2


def test_after_the_warm_up_everything_trains() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    trained(model, 2, 3)
    assert not any(torch.equal(before[name], one) for name, one in model.state_dict().items())
