import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from backend.core.errors import ConfigError
from backend.nn.finetune.groups import rates
from backend.runner.config import OptimizerConfig
from backend.runner.groups import build_optimizer, undecayed


class FrozenRMSNorm(nn.Module):
    """A norm of someone's own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.words = nn.Embedding(4, 3)
        self.own = FrozenRMSNorm()
        self.attention = nn.MultiheadAttention(4, 2)
        self.position = nn.Parameter(torch.zeros(2, 3))
        self.head = nn.Linear(3, 2)

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": self.head(batch).sum()}


def part(name: str) -> str:
    return "new" if name.startswith("head") else "pretrained"


def named(optimizer: torch.optim.Optimizer, net: nn.Module) -> dict[str, tuple[float, float, str]]:
    names = {parameter: name for name, parameter in net.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"], group["part"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


CONFIG = OptimizerConfig(lr={"pretrained": 1e-5, "new": 1e-3}, weight_decay=0.05)


def test_each_group_has_its_rate_and_exceptions_do_not_decay() -> None:
    net = Net()
    found = named(build_optimizer(net, CONFIG, part), net)
    assert found["head.weight"] == (1e-3, 0.05, "new")
    assert found["head.bias"] == (1e-3, 0.0, "new")
    assert found["backbone.0.weight"] == (1e-5, 0.05, "pretrained")
    assert found["position"][1] == 0.05
    spared = {name for name, (_, decay, _) in found.items() if decay == 0}
    assert spared == {
        "backbone.0.bias", "backbone.1.weight", "backbone.1.bias", "words.weight", "own.scale",
        "attention.in_proj_bias", "attention.out_proj.bias", "head.bias",
    }  # fmt: skip
    assert found.keys() == {name for name, _ in net.named_parameters()}


def test_exceptions_are_chosen_by_kind_and_by_name() -> None:
    config = CONFIG.model_copy(update={"no_decay": ("norm",), "no_decay_names": ("pos*",)})
    assert undecayed(Net(), config) == {
        "backbone.1.weight", "backbone.1.bias", "own.scale", "position",
    }  # fmt: skip


def test_a_name_that_matches_nothing_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"no parameter is called 'pso\*'"):
        undecayed(Net(), CONFIG.model_copy(update={"no_decay_names": ("pso*",)}))


def test_rates_are_told_by_group_and_can_fall_with_depth() -> None:
    net = Net()
    scale = {"backbone.0.weight": 0.5}
    optimizer = build_optimizer(net, CONFIG, part, lambda name: scale.get(name, 1.0))
    assert named(optimizer, net)["backbone.0.weight"][0] == 5e-6
    assert rates(optimizer) == {"pretrained": 1e-5, "new": 1e-3}


def test_frozen_parameters_stay_out() -> None:
    net = Net()
    net.backbone.requires_grad_(False)
    found = named(build_optimizer(net, CONFIG, part), net)
    assert not any(name.startswith("backbone") for name in found)
    net.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing would train"):
        build_optimizer(net, CONFIG, part)


def test_a_group_without_a_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no rate for the group 'other' .*pretrained, new"):
        build_optimizer(Net(), CONFIG, lambda name: "other")


def test_sgd_has_its_momentum() -> None:
    config = OptimizerConfig(name="SGD", momentum=0.8)
    optimizer = build_optimizer(Net(), config, lambda name: "all")
    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.8}


def test_a_rate_of_zero_is_for_what_is_frozen() -> None:
    """As published recipes write a frozen backbone; one that trains would never move."""
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    config = OptimizerConfig.model_validate({"lr": {"body": 0, "head": 1e-3}})
    by_part = lambda name: name.partition(".")[0]  # noqa: E731
    with pytest.raises(ConfigError, match=r"optimizer\.lr\.body is 0, but body\.weight trains"):
        build_optimizer(model, config, by_part)
    model["body"].requires_grad_(False)
    assert {group["part"] for group in build_optimizer(model, config, by_part).param_groups} == {
        "head"
    }
    with pytest.raises(ValidationError, match="nothing would be learnt"):
        OptimizerConfig.model_validate({"lr": {"all": 0}})
