"""What a prompt does to the network: it lowers classes and skips experts, and raises nothing."""

import math

import pytest
import torch
from torch import Tensor

from backend.core.errors import ConfigError
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Gate, Output
from tests.support.moe_networks import everything, images, network, randomised, targets

ONES = torch.ones(2, 6)


@pytest.fixture
def net() -> MoeRtDetr:
    return randomised(network("A", top_k=2)).eval()


def allowed(*experts: int) -> Tensor:
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[:, list(experts)] = True
    return mask


def same(one: Output, two: Output) -> None:
    for ours, theirs in zip((*one.layers, one.encoder), (*two.layers, two.encoder), strict=True):
        torch.testing.assert_close(ours.logits, theirs.logits)
        torch.testing.assert_close(ours.boxes, theirs.boxes)


def test_asking_for_everything_changes_nothing(net: MoeRtDetr) -> None:
    gate = Gate(ONES, allowed(*range(6)), select=True)
    same(net(images(), gate=gate), net(images()))


def test_relevance_is_added_to_the_class_logits_only(net: MoeRtDetr) -> None:
    relevance = torch.tensor([[1.0, 0.5, 0.1, 1e-3, 1e-6, 0.0], [0.0] * 6])
    plain, gated = net(images()), net(images(), gate=Gate(relevance))
    wanted = torch.tensor([[max(math.log(r), -8.0) if r else -8.0 for r in row]
                           for row in relevance.tolist()]).unsqueeze(1)  # fmt: skip
    for before, after in zip(plain.layers, gated.layers, strict=True):
        torch.testing.assert_close(after.logits, before.logits + wanted)
        torch.testing.assert_close(after.boxes, before.boxes)
    torch.testing.assert_close(gated.encoder.logits, plain.encoder.logits)


def test_its_gradient_is_finite_where_nothing_was_asked_for(net: MoeRtDetr) -> None:
    relevance = torch.tensor([[0.0, 0.5, 1.0, 1e-9, 0.2, 0.0]] * 2, requires_grad=True)
    everything(net.train()(images(), targets(2, 1), Gate(relevance, select=True))).backward()
    assert relevance.grad is not None
    assert relevance.grad.isfinite().all()
    assert (relevance.grad[:, [1, 2, 4]] != 0).all()
    assert (relevance.grad[:, [0, 3, 5]] == 0).all()


def test_select_also_moves_which_queries_are_taken(net: MoeRtDetr) -> None:
    relevance = torch.zeros(2, 6)
    relevance[:, 3] = 1.0
    plain, gated = net(images()), net(images(), gate=Gate(relevance, select=True))
    best = plain.encoder.logits.max(-1).values
    assert not torch.equal(gated.encoder.logits.max(-1).values, best)
    torch.testing.assert_close(
        gated.encoder.logits[..., 3].max(-1).values,
        torch.stack([_scores(net, one)[..., 3].max() for one in images()]),
    )
    assert (gated.encoder.logits.argmax(-1) == 3).float().mean() > 0.9
    same(net(images()), plain)


def _scores(net: MoeRtDetr, image: Tensor) -> Tensor:
    """Class logits of every place."""
    heard = []
    handle = net.detector.enc_score_head.register_forward_hook(lambda *call: heard.append(call[2]))
    net(image.unsqueeze(0))
    handle.remove()
    return heard[0]


@pytest.mark.parametrize("training", [False, True])
def test_pruned_experts_are_skipped_and_the_rest_share_their_weight(
    net: MoeRtDetr, training: bool
) -> None:
    net.train(training)
    torch.manual_seed(0)
    free = net(images(), targets(3, 1))
    torch.manual_seed(0)
    output = net(images(), targets(3, 1), Gate(ONES, allowed(1, 4)))
    for kind in ("token", "query"):
        for routing in output.routings[kind]:
            assert set(routing.selected.unique().tolist()) == {1, 4}
            torch.testing.assert_close(
                routing.weights.sum(-1), torch.ones(routing.logits.shape[:-1])
            )
            p = routing.probabilities
            torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:-1]))
            assert (p > 0).all(), "p is untouched"
            share = p[..., [1, 4]] / p[..., [1, 4]].sum(-1, keepdim=True)
            torch.testing.assert_close(routing.weights[..., [1, 4]], share)
    torch.testing.assert_close(
        output.routings["token"][0].logits, free.routings["token"][0].logits
    )


def test_images_of_a_batch_may_ask_for_different_experts(net: MoeRtDetr) -> None:
    mask = torch.stack([allowed(0)[0], allowed(2, 5)[0]])
    output = net(images(), gate=Gate(ONES, mask))
    (token,) = output.routings["token"]
    assert (token.weights[0, :, 0] == 1).all()
    assert (token.weights[1][:, [0, 1, 3, 4]] == 0).all()
    alone = net(images()[1:], gate=Gate(ONES[1:], mask[1:]))
    torch.testing.assert_close(
        alone.layers[-1].logits, output.layers[-1].logits[1:], atol=1e-4, rtol=1e-4
    )


def test_an_image_without_any_expert_is_refused(net: MoeRtDetr) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        net(images(), gate=Gate(ONES, allowed()))


@pytest.mark.parametrize("expert", [0, 5])
def test_only_restricts_the_query_routers(net: MoeRtDetr, expert: int) -> None:
    free, output = net(images()), net(images(), only=expert)
    for routing in output.routings["query"]:
        assert (routing.weights[..., expert] == 1).all()
    (token,), (usual,) = output.routings["token"], free.routings["token"]
    assert torch.equal(token.selected, usual.selected)
    assert not torch.allclose(output.layers[-1].logits, free.layers[-1].logits)
    same(net(images()), free)


def test_the_dense_network_can_be_asked_too() -> None:
    net = randomised(network("dense")).eval()
    relevance = torch.full((2, 6), 0.5)
    plain, gated = net(images()), net(images(), gate=Gate(relevance))
    torch.testing.assert_close(gated.layers[-1].logits, plain.layers[-1].logits + math.log(0.5))
