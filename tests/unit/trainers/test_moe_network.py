"""What the network of MoE RT-DETR says, of which batches, and what it keeps of them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.nn.moe import Router
from backend.trainers.moe_rtdetr.model.build import build_network
from backend.trainers.moe_rtdetr.model.experts import BoxExperts
from backend.trainers.moe_rtdetr.spec import CLASSES, GROUPS, MoeConfig
from tests.support.moe_networks import (
    PLACES,
    QUERIES,
    everything,
    fill,
    images,
    model_config,
    network,
    plain_detector,
    randomised,
    targets,
)


@pytest.mark.parametrize("experts", ["A", "B", "C", "dense"])
def test_it_answers_for_every_layer_query_and_class(experts: str) -> None:
    net = network(experts, top_k=2)
    output = net(images(2), targets(3, 1))
    assert len(output.layers) == 2
    for layer in (*output.layers, output.encoder):
        assert layer.logits.shape == (2, QUERIES, 6)
        assert layer.boxes.shape == (2, QUERIES, 4)
        assert ((layer.boxes >= 0) & (layer.boxes <= 1)).all()
    assert output.sizes == ((8, 12), (4, 6), (2, 3))
    assert net.classes == CLASSES
    if experts == "dense":
        assert net.groups is None
        assert not output.routings
        assert net.experts == ()
        return
    assert net.experts == tuple(GROUPS[experts])
    count = len(net.experts)
    assert net.groups is not None
    assert net.groups.shape == (count, 6)
    (token,), query = output.routings["token"], output.routings["query"]
    assert token.logits.shape == (2, PLACES, count)
    assert [each.logits.shape for each in query] == [(2, QUERIES, count)] * 2
    assert {each.k for each in (token, *query)} == {2}
    assert "groups" not in net.state_dict()


def test_denoising_queries_are_answered_apart_and_routed_unseen() -> None:
    net = network()
    output = net(images(2), targets(3, 1))
    known = output.denoising
    assert known is not None
    assert known.groups == 10 // 3
    assert [layer.logits.shape for layer in known.layers] == [(2, 2 * 3 * 3, 6)] * 2
    (first, first_target), (second, second_target) = known.matching
    assert first_target.tolist() == [0, 1, 2] * 3
    assert first.tolist() == [0, 1, 2, 6, 7, 8, 12, 13, 14], "the noisy copies that are close"
    assert second_target.tolist() == [0] * 3
    assert second.tolist() == [0, 6, 12]
    assert all(int(each.tokens) == 2 * QUERIES for each in output.routings["query"])
    assert net(images(2)).denoising is None, "without targets"
    net.eval()
    assert net(images(2), targets(3, 1)).denoising is None, "in evaluation"


@pytest.mark.parametrize("top_k", [1, 2, 6])
def test_a_converted_detector_says_what_it_said(top_k: int) -> None:
    plain, net = plain_detector(), network(top_k=top_k)
    fill(net, plain)
    batch = images(3)
    for training in (False, True):
        plain.train(training)
        net.train(training)
        labels = [{n: t[n] for n in ("class_labels", "boxes")} for t in targets(3, 0, 5)]
        torch.manual_seed(7)
        wanted = plain(batch, labels=labels if training else None)
        torch.manual_seed(7)
        found = net(batch, labels)
        torch.testing.assert_close(found.layers[-1].logits, wanted.logits[:, -QUERIES:],
                                   atol=1e-4, rtol=0)  # fmt: skip
        torch.testing.assert_close(found.layers[-1].boxes, wanted.pred_boxes[:, -QUERIES:],
                                   atol=1e-4, rtol=0)  # fmt: skip
        torch.testing.assert_close(found.encoder.boxes, wanted.enc_topk_bboxes, atol=1e-4, rtol=0)
        if training:
            assert found.denoising is not None
            known = found.denoising.layers[0].logits
            torch.testing.assert_close(
                known, wanted.intermediate_logits[:, 0, :-QUERIES], atol=1e-4, rtol=0
            )
            for (ours, _), theirs in zip(
                found.denoising.matching,
                wanted.denoising_meta_values["dn_positive_idx"],
                strict=True,
            ):
                assert torch.equal(ours, theirs)


def test_heads_are_the_weighted_sum_of_each_expert_alone() -> None:
    """Also with fewer choices than experts: the others have weight 0."""
    net = randomised(network("C", top_k=2)).eval()
    (head,) = [m for m in net.modules() if isinstance(m, BoxExperts)][:1]
    hidden = torch.randn(2, QUERIES, 64)
    with net.call.open(None, None) as routed:
        step = head(hidden)
    ((routing, weights),) = routed
    assert ((weights > 0).sum(-1) == 2).all()
    alone = torch.stack([_alone(head, hidden, expert) for expert in range(3)], -2)
    torch.testing.assert_close(step, (alone * routing.weights.unsqueeze(-1)).sum(-2))


def _alone(head: BoxExperts, hidden: Tensor, expert: int) -> Tensor:
    first, second, last = head.layers
    for layer in (first, second):
        hidden = torch.relu(hidden @ layer.weight[expert].T + layer.bias[expert])
    return hidden @ last.weight[expert].T + last.bias[expert]


def test_all_experts_for_all_tokens_is_the_dense_mixture() -> None:
    net = randomised(network("B", top_k=3)).eval()
    layer = net.tokens
    x = torch.randn(2, 10, 64)
    mixed, routing = layer(x, None)
    assert routing is not None
    every = layer.routed.experts.every(layer.norm(x).flatten(0, 1)).unflatten(0, (2, 10))
    p = routing.logits.softmax(-1).unsqueeze(-1)
    torch.testing.assert_close(mixed, x + (every * p).sum(-2), atol=1e-5, rtol=1e-5)


def test_top_k_changes_the_answer() -> None:
    answers = []
    for top_k in (1, 2, 6):
        net = randomised(network(top_k=top_k)).eval()
        answers.append(net(images()).layers[-1].logits)
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[1], answers[2])


@pytest.mark.parametrize("counts", [(0,), (0, 0), (0, 2), (QUERIES + 9, 1), (1,)])
@pytest.mark.parametrize("experts", ["A", "dense"])
def test_any_number_of_objects_gives_every_parameter_a_gradient(
    experts: str, counts: tuple[int, ...]
) -> None:
    """Otherwise a process of several would wait for it forever."""
    net = network(experts)
    everything(net(images(len(counts)), targets(*counts))).backward()
    missing = [n for n, p in net.named_parameters() if p.grad is None]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_without_denoising_there_is_nothing_to_embed() -> None:
    net = build_network(model_config(denoising=0), MoeConfig(hidden=32), CLASSES)
    output = net(images(), targets(2, 0))
    assert output.denoising is None
    assert not [n for n, _ in net.named_parameters() if "denoising" in n]


def test_half_precision_is_for_products_only() -> None:
    net = network(top_k=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(images(), targets(3, 1))
    assert output.layers[0].logits.dtype == torch.float32
    assert output.layers[0].boxes.dtype == output.encoder.boxes.dtype == torch.float32
    for routing in (*output.routings["token"], *output.routings["query"]):
        assert routing.logits.dtype == routing.gates.dtype == torch.float32
    everything(output).backward()
    dense = network("dense")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert dense(images(), targets(3, 1)).layers[0].boxes.dtype == torch.float32


def test_memory_layout_changes_nothing() -> None:
    net = randomised(network()).eval()
    wanted = net(images())
    net.to(memory_format=torch.channels_last)
    found = net(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(found.layers[-1].logits, wanted.layers[-1].logits,
                               atol=1e-4, rtol=1e-4)  # fmt: skip


def test_the_same_seed_gives_the_same_network_and_the_same_gradients() -> None:
    def run() -> tuple[dict[str, Tensor], list[Tensor]]:
        net = network(noise=1.0)
        torch.manual_seed(5)
        everything(net(images(), targets(2, 3))).backward()
        return net.state_dict(), [p.grad.clone() for p in net.parameters() if p.grad is not None]

    (one, one_grads), (two, two_grads) = run(), run()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert all(map(torch.equal, one_grads, two_grads))
    other = network(seed=1, noise=1.0).state_dict()
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_noise_moves_choices_in_training_only() -> None:
    net = randomised(network(top_k=1, noise=50.0))
    kept = {"token": net.eval()(images()).routings["token"][0].selected}
    assert torch.equal(net(images()).routings["token"][0].selected, kept["token"])
    assert not torch.equal(net.train()(images()).routings["token"][0].selected, kept["token"])


def test_capacity_is_for_tokens_because_a_query_must_be_answered() -> None:
    net = randomised(network(top_k=1, capacity=0.2)).eval()
    output = net(images())
    (token,) = output.routings["token"]
    assert token.dropped is not None
    assert token.dropped.any()
    assert all(each.dropped is None for each in output.routings["query"])


def test_a_failed_pass_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network()
    wanted = net.eval()(images()).layers[-1].logits

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("out of memory")

    last = net.detector.decoder.layers[-1]
    with monkeypatch.context() as patch:
        patch.setattr(last, "forward", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            net(images(), only=2)
    again = net(images())
    assert len(again.routings["query"]) == 2
    torch.testing.assert_close(again.layers[-1].logits, wanted)


def test_it_can_be_copied_between_two_batches() -> None:
    """As the moving average does; the copy has a state of its own."""
    net = network()
    output = net(images(), targets(2, 2))
    twin = copy.deepcopy(net)
    everything(output).backward()
    assert twin.call is not net.call
    assert {id(m.call) for m in twin.modules() if hasattr(m, "call")} == {id(twin.call)}
    torch.testing.assert_close(
        twin.eval()(images()).layers[-1].logits, net.eval()(images()).layers[-1].logits
    )


def test_biases_follow_the_ordinary_queries_and_tokens() -> None:
    net = randomised(network(top_k=1, balance="bias", bias_rate=0.01))
    output = net(images(), targets(4, 4))
    counts = [each.counts for kind in ("token", "query") for each in output.routings[kind]]
    net.update_biases()
    routers = [m for m in net.modules() if isinstance(m, Router)]
    assert len(routers) == len(counts) == 3
    for router, count in zip(routers, counts, strict=True):
        wanted = 0.01 * torch.sign(count.float().mean() - count)
        torch.testing.assert_close(router.bias, wanted)
    plain = network()
    plain(images(), targets(4, 4))
    plain.update_biases()
    assert not any(m.bias.any() for m in plain.modules() if isinstance(m, Router))
