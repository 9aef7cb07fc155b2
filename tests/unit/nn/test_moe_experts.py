"""Grouped dispatch against the dense mixture, and the detection loss shared out over experts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.core.errors import ConfigError
from backend.nn.moe import (
    Experts,
    LossSettings,
    RoutedExperts,
    Router,
    Routing,
    class_losses,
    group_matrix,
    load_balance_loss,
    route,
)

GOLDEN = Path(__file__).parents[3].parent / "shared" / "golden" / "moe"
LAYERS = {"W1": "up_weight", "b1": "up_bias", "W2": "down_weight", "b2": "down_bias"}


def golden(name: str) -> Any:
    if not GOLDEN.is_dir():
        pytest.skip("../shared/golden/moe is not here")
    return json.loads((GOLDEN / name).read_text())


def block(experts: int = 6, k: int = 2, **options: Any) -> RoutedExperts:
    torch.manual_seed(0)
    made = RoutedExperts(Router(8, experts, k), Experts(experts, 8, 16, **options))
    for bias in (made.experts.up_bias, made.experts.down_bias):
        nn.init.normal_(bias)
    return made


def masked_mixture(experts: Experts, x: Tensor, routing: Routing) -> Tensor:
    """Every expert on every token, most of them weighted with 0."""
    return (experts.every(x) * routing.weights.unsqueeze(-1)).sum(1)


def gradients(module: nn.Module, x: Tensor, out: Tensor) -> list[Tensor]:
    target = torch.linspace(-1, 1, out.numel()).view_as(out)
    return list(torch.autograd.grad((out * target).sum(), [x, *module.parameters()]))


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_the_golden_dispatch(k: int) -> None:
    case = golden("dispatch.json")
    experts = Experts(6, 6, 8, activation=case["activation"])
    experts.load_state_dict({ours: torch.tensor(case[key]) for key, ours in LAYERS.items()})
    out = experts(torch.tensor(case["x"]), route(torch.tensor(case["logits"]), k))
    expected = torch.tensor(case["expect"][str(k)])
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_outputs_and_gradients_equal_the_masked_mixture(
    k: int, activation: str, grouped: bool
) -> None:
    made = block(k=k, activation=activation, grouped=grouped)
    x = torch.randn(3, 11, 8, requires_grad=True)
    mask = torch.rand(3, 11) < 0.7
    out, routing = made(x, mask)
    expected = masked_mixture(
        made.experts, x.view(-1, 8), made.router(x.view(-1, 8), mask.view(-1))
    )
    torch.testing.assert_close(out.view(-1, 8), expected, rtol=1e-5, atol=1e-5)
    assert int(routing.counts.sum()) == int(mask.sum()) * k
    pairs = zip(gradients(made, x, out), gradients(made, x, expected), strict=True)
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_all_experts_at_once_are_the_dense_mixture() -> None:
    made = block(k=6)
    x = torch.randn(40, 8)
    out, routing = made(x)
    dense = torch.einsum("ne,ned->nd", routing.probabilities, made.experts.every(x))
    torch.testing.assert_close(out, dense, rtol=1e-5, atol=1e-5)


def test_pruned_experts_are_not_run() -> None:
    made = block()
    allowed = torch.tensor([True, False, True, False, False, True])
    x = torch.randn(40, 8)
    out, routing = made(x, allowed=allowed)
    torch.testing.assert_close(out, masked_mixture(made.experts, x, routing))
    assert torch.equal(routing.counts > 0, allowed)
    alone, _ = made(x, allowed=torch.eye(6, dtype=torch.bool)[4])
    torch.testing.assert_close(alone, made.experts.every(x)[:, 4])


@pytest.mark.parametrize("grouped", [False, True])
def test_an_expert_without_tokens_gets_no_gradient_and_is_counted(grouped: bool) -> None:
    made = block(grouped=grouped)
    logits = torch.randn(30, 6)
    logits[:, 3] = -9
    routing = route(logits, 2)
    made.experts(torch.randn(30, 8), routing).square().sum().backward()
    assert [e for e, count in enumerate(routing.counts.tolist()) if not count] == [3]
    for parameter in made.experts.parameters():
        assert parameter.grad is not None
        assert not parameter.grad[3].any()
        assert parameter.grad[[0, 1, 2, 4, 5]].flatten(1).any(1).all()


@pytest.mark.parametrize("shape", [(0, 8), (2, 0, 8), (4, 8)])
def test_no_tokens_or_only_padding(shape: tuple[int, ...]) -> None:
    made = block()
    x = torch.full(shape, torch.nan).requires_grad_()
    out, routing = made(x, torch.zeros(shape[:-1]))
    (out.sum() + load_balance_loss(routing)).backward()
    assert out.shape == shape
    assert not out.any()
    for tensor in (x, *made.parameters()):
        assert tensor.grad is not None
        assert not tensor.grad.any()


def test_padding_cannot_reach_the_other_tokens() -> None:
    made = block()
    x, mask = torch.randn(2, 5, 8), torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    clean, _ = made(x)
    x[0, 3:] = torch.inf
    out, _ = made(x, mask)
    torch.testing.assert_close(out[mask.bool()], clean[mask.bool()])
    assert not out[0, 3:].any()


@pytest.mark.parametrize("grouped", [False, True])
def test_amp_keeps_the_type_and_stays_close(grouped: bool) -> None:
    made = block(grouped=grouped)
    x = torch.randn(50, 8)
    exact, _ = made(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, routing = made(x)
        out.sum().backward()
    assert (out.dtype, routing.gates.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(out, exact, rtol=0.05, atol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_a_half_precision_model_gives_half_precision() -> None:
    out, _ = block().bfloat16()(torch.randn(5, 8, dtype=torch.bfloat16))
    assert out.dtype == torch.bfloat16


def test_the_same_seed_gives_the_same_bits() -> None:
    def run() -> list[Tensor]:
        made = block()
        x = torch.randn(64, 8, requires_grad=True)
        return gradients(made, x, made(x)[0])

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


def test_zero_output_starts_a_residual_branch_as_the_identity() -> None:
    x = torch.randn(9, 8)
    out, _ = RoutedExperts(Router(8, 3, 2), Experts(3, 8, 16, zero_output=True))(x)
    assert torch.equal(x + out, x)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RoutedExperts(Router(8, 3, 1), Experts(4, 8, 8)), "3 experts of width 8"),
        (lambda: RoutedExperts(Router(8, 3, 1), Experts(3, 4, 8)), "3 of width 4"),
        (lambda: Experts(2, 4, 8, activation="tanh"), "'tanh' is not one of relu, gelu, silu"),
        (lambda: Experts(2, 6, 8, grouped=True), "multiples of 8, not 6 and 8"),
        (lambda: Router(8, 3, 1, noise=-1), "must not be negative"),
        (lambda: group_matrix([[0], [2]], 3), "class 1 belongs to no expert group;"),
        (lambda: group_matrix([[0, 1], [1, 2]], 3), "class 1 belongs to 2 expert groups;"),
        (lambda: group_matrix([[0, 3]], 3), "expert 0 is given class 3, but there are 3"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()


def arguments(case: Any) -> tuple[Any, ...]:
    targets = [{key: torch.tensor(v) for key, v in one.items()} for one in case["targets"]]
    matching = [(torch.tensor(q), torch.tensor(t)) for q, t in case["matching"]]
    return torch.tensor(case["logits"]), torch.tensor(case["pred_boxes"]), targets, matching


def test_the_golden_split_of_the_detection_loss() -> None:
    case = golden("loss_split.json")
    found = class_losses(*arguments(case), None, LossSettings(**case["weights"]))
    for name in ("vfl", "bbox", "giou"):
        total = float(getattr(found, name).sum())
        assert total == pytest.approx(case["expect"]["total"][f"loss_{name}"], abs=1e-6)
    for experts in case["expect"]["per_expert"].values():
        shared = found.by_expert(group_matrix([e["classes"] for e in experts], 6))
        assert shared.targets.tolist() == [e["targets"] for e in experts]
        for name in ("vfl", "bbox", "giou"):
            expected = [e[f"loss_{name}"] for e in experts]
            assert getattr(shared, name).tolist() == pytest.approx(expected, abs=1e-6)


def made_scene(objects: list[int]) -> tuple[Any, ...]:
    torch.manual_seed(1)
    labels = [torch.arange(n) % 3 for n in objects]
    targets = [
        {"class_labels": label, "boxes": torch.rand(len(label), 4) * 0.3 + 0.3} for label in labels
    ]
    logits = torch.randn(len(objects), 7, 3, requires_grad=True)
    boxes = (torch.rand(len(objects), 7, 4) * 0.3 + 0.3).requires_grad_()
    return logits, boxes, targets, [(torch.randperm(7)[:n], torch.arange(n)) for n in objects]


@pytest.mark.parametrize("objects", [[3, 5], [4, 0], [0, 0]])
def test_class_losses_sum_to_the_whole_also_without_objects(objects: list[int]) -> None:
    logits, boxes, targets, matching = scene = made_scene(objects)
    found = class_losses(*scene)
    l1 = torch.stack(
        [
            functional.l1_loss(box[q], t["boxes"][j], reduction="sum")
            for box, t, (q, j) in zip(boxes, targets, matching, strict=True)
        ]
    ).sum()
    assert found.bbox.sum().item() == pytest.approx(5 * l1.item() / max(sum(objects), 1))
    assert int(found.targets.sum()) == sum(objects)
    (found.vfl.sum() + found.bbox.sum() + found.giou.sum()).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad.any()
    assert bool(boxes.grad.any()) == (sum(objects) > 0)


def test_the_loss_is_float32_and_takes_the_number_of_targets() -> None:
    logits, boxes, *rest = made_scene([2, 2])
    found = class_losses(logits.bfloat16(), boxes.bfloat16(), *rest, 8.0)
    assert found.vfl.dtype == torch.float32
    half = class_losses(logits.bfloat16(), boxes.bfloat16(), *rest)
    torch.testing.assert_close(found.giou * 2, half.giou)


def test_boxes_without_area_give_finite_gradients() -> None:
    logits, _, targets, matching = made_scene([2])
    boxes = torch.zeros(1, 7, 4, requires_grad=True)
    targets[0]["boxes"] = torch.zeros(2, 4)
    found = class_losses(logits, boxes, targets, matching)
    found.giou.sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
