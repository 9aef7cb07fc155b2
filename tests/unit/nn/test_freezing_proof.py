"""Freezing by name, and noticing what must not change."""

import copy

import pytest
import torch
from torch import nn

from backend.core.errors import ConfigError
from backend.nn.finetune.freezing import Snapshot, covering_modules, statistics


class Owner(nn.Module):
    """A module with a parameter of its own beside a child."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.child = nn.Linear(2, 2)


def network() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    return nn.Sequential(block, nn.Conv2d(4, 2, 1), Owner())


def names(model: nn.Module, *prefixes: str) -> set[str]:
    return {name for name, _ in model.named_parameters() if name.startswith(prefixes)}


def test_the_fewest_modules_cover_what_is_frozen() -> None:
    model = network()
    assert covering_modules(model, names(model, "0.")) == ("0",)
    assert covering_modules(model, names(model, "0.0.", "1.")) == ("0.0", "1")
    assert covering_modules(model, names(model, "2.child.")) == ("2.child",)
    assert covering_modules(model, set()) == ()


def test_a_single_parameter_of_a_mixed_module_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"2\.scale"):
        covering_modules(network(), {"2.scale"})


def test_statistics_are_those_of_frozen_batch_norms() -> None:
    model = network()
    assert set(statistics(model, names(model, "0."))) == {
        "0.1.running_mean",
        "0.1.running_var",
        "0.1.num_batches_tracked",
    }
    assert statistics(model, names(model, "0.0.", "1.")) == ()


def test_an_untouched_model_violates_nothing_and_has_changed_nothing() -> None:
    model = network()
    before = Snapshot(model, names(model, "0."))
    assert before.violations({"model": model, "ema": copy.deepcopy(model)}) == ()
    assert before.changed(model) == ()


def test_the_last_bit_is_noticed_and_the_model_named() -> None:
    model = network()
    before = Snapshot(model, names(model, "0."))
    other = copy.deepcopy(model)
    weight = other[0][0].weight
    with torch.no_grad():
        weight[0] = torch.nextafter(weight[0], torch.full_like(weight[0], 9.0))
    assert before.violations({"model": model, "ema": other}) == ("0.0.weight (ema)",)


def test_minus_zero_is_not_zero() -> None:
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.bias)
    before = Snapshot(model, {"bias"})
    with torch.no_grad():
        model.bias.neg_()
    assert before.violations({"model": model}) == ("bias (model)",)


def test_running_statistics_count() -> None:
    model = network()
    before = Snapshot(model, names(model, "0."))
    model.train()
    model[0](torch.randn(2, 3, 2, 2))
    assert before.violations({"model": model}) == (
        "0.1.num_batches_tracked (model)",
        "0.1.running_mean (model)",
        "0.1.running_var (model)",
    )


def test_changed_counts_trainable_tensors_only() -> None:
    model = network()
    before = Snapshot(model, names(model, "0."))
    with torch.no_grad():
        model[1].bias.add_(1)
        model[0][0].bias.add_(1)
    assert before.changed(model) == ("1.bias",)
