import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.runner.config import RunnerConfig
from backend.runner.module import Trainable
from backend.runner.optimization import Optimization

CPU = torch.device("cpu")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
        self.dtypes: list[torch.dtype] = []

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        out = self.layers(batch)
        self.dtypes.append(out.dtype)
        return {"square_loss": (out.float() - batch.sum(1, keepdim=True)).square().mean()}


def data(count: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(4, 5, generator=generator) for _ in range(count)]


def train(windows: list[list[Tensor]], **config: Any) -> tuple[Net, Optimization]:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    optimization = Optimization(optimizer, RunnerConfig(**config), CPU)
    wrapped = Trainable(net)
    for window in windows:
        optimization.begin(len(window))
        for batch in window:
            wrapped.train_step(batch, optimization)
    return net, optimization


def same(one: nn.Module, other: nn.Module, tolerance: float) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=tolerance, rtol=0) for a, b in pairs)


def test_accumulation_equals_the_large_batch_also_in_a_shorter_window() -> None:
    batches = data(7)
    windows = [batches[:3], batches[3:6], batches[6:]]
    small, _ = train(windows)
    large, _ = train([[torch.cat(window)] for window in windows])
    assert same(small, large, 1e-6)
    lost, _ = train(windows[:2])
    assert not same(small, lost, 1e-3), "the last batch counts"


def test_processes_speak_once_in_a_window() -> None:
    class Shared(Trainable):
        silent = 0

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            self.silent += 1
            yield

    wrapped = Shared(Net())
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1)
    optimization = Optimization(optimizer, RunnerConfig(), CPU)
    for window in (3, 1):
        optimization.begin(window)
        for batch in data(window):
            wrapped.train_step(batch, optimization)
    assert wrapped.silent == 2


def test_clipping_is_of_the_whole_windows_gradient() -> None:
    windows = [data(3)]
    net, optimization = train(windows, clip=0.01)
    expected = Net()
    loss = torch.stack([expected.loss(batch)["square_loss"] for batch in windows[0]]).mean()
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in expected.parameters()]).norm()  # type: ignore[union-attr]
    assert optimization.norm is not None
    assert float(optimization.norm) == pytest.approx(float(norm), rel=1e-5)
    assert not optimization.clipped, "nobody looks on who would empty it"
    with torch.no_grad():
        for parameter in expected.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad * 0.01 / norm
    assert same(net, expected, 1e-6)


def test_bfloat16_runs_the_forward_pass_and_keeps_the_weights_whole() -> None:
    net, _ = train([data(2)], amp="bfloat16")
    assert set(net.dtypes) == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    whole, _ = train([data(2)])
    assert same(net, whole, 1e-2)
    assert not same(net, whole, 0)


def test_float16_scales_skips_an_overflow_and_continues_exactly() -> None:
    net, optimization = train([data(2)], amp="float16", clip=1.0)
    before = copy.deepcopy(net)
    scale = optimization.state_dict()["scaler"]["scale"]
    optimization.begin(1)
    Trainable(net).train_step(data(1)[0] * 1e30, optimization)
    assert same(net, before, 0)
    state = optimization.state_dict()
    assert state["scaler"]["scale"] == scale / 2
    _, other = train([data(1)], amp="float16")
    other.load_state_dict(state)
    assert other.state_dict()["scaler"] == state["scaler"]
