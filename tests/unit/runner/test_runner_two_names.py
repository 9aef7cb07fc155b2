"""A module that is held in two places: its tensors have two names and are one."""

from pathlib import Path

import pytest
import torch
from torch import nn

from backend.nn.finetune.weights import distinct, load_weights, save_weights
from backend.runner.ema import Ema


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    shared = nn.Linear(2, 2)
    return nn.ModuleDict({"first": shared, "second": shared, "other": nn.Linear(2, 2)})


def test_a_tensor_is_found_under_its_first_name(network: nn.Module) -> None:
    assert list(distinct(network.state_dict())) == [
        *("first.weight", "first.bias", "other.weight", "other.bias"),
    ]
    nothing = {"a": torch.empty(0), "b": torch.empty(0)}
    assert list(distinct(nothing)) == ["a", "b"]
    row = torch.ones(3)
    assert list(distinct({"whole": row, "part": row[:2]})) == ["whole", "part"]


def test_it_is_averaged_once(network: nn.Module) -> None:
    ema = Ema(network, 0.5)
    before = network["other"].weight.detach().clone()  # type: ignore[index]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    ema.update(network)
    moved = {
        name: one - network.state_dict()[name] for name, one in ema.module.state_dict().items()
    }
    assert torch.allclose(before + 1 - 0.1, ema.module.state_dict()["other.weight"])
    assert all(torch.allclose(one, torch.full_like(one, -0.1)) for one in moved.values())


def test_it_is_saved_once(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_weights(path, network.state_dict(), {})
    assert set(load_weights(path)[0]) == {
        *("first.weight", "first.bias", "other.weight", "other.bias"),
    }
