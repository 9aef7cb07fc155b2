"""The router, its losses and statistics: the golden cases and what must hold of any logits."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.core.errors import ConfigError, TrainingError
from backend.nn.moe import (
    AffinityTotals,
    Router,
    RouterTotals,
    load_balance_loss,
    route,
    router_statistics,
    size_bins,
    z_loss,
)

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT.parent / "shared" / "golden" / "moe" / "router.json"
NAMES = ("A_k1", "A_k6", "B_k3", "collapsed_k2", "A_k2_masked", "bias_k2")


@pytest.fixture
def chance() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def logits_of(chance: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=chance) * 2


@pytest.mark.skipif(not GOLDEN.is_file(), reason="../shared/golden/moe is not here")
@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_the_golden_cases(name: str) -> None:
    case = next(c for c in json.loads(GOLDEN.read_text())["cases"] if c["name"] == name)
    given = {key: torch.tensor(case[key]) for key in ("mask", "bias", "noise") if key in case}
    found = router_statistics(torch.tensor(case["logits"]), case["k"], **given)
    expected = {key: value for key, value in case["expect"].items() if key != "hf"}
    assert found.keys() >= expected.keys()
    for key, value in expected.items():
        got, want = (torch.as_tensor(v, dtype=torch.float64) for v in (found[key], value))
        assert got.shape == want.shape, key
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def literal(logits: list[list[float]], push: list[list[float]], k: int) -> dict[str, Any]:
    """The specification's definitions, token by token."""
    experts, number = len(logits[0]), len(logits)
    count, p_sum, w_sum = [0] * experts, [0.0] * experts, [0.0] * experts
    entropy = gate_entropy = squared = 0.0
    for row, shift in zip(logits, push, strict=True):
        scores = [a + b for a, b in zip(row, shift, strict=True)]
        chosen = sorted(range(experts), key=lambda e: (-scores[e], e))[:k]
        mass = [math.exp(value) for value in row]
        p = [m / sum(mass) for m in mass]
        w = {e: p[e] / sum(p[j] for j in chosen) for e in chosen}
        for e in range(experts):
            p_sum[e] += p[e]
            w_sum[e] += w.get(e, 0.0)
            count[e] += e in w
        entropy -= sum(v * math.log(v) for v in p)
        gate_entropy -= sum(v * math.log(v) for v in w.values())
        squared += math.log(sum(mass)) ** 2
    usage = [c / (number * k) for c in count]
    return {
        "count": count,
        "usage": usage,
        "P": [v / number for v in p_sum],
        "mass": [v / number for v in w_sum],
        "load_balance": experts * sum(u * v / number for u, v in zip(usage, p_sum, strict=True)),
        "z_loss": squared / number,
        "routing_entropy": entropy / number,
        "gate_entropy": gate_entropy / number,
        "usage_entropy": -sum(u * math.log(u) for u in usage if u),
        "max_violation": max(count) / (sum(count) / experts) - 1,
        "dead": [e for e in range(experts) if usage[e] < 0.1 / experts],
    }


@pytest.mark.parametrize("seed", range(20))
def test_random_logits_with_bias_noise_and_padding_as_defined(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    experts = int(torch.randint(2, 8, (), generator=chance))
    k = int(torch.randint(1, experts + 1, (), generator=chance))
    logits, noise = logits_of(chance, 4, 9, experts), logits_of(chance, 4, 9, experts)
    bias = logits_of(chance, experts)
    mask = torch.rand(4, 9, generator=chance) < 0.7
    logits[~mask] = torch.nan
    push = (noise.double() + bias.double())[mask].tolist()
    expected = literal(logits.double()[mask].tolist(), push, k)
    found = router_statistics(logits, k, mask=mask, bias=bias, noise=noise)
    for key, value in expected.items():
        assert torch.as_tensor(found[key]).tolist() == pytest.approx(value, abs=1e-9), key
    assert int(found["count"].sum()) == int(mask.sum()) * k
    assert found["usage"].sum().item() == pytest.approx(1)


def test_losses_are_those_of_the_statistics(chance: torch.Generator) -> None:
    logits, mask = logits_of(chance, 3, 20, 6), torch.rand(3, 20, generator=chance) < 0.6
    routing, found = route(logits, 2, mask), router_statistics(logits, 2, mask)
    assert load_balance_loss(routing).item() == pytest.approx(found["load_balance"].item())
    assert z_loss(routing).item() == pytest.approx(found["z_loss"].item())


def test_balance_loss_is_1_for_k_equal_to_e_and_even_without_a_gradient(
    chance: torch.Generator,
) -> None:
    logits = logits_of(chance, 50, 4).requires_grad_()
    loss = load_balance_loss(route(logits, 4))
    loss.backward()
    assert loss.item() == pytest.approx(1, abs=1e-6)
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-7


def test_descending_the_balance_loss_evens_the_usage(chance: torch.Generator) -> None:
    logits = (logits_of(chance, 200, 4) + torch.tensor([3.0, 0, 0, 0])).requires_grad_()
    before = router_statistics(logits.detach(), 1)["max_violation"]
    for _ in range(30):
        (grad,) = torch.autograd.grad(load_balance_loss(route(logits, 1)), logits)
        logits = (logits - 200 * grad).detach().requires_grad_()
    assert router_statistics(logits.detach(), 1)["max_violation"] < before / 2


def test_logits_are_ranked_where_probabilities_underflow() -> None:
    routing = route(torch.tensor([[-400.0, 300.0, -200.0, -300.0]]), 3)
    assert routing.selected.tolist() == [[1, 2, 3]]
    assert routing.gates.tolist() == [[1, 0, 0]]
    found = router_statistics(routing.logits.requires_grad_(), 3)
    found["load_balance"].backward()
    assert found["routing_entropy"].item() == pytest.approx(0)
    assert routing.logits.grad is not None
    assert routing.logits.grad.isfinite().all()


def test_weights_survive_a_bias_that_chooses_underflowing_experts() -> None:
    push = torch.tensor([-1000.0, 0, 0])
    routing = route(torch.tensor([[500.0, 1.0, 1.0]]), 2, push=push)
    assert routing.weights.tolist() == [[0, 0.5, 0.5]]


def test_equal_logits_go_to_the_lower_numbers() -> None:
    assert route(torch.zeros(100, 6), 2).selected.tolist() == [[0, 1]] * 100


@pytest.mark.parametrize("k", [0, -1, 7])
def test_k_outside_1_to_e_is_refused(k: int) -> None:
    for call in (lambda: route(torch.zeros(3, 6), k), lambda: Router(8, 6, k)):
        with pytest.raises(ConfigError, match=f"top-k is {k}, but with 6 experts"):
            call()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_but_not_in_padding(bad: float) -> None:
    logits = torch.zeros(5, 3)
    logits[1, 2] = logits[4] = bad
    with pytest.raises(TrainingError, match="2 of 5 tokens"):
        router_statistics(logits, 1)
    padding = torch.tensor([1, 0, 1, 1, 0])
    assert int(router_statistics(logits, 1, padding)["count"].sum()) == 3


def test_pruned_experts_get_nothing_and_the_rest_shares(chance: torch.Generator) -> None:
    logits = logits_of(chance, 2, 10, 4)
    allowed = torch.tensor([[True, False, False, True], [False, True, False, False]])[:, None]
    routing = route(logits, 2, allowed=allowed)
    torch.testing.assert_close(routing.weights.sum(-1), torch.ones(2, 10))
    torch.testing.assert_close(routing.probabilities, logits.softmax(-1))
    assert not routing.weights[~allowed.expand_as(logits)].any()
    assert routing.counts.tolist() == [10, 10, 0, 10]
    assert load_balance_loss(routing).isfinite()
    with pytest.raises(ConfigError, match="no expert at all"):
        route(logits, 2, allowed=allowed & torch.tensor([True, False]).view(2, 1, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_router_is_float32_in_half_precision_and_under_amp(dtype: torch.dtype) -> None:
    router = Router(16, 4, 2).eval()
    x = torch.randn(10, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_amp = router(x).logits
    torch.testing.assert_close(under_amp, x @ router.weight.T)
    routing = router.to(dtype)(x.to(dtype))
    exact = x.to(dtype).double() @ router.weight.double().T
    torch.testing.assert_close(routing.logits.double(), exact, rtol=1e-6, atol=1e-6)
    assert {routing.logits.dtype, routing.gates.dtype} == {torch.float32}
    assert load_balance_loss(routing).dtype == torch.float32


def test_noise_moves_the_choice_in_training_only(chance: torch.Generator) -> None:
    x, router = torch.randn(200, 8, generator=chance), Router(8, 4, 1, noise=20)
    clean = route(x @ router.weight.T, 1)
    noisy = router(x)
    torch.testing.assert_close(noisy.probabilities, clean.probabilities)
    assert (noisy.selected != clean.selected).any()
    assert torch.equal(router.eval()(x).selected, clean.selected)


def test_the_bias_balances_without_touching_weights(chance: torch.Generator) -> None:
    x, router = torch.rand(400, 8, generator=chance), Router(8, 4, 1, bias_rate=0.02)
    before = router(x)
    router.update_bias()
    for _ in range(200):
        router(x)
        router.update_bias()
    after = router.eval()(x)
    assert torch.equal(after.probabilities, before.probabilities)
    assert after.counts.max() < 130 < before.counts.max()
    assert "bias" in router.state_dict()


def test_totals_over_batches_are_those_of_all_tokens(chance: torch.Generator) -> None:
    logits = logits_of(chance, 100, 6)
    logits[:, 4] -= 20
    halves = [RouterTotals(6, 2), RouterTotals(6, 2)]
    for at, batch in enumerate(torch.split(logits, [7, 50, 1, 42])):
        halves[at % 2].update(route(batch, 2))
    halves[0].merge(halves[1])
    summary: dict[str, Any] = dict(halves[0].summary())
    json.dumps(summary, allow_nan=False)
    expected = router_statistics(logits, 2)
    for key in expected.keys() - {"selected", "weights"}:
        assert summary[key] == pytest.approx(torch.as_tensor(expected[key]).tolist(), abs=1e-6)
    assert (summary["tokens"], summary["dead"], summary["unused"]) == (100, [4], [4])


def test_overloaded_experts_are_named_and_an_even_split_has_none() -> None:
    logits = torch.zeros(30, 6)
    logits[:, 3] = 5
    totals = RouterTotals(6, 1)
    totals.update(route(logits, 1))
    assert totals.summary()["overloaded"] == [3]
    even = RouterTotals(3, 3)
    even.update(route(torch.rand(10, 3), 3))
    assert even.summary()["overloaded"] == even.summary()["dead"] == []


def test_mutual_information_tells_specialised_from_collapsed() -> None:
    def information(logits: Tensor) -> float:
        totals = RouterTotals(4, 1)
        totals.update(route(logits, 1))
        return totals.summary()["mutual_information"]

    assert information(torch.eye(4) * 50) == pytest.approx(math.log(4))
    assert information(torch.eye(4)[[0]] * 50) == pytest.approx(0)
    assert information(torch.zeros(4, 4)) == pytest.approx(0)


def test_without_tokens_nothing_is_claimed_and_losses_are_0() -> None:
    logits = torch.zeros(0, 6, requires_grad=True)
    routing = route(logits, 2)
    (load_balance_loss(routing) + z_loss(routing)).backward()
    assert load_balance_loss(routing).item() == z_loss(routing).item() == 0
    summary = RouterTotals(6, 2).summary()
    assert math.isnan(summary["load_balance"])
    assert summary["dead"] == summary["unused"] == summary["overloaded"] == []
    assert router_statistics(logits.detach(), 2)["dead"] == []


def test_totals_of_other_experts_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 experts and k 1"):
        RouterTotals(6, 2).update(route(torch.zeros(1, 3), 1))
    with pytest.raises(ConfigError, match="cannot merge"):
        RouterTotals(6, 2).merge(RouterTotals(3, 2))


def test_affinity_of_a_perfect_a_collapsed_and_a_uniform_router() -> None:
    def fed(weights: Tensor) -> AffinityTotals:
        totals = AffinityTotals(4, 4)
        totals.update(weights, torch.tensor([0, 0, 1, 2]))
        return totals

    perfect = fed(torch.eye(4)[[0, 0, 1, 2]])
    assert perfect.counts() == [2, 1, 1, 0]
    assert perfect.matrix() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], None]
    assert perfect.alignment([0, 1, 2, 3]) == perfect.alignment([0, 1, 2, 3], micro=True) == 1
    assert perfect.specialisation() == pytest.approx(1)
    assert fed(torch.eye(4)[[0, 0, 0, 0]]).specialisation() == pytest.approx(0)
    assert fed(torch.full((4, 4), 0.25)).specialisation() == pytest.approx(0)


def test_affinity_by_hand() -> None:
    totals = AffinityTotals(3, 2)
    weights = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    for at in range(3):
        totals.update(weights[[at]], torch.tensor([[0], [0], [1]])[at])
    assert totals.matrix()[0] == pytest.approx([0.7, 0.3])
    assert totals.alignment([0, 1, 1]) == pytest.approx((0.7 + 0.9) / 2)
    assert totals.alignment([0, 1, 1], micro=True) == pytest.approx((0.8 + 0.6 + 0.9) / 3)
    own = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.4, 0.7, 0.1)]
    expected = (own[0] - (own[1] + own[2]) / 2) / math.log(2)
    assert totals.specialisation() == pytest.approx(expected)


def test_affinity_without_objects_is_none() -> None:
    totals = AffinityTotals(2, 3)
    assert totals.matrix() == [None, None]
    assert totals.alignment([0, 1]) is totals.specialisation() is None


def test_sizes_are_those_of_coco() -> None:
    areas = torch.tensor([10.0, 32**2 - 1, 32**2, 96**2 - 1, 96**2])
    assert size_bins(areas).tolist() == [0, 0, 1, 1, 2]


WORKER = """
import sys, torch
from torch import distributed as dist
from backend.nn.moe import Router, RouterTotals, route
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
totals = RouterTotals(2, 1)
totals.update(route(torch.tensor([[1.0, 0.0]] * 3 if rank else [[0.0, 1.0]]), 1))
totals.all_reduce()
assert totals.summary()["count"] == [3, 1], totals.summary()
router = Router(2, 2, 1, bias_rate=0.5)
router.weight.data = torch.eye(2)
router(torch.eye(2)[[rank] * (1 + 2 * rank)])
router.update_bias()
assert router.bias.tolist() == [0.5, -0.5], router.bias
dist.destroy_process_group()
"""


def test_totals_and_bias_are_summed_over_processes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKER]
    started = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], cwd=ROOT)
        for rank in range(2)
    ]
    assert [process.wait(120) for process in started] == [0, 0]
