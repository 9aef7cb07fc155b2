import copy

import pytest
import torch
from torch import Tensor, nn

from backend.core.errors import ConfigError
from backend.runner.config import RunnerConfig
from backend.runner.ema import Ema
from backend.runner.module import Trainable, recompute, train_mode
from backend.runner.optimization import Optimization


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Linear(4, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(2)
        )
        self.seen = 0

    def forward(self, batch: Tensor) -> Tensor:
        out = self.stem(batch)
        for block in self.blocks:
            out = block(out).relu()
        return out


def gradients(net: Net) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(3)
    loss = net(torch.randn(6, 4)).square().sum()
    loss.backward()
    return loss, {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def test_activation_checkpointing_changes_nothing_but_memory() -> None:
    plain, thrifty = Net(), Net()
    recompute(thrifty, ["blocks.*"])
    calls: list[int] = []
    thrifty.blocks[0][0].register_forward_hook(lambda *_: calls.append(1))
    (loss, grads), (other, others) = gradients(plain), gradients(thrifty)
    assert len(calls) == 2, "computed again in the backward pass"
    assert torch.equal(loss, other)
    assert grads.keys() == others.keys()
    assert all(torch.equal(grads[name], others[name]) for name in grads)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, thrifty.state_dict()[name]), f"{name}: taken twice"


def test_without_gradients_nothing_is_computed_again() -> None:
    net = Net().eval()
    recompute(net, ["blocks.0"])
    with torch.no_grad():
        assert torch.equal(net(torch.ones(2, 4)), Net().eval()(torch.ones(2, 4)))


def test_a_copy_computes_with_its_own_weights_and_mode() -> None:
    net = Net()
    recompute(net, ["blocks.*"])
    other = copy.deepcopy(net).eval()
    nn.init.zeros_(other.blocks[1][0].weight)
    nn.init.zeros_(other.blocks[1][0].bias)
    assert not other(torch.randn(6, 4)).any()


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no module is called 'encoder'"):
        recompute(Net(), ["encoder"])


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    net = Net()
    net.blocks[0].requires_grad_(False)
    before = copy.deepcopy(net.blocks[0].state_dict())
    train_mode(net)
    assert not any(module.training for module in net.blocks[0].modules())
    assert all(module.training for module in net.blocks[1].modules())
    net(torch.randn(6, 4))
    after = net.blocks[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_ema_is_its_formula_at_each_update() -> None:
    net = Net()
    ema = Ema(net, momentum=0.3)
    expected = net.stem.weight.detach().clone()
    statistic = net.blocks[0][1].running_mean.detach().clone()
    for update in range(40):
        with torch.no_grad():
            net.stem.weight += torch.randn_like(net.stem.weight)
        train_mode(net)
        net(torch.randn(6, 4))
        weight = max(0.3, 9 / (10 + update))
        assert ema.weight() == weight
        ema.update(net)
        expected = (1 - weight) * expected + weight * net.stem.weight.detach()
        statistic = (1 - weight) * statistic + weight * net.blocks[0][1].running_mean
    torch.testing.assert_close(ema.module.stem.weight, expected)
    torch.testing.assert_close(ema.module.blocks[0][1].running_mean, statistic)
    assert int(ema.module.blocks[0][1].num_batches_tracked) == 40
    assert not ema.module.training


def test_ema_leaves_frozen_tensors_to_the_bit() -> None:
    net = Net()
    with torch.no_grad():
        net.stem.weight.fill_(-0.0)
    ema = Ema(net, 0.1, still=["stem.weight"])
    ema.update(net)
    assert torch.signbit(ema.module.stem.weight).all()


class Losing(nn.Module):
    """Says the losses that it is given, times its only weight."""

    def __init__(self, **losses: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self._losses = losses

    def loss(self, batch: object) -> dict[str, Tensor]:
        return {name: self.weight * value for name, value in self._losses.items()}


def trained(**losses: float) -> tuple[dict[str, float], float]:
    """What one step logs, and the gradient that it trains on."""
    model = Losing(**losses)
    cpu = torch.device("cpu")
    optimization = Optimization(torch.optim.SGD(model.parameters()), RunnerConfig(), cpu)
    gradients: list[float] = []
    model.weight.register_hook(lambda gradient: gradients.append(float(gradient)))
    optimization.begin(1)
    logged = Trainable(model).train_step(None, optimization)
    return {name: float(value) for name, value in logged.items()}, gradients[0]


def test_parts_named_loss_are_summed_and_the_rest_is_logged() -> None:
    logged, gradient = trained(box_loss=2.0, loss_cls=3.0, accuracy=7.0)
    assert gradient == 5.0
    assert logged == {"box_loss": 2.0, "loss_cls": 3.0, "accuracy": 7.0, "loss": 5.0}


def test_an_entry_called_loss_is_trained_on_alone() -> None:
    logged, gradient = trained(loss=4.0, box_loss=2.0, expert_loss_0=1.0)
    assert gradient == 4.0
    assert logged == {"loss": 4.0, "box_loss": 2.0, "expert_loss_0": 1.0}


def test_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"losses \['accuracy'\]: name the sum 'loss'"):
        trained(accuracy=1.0)
