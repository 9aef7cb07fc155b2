"""The network learns: alone, in parts, with activations recomputed, and as the library does."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from backend.nn.moe.class_losses import Target
from backend.runner.module import recompute
from backend.trainers.moe_rtdetr.model.criterion import Criterion, Losses
from backend.trainers.moe_rtdetr.model.names import part_of
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr
from backend.trainers.moe_rtdetr.model.outputs import Gate
from backend.trainers.moe_rtdetr.spec import MoeConfig
from tests.support.moe_networks import (
    everything,
    fill,
    images,
    network,
    plain_detector,
    randomised,
    targets,
)


def losses(net: MoeRtDetr, batch: Tensor, truth: Sequence[Target]) -> Losses:
    moe = MoeConfig() if net.experts else MoeConfig(experts="dense")
    return Criterion(net.groups, moe).losses(net(batch, truth), truth)


@pytest.mark.parametrize("experts", ["A", "dense"])
def test_one_batch_is_learned_by_heart(experts: str) -> None:
    net, truth = network(experts), targets(2, 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    seen = []
    for _ in range(40):
        loss = losses(net, images(2), truth)
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
        seen.append(loss.total.item())
    assert sum(seen[-5:]) / 5 < 0.5 * seen[0]


def test_a_converted_detector_has_the_librarys_loss() -> None:
    plain, net, truth = plain_detector(), network("dense"), targets(3, 1)
    fill(net, plain)
    labels = [{name: one[name] for name in ("class_labels", "boxes")} for one in truth]
    torch.manual_seed(7)
    wanted = plain.train()(images(2), labels=labels).loss
    torch.manual_seed(7)
    assert losses(net.train(), images(2), truth).total.item() == pytest.approx(
        wanted.item(), rel=1e-4
    )


def test_an_expert_that_sees_nothing_learns_nothing() -> None:
    net = randomised(network(top_k=1))
    with torch.no_grad():
        for router in ("tokens.routed.router", "detector.decoder.bbox_embed.0.router",
                       "detector.decoder.bbox_embed.1.router"):  # fmt: skip
            net.get_submodule(router).bias.copy_(torch.tensor([0.0, 0, 0, 0, 0, -1e6]))
            net.get_submodule(router).bias_rate = 1e-3
    output = net(images(2), targets(3, 1))
    everything(output).backward()
    for kind in ("token", "query"):
        assert all(int(routing.counts[5]) == 0 for routing in output.routings[kind])
    stacked = [
        (name, p.grad)
        for name, p in net.named_parameters()
        if part_of(name) in ("token_experts", "heads") and p.ndim > 1 and len(p) == 6
        and ("class_embed.0" in name or "experts" in name or "bbox_embed" in name)
    ]  # fmt: skip
    assert len(stacked) > 8
    for name, gradient in stacked:
        assert gradient is not None
        assert not gradient[5].any(), name
        assert gradient[:5].any(), name


@pytest.mark.parametrize("frozen", ["backbone", "encoder", "token_experts", "decoder", "heads"])
def test_a_frozen_part_keeps_still_and_the_others_learn(frozen: str) -> None:
    net = network()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(part_of(name) != frozen)
    losses(net, images(2), targets(3, 1)).total.backward()
    for name, parameter in net.named_parameters():
        assert (parameter.grad is None) == (part_of(name) == frozen), name


@pytest.mark.parametrize(
    "pattern",
    ["tokens", "detector", "detector.backbone", "detector.encoder", "detector.decoder",
     "detector.decoder.layers.*", "detector.decoder.bbox_embed.*", "class_embed.*"],
)  # fmt: skip
@pytest.mark.parametrize("restricted", [False, True])
def test_recomputed_activations_give_the_same_gradients(pattern: str, restricted: bool) -> None:
    """Also with experts skipped, which the second pass over a layer must know of as well."""
    mask = torch.tensor([[True, True, False, False, True, False]] * 2)
    gate = Gate(torch.full((2, 6), 0.7), mask, select=True) if restricted else None

    def gradients(*patterns: str) -> dict[str, Tensor]:
        net = randomised(network(noise=1.0))
        recompute(net, patterns)
        torch.manual_seed(5)
        everything(net(images(2), targets(3, 1), gate)).backward()
        return {n: p.grad for n, p in net.named_parameters() if p.grad is not None}

    wanted, found = gradients(), gradients(pattern)
    assert wanted.keys() == found.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


def test_recomputing_keeps_nothing_of_the_pass() -> None:
    net = network()
    recompute(net, ("detector.decoder.bbox_embed.*",))
    output = net(images(2), targets(3, 1))
    routings = [id(routing) for routing in output.routings["query"]]
    everything(output).backward()
    assert [id(routing) for routing in output.routings["query"]] == routings
    assert vars(net.call)["_routed"] is None
