"""From frame to frame: what a query carries on, and where gradients go."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from backend.trainers.motrv2.model.geometry import TINY
from backend.trainers.motrv2.model.interaction import QueryInteraction, forget_poor
from backend.trainers.motrv2.model.positions import sine_code
from backend.trainers.motrv2.model.queries import Found, Queries, unnamed
from tests.support.motrv2_frames import clip, learner, total

GOOD = torch.tensor([True, False, True])


def made(position_update: bool) -> tuple[QueryInteraction, Queries, Found]:
    torch.manual_seed(0)
    module = QueryInteraction(replace(TINY, position_update=position_update))
    queries = unnamed(torch.randn(3, 64), torch.rand(3, 4))
    return module, queries, Found(torch.zeros(2, 3, 1), torch.rand(2, 3, 4), torch.randn(3, 64))


def through(first: torch.nn.Linear, second: torch.nn.Linear, x: Tensor) -> Tensor:
    out: Tensor = second(first(x).relu())
    return out


@pytest.mark.parametrize("position_update", [False, True])
def test_good_queries_are_renewed_and_the_others_keep_what_they_have(
    position_update: bool,
) -> None:
    module, queries, found = made(position_update)
    after = module(queries, found, GOOD)
    anchors = queries.anchors.clone()
    anchors[GOOD] = found.boxes[-1][GOOD]
    assert torch.equal(after.anchors, anchors)

    h, p = found.embedding, sine_code(anchors, 16)
    seen = module.self_attn(p + h, p + h, h)[0]
    x = module.norm1(h + seen)
    x = module.norm2(x + through(module.linear1, module.linear2, x))
    renewed = module.norm_feat(
        queries.content + through(module.linear_feat1, module.linear_feat2, x)
    )
    others = queries.content
    if position_update:
        others = module.norm_pos(p + through(module.linear_pos1, module.linear_pos2, x))
    torch.testing.assert_close(after.content[GOOD], renewed[GOOD])
    torch.testing.assert_close(after.content[~GOOD], others[~GOOD])
    assert torch.equal(after.ids, queries.ids)


def test_a_box_code_is_sine_and_cosine_in_turn_by_coordinate() -> None:
    code = sine_code(torch.tensor([[0.1, 0.2, 0.3, 0.4]]), 16)[0]
    for at, value in enumerate((0.1, 0.2, 0.3, 0.4)):
        for pair in range(8):
            angle = torch.tensor(2 * torch.pi * value / 10_000 ** (2 * pair / 16))
            expected = torch.stack([angle.sin(), angle.cos()])
            torch.testing.assert_close(code[16 * at + 2 * pair :][:2], expected)


def test_gradients_flow_through_what_was_seen_but_not_through_new_anchors() -> None:
    module, queries, found = made(position_update=False)
    seen = Found(
        found.logits,
        found.boxes.clone().requires_grad_(),
        found.embedding.clone().requires_grad_(),
    )
    after = module(queries, seen, GOOD)
    (after.content.square().sum() + after.anchors.sum()).backward()
    assert seen.boxes.grad is None
    assert seen.embedding.grad is not None
    assert seen.embedding.grad.any(dim=-1).all()


def test_queries_that_hardly_overlap_lose_their_id_but_not_their_place() -> None:
    queries = unnamed(torch.zeros(4, 8), torch.zeros(4, 4))
    queries = replace(
        queries, ids=torch.tensor([3, 4, -1, 6]), ious=torch.tensor([0.5, 0.51, 0.0, 0.0])
    )
    assert forget_poor(queries).ids.tolist() == [-1, 4, -1, -1]


@pytest.mark.parametrize(("far", "ids"), [(0.0, [0, 1]), (0.3, [])])
def test_only_queries_on_their_object_are_named_in_the_next_frame(
    far: float, ids: list[int]
) -> None:
    network = learner(sure=4.0).eval()
    frames = clip((0, 1), (0, 1), proposals=0)
    with torch.no_grad():
        for box in network.bbox_embed:
            for parameter in box.layers[-1].parameters():
                parameter.zero_()
        network.position.weight[:2] = frames[0].boxes
        network.position.weight[2:] = torch.tensor([0.9, 0.9, 0.05, 0.05])
        network.position.weight[:, 0] += far
    passed: list[Queries] = []
    network.track_embed.register_forward_hook(lambda _, inputs, __: passed.append(inputs[0]))
    network.run(frames)
    named = passed[0].ids
    assert sorted(named[named >= 0].tolist()) == ids
    assert len(named) == 4, "all are confident, so all go on"


def test_each_layer_refines_boxes_without_a_gradient_to_the_one_before() -> None:
    network = learner().eval()
    (one,) = clip((0, 1))
    queries, memory = network.new_queries(one), network.encode(one.image[None])
    found = network.decode(memory, queries.content.detach(), queries.anchors)
    found.boxes[1].sum().backward()  # type: ignore[no-untyped-call]
    first, last = (head.layers[-1].weight.grad for head in network.bbox_embed)
    assert not first.any()
    assert last.any()
    assert network.position.weight.grad.any(), "the first layer's codes come from the anchors"


def test_a_later_frame_teaches_an_earlier_one() -> None:
    """The embedding of the first frame's queries is in the graph of the second frame's loss."""
    network = learner(sure=4.0)
    frames = clip((0, 1), (0, 1))
    image = frames[0].image.requires_grad_()
    terms = network.eval().run(frames).terms
    late = {name: term for name, term in terms.items() if name.startswith("frame_1")}
    total(late).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert image.grad.any()
