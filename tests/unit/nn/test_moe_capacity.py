"""Seats per expert: who gets one, what happens to the others, and that it is told."""

import math

import pytest
import torch

from backend.core.errors import ConfigError
from backend.nn.moe import (
    Experts,
    RoutedExperts,
    Router,
    RouterTotals,
    Routing,
    load_balance_loss,
    route,
)


def seated_by_hand(routing: Routing, capacity: float) -> list[list[bool]]:
    """All first choices in the order of tokens, then all second ones."""
    chosen = routing.selected.tolist()
    seats = math.ceil(round(capacity * len(chosen) * routing.k / routing.experts, 6))
    free = [seats] * routing.experts
    found = [[False] * routing.k for _ in chosen]
    for rank in range(routing.k):
        for token, experts in enumerate(chosen):
            if free[experts[rank]]:
                free[experts[rank]] -= 1
                found[token][rank] = True
    return found


@pytest.mark.parametrize("capacity", [0.2, 0.75, 1.0, 1.1, 1.25, 6.0])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_seats_go_by_choice_and_then_by_the_order_of_tokens(k: int, capacity: float) -> None:
    torch.manual_seed(k)
    logits = torch.randn(30, 6) + torch.tensor([2.0, 1, 0, 0, 0, -1])
    free, routing = route(logits, k), route(logits, k, capacity=capacity)
    assert torch.equal(routing.selected, free.selected)
    seated = torch.tensor(seated_by_hand(routing, capacity))
    assert routing.active is not None
    assert torch.equal(routing.active, seated)
    torch.testing.assert_close(routing.gates, free.gates * seated)
    assert int(routing.loads.max()) <= math.ceil(round(capacity * 30 * k / 6, 6))
    assert int(routing.loads.sum()) == int(seated.sum())
    assert torch.equal(routing.counts, free.counts)
    torch.testing.assert_close(load_balance_loss(routing), load_balance_loss(free))
    totals = RouterTotals(6, k)
    totals.update(routing)
    summary = totals.summary()
    assert summary["dropped"] == pytest.approx(1 - seated.float().mean().item())
    assert summary["stranded"] == int((~seated.any(1)).sum())
    if capacity == 6.0:
        assert summary["dropped"] == summary["stranded"] == 0


def test_an_image_s_seats_do_not_depend_on_the_others_and_padding_needs_none() -> None:
    logits = torch.randn(3, 20, 4)
    together = route(logits, 2, capacity=0.8)
    for image in range(3):
        alone = route(logits[image], 2, capacity=0.8)
        assert torch.equal(together.gates[image], alone.gates)
    mask = torch.arange(20) < 12
    padded = route(logits[0], 2, mask, capacity=0.8)
    short = route(logits[0, :12], 2, capacity=0.8)
    assert torch.equal(padded.gates[:12], short.gates)
    assert torch.equal(padded.loads, short.loads)
    assert not padded.gates[12:].any()
    assert padded.stranded == short.stranded


def test_seats_are_shared_out_among_the_experts_that_may_be_used() -> None:
    allowed = torch.tensor([True, True, False, False])
    routing = route(torch.randn(40, 4), 2, allowed=allowed, capacity=1.0)
    assert routing.loads.tolist() == [40, 40, 0, 0]


def test_dropped_choices_are_not_run_and_a_stranded_token_stays_as_it_is() -> None:
    torch.manual_seed(0)
    made = RoutedExperts(Router(8, 4, 2, capacity=0.5), Experts(4, 8, 16))
    x = torch.randn(2, 16, 8, requires_grad=True)
    out, routing = made(x)
    every = made.experts.every(x.view(-1, 8))
    expected = (every * routing.weights.view(-1, 4, 1)).sum(1).view(x.shape)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    assert routing.active is not None
    stranded = ~routing.active.any(-1)
    assert int(stranded.sum()) == int(routing.stranded) > 0
    assert not out[stranded].any()
    got, want = (
        torch.autograd.grad(part.sum(), x, retain_graph=True)[0] for part in (out, expected)
    )
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_no_tokens_need_no_seats() -> None:
    made = RoutedExperts(Router(8, 4, 2, capacity=1.0), Experts(4, 8, 16))
    out, routing = made(torch.zeros(2, 0, 8))
    assert out.shape == (2, 0, 8)
    assert routing.loads.tolist() == [0] * 4


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        Router(8, 4, 2, capacity=-1)
