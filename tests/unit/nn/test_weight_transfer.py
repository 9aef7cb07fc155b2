"""Carrying weights into another model."""

import torch
from torch import nn

from backend.nn.finetune.transfer import transfer


def network(outputs: int, extra: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(3, 4), nn.Linear(4, outputs)]
    return nn.Sequential(*layers, *([nn.Linear(outputs, 1)] if extra else []))


def test_equal_models_transfer_whole() -> None:
    source, target = network(2), network(2)
    report = transfer(target, source.state_dict())
    assert report.fresh == ()
    assert len(report.loaded) == 4
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name])


def test_what_does_not_fit_is_named_and_left_alone() -> None:
    source, target = network(2, extra=True), network(5)
    before = target[1].weight.clone()
    report = transfer(target, source.state_dict())
    assert report.loaded == ("0.bias", "0.weight")
    assert report.mismatched == ("1.bias", "1.weight")
    assert report.unexpected == ("2.bias", "2.weight")
    assert torch.equal(target[1].weight, before)


def test_what_the_source_lacks_is_missing() -> None:
    report = transfer(network(2, extra=True), network(2).state_dict())
    assert report.missing == report.fresh == ("2.bias", "2.weight")


def test_rows_move_with_their_class() -> None:
    source, target = network(2), network(3)
    before = target[1].weight.clone()
    rows = {"1.weight": [1, None, 0], "1.bias": [1, None, 0]}
    report = transfer(target, source.state_dict(), rows)
    assert torch.equal(target[1].weight[0], source[1].weight[1])
    assert torch.equal(target[1].weight[1], before[1])
    assert torch.equal(target[1].weight[2], source[1].weight[0])
    assert report.partial == report.fresh == ("1.bias", "1.weight")


def test_rows_that_all_have_a_source_are_loaded() -> None:
    source, target = network(2), network(2)
    report = transfer(target, source.state_dict(), {"1.weight": [1, 0], "1.bias": [1, 0]})
    assert report.fresh == ()
    assert torch.equal(target[1].bias, source[1].bias.flip(0))


def test_the_source_is_not_changed() -> None:
    source, target = network(2), network(2)
    transfer(target, source.state_dict())
    with torch.no_grad():
        target[0].weight.zero_()
    assert source[0].weight.abs().sum() > 0
