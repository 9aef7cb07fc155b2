import copy
import math

import pytest
import torch
from torch import Tensor, nn

from backend.nn.observing.gradients import GLOBAL, StepObserver
from backend.nn.observing.sampling import LIMIT, norms, sampled, scales


def first_word(name: str) -> str:
    return name.partition(".")[0]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Linear(4, 300)
        self.middle = nn.Linear(300, 300)
        self.head = nn.Linear(300, 2)
        self.spare = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.middle(self.encoder(x).tanh()).tanh())
        return out


def trained(net: Net, steps: int, every: int, momentum: float = 0.0) -> list[dict[str, float]]:
    """What is collected after each step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=momentum)
    observer = StepObserver(net, optimizer, first_word, every)
    found = []
    for step in range(1, steps + 1):
        observer.begin(step)
        optimizer.zero_grad()
        net(torch.full((8, 4), 0.1 * step)).square().mean().backward()
        observer.gradients()
        optimizer.step()
        found.append(observer.collect())
    return found


def test_norms_means_and_updates_are_those_of_a_literal_computation() -> None:
    net, twin = Net(), Net()
    before = copy.deepcopy(dict(net.named_parameters()))
    (found,) = trained(net, 1, 1)
    twin(torch.full((8, 4), 0.1)).square().mean().backward()
    for part in ("encoder", "middle", "head"):
        grads = torch.cat([p.grad.flatten() for p in getattr(twin, part).parameters()])
        moved = 0.1 * grads
        own = torch.cat([w.detach().flatten() for n, w in before.items() if first_word(n) == part])
        assert found[f"gradient/{part}/norm"] == pytest.approx(float(grads.norm()), rel=1e-5)
        assert found[f"gradient/{part}/mean_abs"] == pytest.approx(
            float(grads.abs().mean()), rel=1e-5
        )
        exact = float(moved.norm() / own.norm())
        tolerance = 0.05 if part == "middle" else 1e-3  # of 90,000 weights half are looked at
        assert found[f"update/{part}"] == pytest.approx(exact, rel=tolerance)
    every = [p.grad for p in twin.parameters() if p.grad is not None]
    assert found[GLOBAL] == pytest.approx(float(nn.utils.get_total_norm(every)), rel=1e-5)
    assert list(found)[1::2][:3] == [f"gradient/{p}/norm" for p in ("encoder", "middle", "head")]


def test_a_part_without_a_gradient_has_norm_zero_and_does_not_move() -> None:
    (found,) = trained(Net(), 1, 1)
    assert found["gradient/spare/norm"] == found["gradient/spare/mean_abs"] == 0
    assert found["update/spare"] == 0


def test_only_the_first_and_every_nth_step_are_looked_at() -> None:
    looked = [bool(found) for found in trained(Net(), 9, 4)]
    assert looked == [True, False, False, True, False, False, False, True, False]


def test_the_median_of_the_looks_is_told() -> None:
    ones = trained(Net(), 5, 1)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    observer = StepObserver(net, optimizer, first_word, 1)
    for step in range(1, 6):
        observer.begin(step)
        optimizer.zero_grad()
        net(torch.full((8, 4), 0.1 * step)).square().mean().backward()
        observer.gradients()
        optimizer.step()
    found = observer.collect()
    assert found["update/all"] == sorted(one["update/all"] for one in ones)[2]
    assert found[GLOBAL] == ones[-1][GLOBAL], "the newest, not the median"
    assert observer.collect() == {}


def test_a_scaled_loss_shows_unscaled_gradients() -> None:
    net, twin = Net(), Net()
    found = []
    for model, scale in ((net, 1.0), (twin, 1024.0)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        observer = StepObserver(model, optimizer, first_word, 1)
        observer.begin(1)
        (model(torch.ones(8, 4)).square().mean() * scale).backward()
        observer.gradients(scale)
        optimizer.step()
        found.append(observer.collect())
    seen = [{k: v for k, v in one.items() if not k.startswith("update/")} for one in found]
    assert seen[0] == pytest.approx(seen[1], rel=1e-5)


def test_a_step_that_is_left_out_leaves_no_trace() -> None:
    """As the scaler of float16 leaves out a step whose gradient overflows."""
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    observer = StepObserver(net, optimizer, first_word, 1)
    observer.begin(1)
    (net(torch.ones(8, 4)).sum() * math.inf).backward()
    observer.gradients()
    observer.begin(2)
    assert observer.collect() == {}


def test_weights_that_are_all_zero_have_no_ratio_and_nan_stays_visible() -> None:
    net = Net()
    nn.init.zeros_(net.spare.weight)
    nn.init.zeros_(net.spare.bias)
    (found,) = trained(net, 1, 1)
    assert "update/spare" not in found
    nn.init.constant_(net.encoder.bias, math.nan)
    (found,) = trained(net, 1, 1)
    assert math.isnan(found[GLOBAL])


def test_looking_changes_no_bit_of_what_is_trained() -> None:
    seen, unseen = Net(), Net()
    trained(seen, 5, 1, momentum=0.9)
    optimizer = torch.optim.SGD(unseen.parameters(), lr=0.1, momentum=0.9)
    for step in range(1, 6):
        optimizer.zero_grad()
        unseen(torch.full((8, 4), 0.1 * step)).square().mean().backward()
        optimizer.step()
    pairs = zip(seen.parameters(), unseen.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_large_tensor_is_sampled_and_its_norm_estimated() -> None:
    large, small = torch.randn(700, 700, generator=torch.manual_seed(0)), torch.ones(3)
    parts = [sampled(large), sampled(small)]
    assert len(parts[0]) <= LIMIT < large.numel()
    assert parts[1].equal(small)
    estimated = norms(parts) * scales([large, small])
    assert float(estimated[0]) == pytest.approx(float(large.norm()), rel=0.02)
    assert float(estimated[1]) == pytest.approx(3**0.5)


def test_half_precision_does_not_overflow() -> None:
    assert norms([torch.full((100,), 3e4, dtype=torch.float16)]).tolist() == [
        pytest.approx(3e5, rel=1e-2)
    ]
