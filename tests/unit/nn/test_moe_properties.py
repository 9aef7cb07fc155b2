"""What must hold of any logits, any k and any classes, tried on many."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backend.nn.moe import (
    Experts,
    class_losses,
    group_matrix,
    load_balance_loss,
    route,
    router_statistics,
)

SEEDS = st.integers(0, 2**31)


@st.composite
def routings(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Logits [N, E], tame or huge, with ties or without, and a k."""
    experts = draw(st.integers(1, 8))
    tokens, scale = draw(st.integers(1, 40)), draw(st.sampled_from([0.0, 1.0, 5.0, 1e4]))
    chance = torch.Generator().manual_seed(draw(SEEDS))
    logits = torch.randn(tokens, experts, generator=chance) * scale
    return logits.round() if draw(st.booleans()) else logits, draw(st.integers(1, experts))


@given(routings())
def test_shares_sum_to_1_and_values_stay_in_their_bounds(case: tuple[Tensor, int]) -> None:
    logits, k = case
    found, experts = router_statistics(logits, k), logits.shape[1]
    for name in ("usage", "mass", "P"):
        assert found[name].sum().item() == pytest.approx(1)
    assert found["hit"].sum().item() == pytest.approx(k)
    assert int(found["count"].sum()) == len(logits) * k
    assert -1e-9 <= found["routing_entropy"] <= found["max_entropy"] + 1e-9
    assert -1e-9 <= found["usage_entropy"] <= found["max_entropy"] + 1e-9
    assert found["gate_entropy"] <= np.log(k) + 1e-9
    assert 0 <= found["load_balance"] <= experts + 1e-9
    assert found["load_balance_hf"].item() == pytest.approx(k * found["load_balance"].item())
    assert found["mutual_information"] >= -1e-9
    even = router_statistics(logits, experts)
    assert even["load_balance"].item() == pytest.approx(1, abs=1e-9)
    assert load_balance_loss(route(logits, experts)).item() >= 0.999
    assert even["max_violation"].item() == pytest.approx(0, abs=1e-9)
    assert even["dead"] == []


@given(routings(), SEEDS)
@settings(max_examples=50)
def test_sparse_work_is_the_masked_dense_work_with_its_gradients(
    case: tuple[Tensor, int], seed: int
) -> None:
    logits, k = case
    torch.manual_seed(seed)
    experts = Experts(logits.shape[1], 4, 6, activation="gelu")
    x = torch.randn(len(logits), 4, requires_grad=True)
    logits = logits.requires_grad_()
    routing = route(logits, k)
    sparse = experts(x, routing)
    dense = (experts.every(x) * routing.weights.unsqueeze(-1)).sum(1)
    torch.testing.assert_close(sparse, dense, rtol=1e-5, atol=1e-5)
    target = torch.randn_like(x)
    wanted = [x, logits, *experts.parameters()]
    pairs = zip(
        torch.autograd.grad((sparse * target).sum(), wanted, retain_graph=True),
        torch.autograd.grad((dense * target).sum(), wanted),
        strict=True,
    )
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@given(SEEDS, st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, 6))
@settings(max_examples=50)
def test_experts_losses_sum_to_the_whole_for_any_partition_of_the_classes(
    seed: int, objects: list[int], experts: int
) -> None:
    torch.manual_seed(seed)
    owner = torch.cat([torch.arange(experts), torch.randint(experts, (6 - experts,))])
    owner = owner[torch.randperm(6)]
    groups = group_matrix([(owner == e).nonzero().flatten().tolist() for e in range(experts)], 6)
    targets = [
        {"class_labels": torch.randint(6, (n,)), "boxes": torch.rand(n, 4) * 0.4 + 0.2}
        for n in objects
    ]
    matching = [(torch.randperm(7)[:n], torch.arange(n)) for n in objects]
    boxes = torch.rand(len(objects), 7, 4) * 0.4 + 0.2
    found = class_losses(torch.randn(len(objects), 7, 6) * 3, boxes, targets, matching)
    shared = found.by_expert(groups)
    assert sum(shared.total.tolist()) == pytest.approx(found.whole.item(), abs=2e-5, rel=0)
    assert shared.targets.sum() == sum(objects)
    assert shared.total.min() >= 0


@pytest.mark.parametrize("form", [list, np.asarray, np.float32, torch.tensor])
def test_lists_and_arrays_will_do(form: Any) -> None:
    logits = [[[0.5, 1.5, -1.0], [2.0, 0.25, 0.0]], [[0.0, 0.0, 0.0], [1.0, 3.0, 2.0]]]
    mask = [[1, 1], [0, 1]]
    found = router_statistics(
        form(logits), 2, form(mask), bias=form([0.0, 0.0, 1.0]), noise=form(logits)
    )
    assert found["count"].tolist() == [2, 2, 2]
    assert found["selected"].tolist() == [[0, 1], [0, 2], [1, 2]]


def test_a_read_only_array_and_double_precision_are_kept() -> None:
    logits = np.array([[1e-12, 0.0], [0.0, 1e-12]])
    logits.flags.writeable = False
    assert router_statistics(logits, 1)["selected"].tolist() == [[0], [1]]
    assert router_statistics(logits.tolist(), 1)["selected"].tolist() == [[0], [1]]
    assert router_statistics(np.float32(logits), 1, np.array([True, False]))["count"].sum() == 1
