"""Training on clips: who stands for what, the collective loss, what passes on."""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import box_convert, generalized_box_iou

from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.model.criterion import class_term, summed, weight_of
from backend.trainers.motrv2.model.denoising import denoising_mask, jittered
from backend.trainers.motrv2.model.interaction import Passing, kept_in_training
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.matcher import Pairs, assign
from backend.trainers.motrv2.model.queries import Found, Queries, unnamed
from backend.trainers.motrv2.selection import Choice, apply, select
from tests.support.motrv2_frames import batch, clip, frame, gradients, learner, total

NOTHING = Pairs(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))


def seen(network: ClipLearner, one: Frame) -> tuple[Queries, Found]:
    queries = network.new_queries(one)
    memory = network.encode(one.image[None])
    return queries, network.decode(memory, queries.content, queries.anchors)


def focal(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    p = logits.sigmoid()
    right = targets * p + (1 - targets) * (1 - p)
    weight = targets * 0.25 + (1 - targets) * 0.75
    cross = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weight * (1 - right) ** 2 * cross).sum()


def overlap(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    corners = [box_convert(boxes, "cxcywh", "xyxy") for boxes in (one, other)]
    found: torch.Tensor = generalized_box_iou(*corners)
    return found


def test_first_frame_by_every_assignment_there_is() -> None:
    network, one = learner(classes=3), frame((4, 1), proposals=1, classes=3)
    _, found = seen(network.eval(), one)
    terms = network.run((one,)).terms
    for layer, name in ((0, "frame_0_aux0"), (1, "frame_0")):
        logits, boxes = found.logits[layer], found.boxes[layer]
        p = logits.sigmoid()[:, one.labels]
        costs = 2 * 0.25 * (1 - p) ** 2 * -p.log() - 2 * 0.75 * p**2 * -(1 - p).log()
        costs = costs + 5 * (boxes[:, None] - one.boxes).abs().sum(-1)
        costs = costs - 2 * overlap(boxes, one.boxes)
        best = min(
            permutations(range(len(logits)), 2),
            key=lambda pair: (costs[pair[0], 0] + costs[pair[1], 1]).item(),
        )
        targets = torch.zeros_like(logits)
        targets[list(best), one.labels] = 1
        chosen = boxes[list(best)]
        expected = {
            "ce": focal(logits, targets),
            "bbox": (chosen - one.boxes).abs().sum(),
            "giou": (1 - overlap(chosen, one.boxes).diagonal()).sum(),
        }
        for kind, value in expected.items():
            torch.testing.assert_close(terms[f"{name}_loss_{kind}"], value / 2, rtol=1e-4, atol=0)


def test_ids_are_inherited_won_and_kept_by_the_vanished() -> None:
    chance = torch.Generator().manual_seed(0)
    found = Found(torch.zeros(2, 5, 1), torch.rand(2, 5, 4, generator=chance), torch.zeros(5, 64))
    queries = unnamed(torch.zeros(5, 64), torch.zeros(5, 4))
    queries = replace(queries, ids=torch.tensor([-1, 7, 9, -1, -1]), ious=torch.full((5,), 0.9))
    one = frame((7, 3))
    found.boxes[:, 1:3] = one.boxes[1]  # nearest to 3, but they have ids
    found.boxes[1, 3] = found.boxes[0, 4] = one.boxes[1] + 0.01
    after, pairs = assign(queries, found, one)
    assert after.ids.tolist() == [-1, 7, 9, 3, -1], "9 has vanished and keeps its id"
    assert dict(zip(pairs[1].query.tolist(), pairs[1].target.tolist(), strict=True)) == {
        1: 0,
        3: 1,
    }
    assert dict(zip(pairs[0].query.tolist(), pairs[0].target.tolist(), strict=True)) == {
        1: 0,
        4: 1,
    }
    assert after.ious[3] > 0.8
    assert after.ious[2] == pytest.approx(0.9)


def test_a_vanished_track_is_pushed_down_in_all_of_eight_classes() -> None:
    logits = torch.zeros(1, 8, requires_grad=True)
    class_term(logits, NOTHING, torch.empty(0, dtype=torch.int64)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad > 0).all()

    network = learner(classes=8, sure=2.0)
    losses: list[torch.Tensor] = []
    network.class_embed[-1].register_forward_hook(lambda _, __, out: losses.append(out))
    kept = network.run(clip((5,), (), classes=8))
    ce = kept.terms["frame_1_loss_ce"]
    expected = focal(losses[-1], torch.zeros_like(losses[-1]))
    (gradient,) = torch.autograd.grad(ce, losses[-1])
    assert (gradient > 0).all(), "in the second frame, nothing is there"
    torch.testing.assert_close(ce, expected)


def test_the_sum_is_over_the_boxes_of_the_whole_clip() -> None:
    network = learner().eval()
    one, two = frame((0, 1, 2)), frame((), seed=5)
    alone, longer = network.run((one,)).terms, network.run((one, two)).terms
    torch.testing.assert_close(longer["frame_0_loss_bbox"], alone["frame_0_loss_bbox"])
    more = network.run((one, frame((7,), seed=5))).terms
    torch.testing.assert_close(4 * more["frame_0_loss_ce"], 3 * alone["frame_0_loss_ce"])


def test_the_runner_gets_weighted_sums_of_all_terms() -> None:
    network = learner(ClipTraining(jitter=0.05))
    frames = clip((0, 1), (0, 1), (1, 2))
    torch.manual_seed(0)
    terms = network.run(frames).terms
    torch.manual_seed(0)
    losses = network.loss(batch(frames))
    layers = ("", "_aux0")
    assert terms.keys() == {
        f"frame_{t}{layer}_loss_{kind}" for t in range(3) for layer in layers
        for kind in ("ce", "bbox", "giou")
    } | {
        f"frame_{t}_ps{layer}_loss_{kind}" for t in range(3) for layer in range(2)
        for kind in ("bbox", "giou")
    }  # fmt: skip
    assert [name for name in losses if "loss" in name] == [
        "loss_ce", "loss_bbox", "loss_giou", "loss_dn",
    ]  # fmt: skip
    every = sum(weight_of(name) * term for name, term in terms.items())
    torch.testing.assert_close(total(losses), every)
    assert weight_of("frame_0_loss_ce") == 2
    assert weight_of("frame_2_aux1_loss_bbox") == 5
    assert weight_of("frame_1_ps0_loss_giou") == 2
    dn = summed({name: term for name, term in terms.items() if "_ps" in name})
    torch.testing.assert_close(dn["loss_dn"], losses["loss_dn"])


@pytest.mark.parametrize("ids", [((), (0,), (0,)), ((0,), (), (0,)), ((0,), (0,), ()), ((), ())])
@pytest.mark.parametrize("proposals", [0, 2])
@pytest.mark.parametrize("recompute", [False, True])
def test_empty_frames_have_a_loss_and_gradients(
    ids: tuple[tuple[int, ...], ...], proposals: int, recompute: bool
) -> None:
    network = learner(ClipTraining(recompute=recompute), classes=8, proposal_classes=8)
    found = gradients(network, clip(*ids, proposals=proposals, classes=8))
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert found["class_embed.1.weight"].any()


def test_a_number_that_is_none_reaches_the_loss() -> None:
    network = learner()
    bad = replace(frame(), image=torch.full((3, 32, 48), math.nan))
    assert total(network.loss(batch((bad,)))).isnan()


def test_ordinary_queries_do_not_see_the_denoising_ones() -> None:
    network, one = learner().eval(), frame()
    queries, without = seen(network, one)
    extra = network.refine_embed.weight.expand(2, -1)
    content, anchors = torch.cat([queries.content, extra]), torch.cat([queries.anchors, one.boxes])
    memory = network.encode(one.image[None])
    mask = denoising_mask(len(queries), 2, content.device)
    found, denoised = network.decode(memory, content, anchors, mask).split(len(queries))
    torch.testing.assert_close(found.boxes, without.boxes)
    torch.testing.assert_close(found.logits, without.logits)
    assert denoised.boxes.shape == (2, 2, 4)
    unmasked, _ = network.decode(memory, content, anchors).split(len(queries))
    assert not torch.allclose(unmasked.logits, without.logits)


def test_jitter_stays_within_its_share_of_the_size() -> None:
    torch.manual_seed(0)
    boxes = torch.tensor([[0.5, 0.4, 0.2, 0.1]]).expand(500, -1)
    moved = jittered(boxes, 0.05)
    assert ((moved[:, :2] - boxes[:, :2]).abs() <= 0.05 * boxes[:, 2:] + 1e-6).all()
    assert ((moved[:, 2:] / boxes[:, 2:] - 1).abs() <= 0.05 + 1e-6).all()
    assert (moved - boxes).std(0) == pytest.approx(
        torch.tensor([0.2, 0.1, 0.2, 0.1]) * 0.05 / math.sqrt(3), rel=0.1
    )


def test_the_interaction_sleeps_while_scores_are_low() -> None:
    frames = clip((0, 1), (0, 1))
    cold = gradients(learner(sure=-4.0), frames)
    assert not cold["track_embed.linear_feat1.weight"].any()
    awake = gradients(learner(sure=4.0), frames)
    assert awake["track_embed.linear_feat1.weight"].any()
    gate = ClipTraining(Passing(gate="matched"), jitter=0)
    assigned = replace(gate, passing=replace(gate.passing, limit=300))
    found = learner(assigned, sure=-4.0)
    with torch.no_grad():
        for box in found.bbox_embed:  # objects are found where they are, so ids are kept
            box.layers[-1].weight.zero_()
        found.position.weight[:2] = frames[0].boxes
    assert gradients(found, frames)["track_embed.linear_feat1.weight"].any()


def test_what_is_kept_in_training() -> None:
    chance = torch.Generator().manual_seed(1)
    logits = torch.tensor([3.0, -3.0, 2.0, -2.0, -1.0])[None, :, None]
    found = Found(logits, torch.rand(1, 5, 4, generator=chance), torch.zeros(5, 8))
    queries = unnamed(torch.zeros(5, 8), torch.zeros(5, 4))
    queries = queries.with_ids(torch.tensor([-1, 4, -1, -1, 6]))
    kept = kept_in_training(queries, found, Passing())
    assert kept.tolist() == [True, True, True, False, True]
    torch.manual_seed(0)
    dropped = [kept_in_training(queries, found, Passing(drop=0.5)) for _ in range(40)]
    assert all((one <= kept).all() and one.any() for one in dropped)
    assert {int(one.sum()) for one in dropped} == {1, 2, 3, 4}
    inserted = kept_in_training(queries, found, Passing(insert=1.0))
    assert inserted.tolist() == [True] * 5
    with pytest.warns(UserWarning, match="more than 3 track queries"):
        cut = kept_in_training(queries, found, Passing(limit=3))
    assert cut.tolist() == [True, True, False, False, True], "named ones first"


@pytest.mark.parametrize("option", [{"drop": 0.6}, {"insert": 0.9}])
def test_drop_and_insert_change_what_passes(option: dict[str, float]) -> None:
    frames = clip((0, 1, 2), (0, 1, 2), (0, 1, 2))
    plain = learner(sure=-0.2).run(frames).passed
    torch.manual_seed(0)
    changed = learner(ClipTraining(Passing(**option), jitter=0), sure=-0.2).run(frames).passed
    assert changed != plain


@pytest.mark.parametrize("frozen_prefix", [False, True])
def test_recomputing_changes_no_gradient(frozen_prefix: bool) -> None:
    frames = clip((0, 1), (0, 1), (1, 2))
    found = []
    for recompute in (False, True):
        network = learner(ClipTraining(recompute=recompute))
        network.backbone.eval()  # in training, its batch norms see one frame or all
        if frozen_prefix:
            apply(network, select(network, Choice("aggressive")))
            network.train()
        found.append(gradients(network, frames))
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-5)


def test_recomputing_counts_each_frame_once() -> None:
    network = learner(ClipTraining(recompute=True))
    gradients(network, clip((0,), (0,), (0,)))
    norm = next(one for one in network.modules() if isinstance(one, nn.BatchNorm2d))
    assert norm.num_batches_tracked is not None
    assert norm.num_batches_tracked.item() == 3


def test_norms_that_are_still_train_with_running_statistics() -> None:
    network = learner(ClipTraining(jitter=0, still_norms=True)).train()
    before = {name: one.clone() for name, one in network.backbone.named_buffers()}
    found = gradients(network, clip((0,), (0,)))
    assert found["backbone.0.body.stage1.1.weight"].any()
    assert network.backbone[0].training
    assert all(torch.equal(one, before[n]) for n, one in network.backbone.named_buffers())


def test_a_frozen_prefix_leaves_no_graph_and_the_same_gradients() -> None:
    frames = clip((0, 1), (0, 1))
    network = learner()
    apply(network, select(network, Choice("aggressive")))
    network.train()
    assert network.prefix_is_frozen
    memories = network._memories(frames)
    assert all(one is not None and not one.values.requires_grad for one in memories)
    expected = gradients(network, frames)
    network.transformer.level_embed.requires_grad_()
    assert not network.prefix_is_frozen
    found = gradients(network, frames)
    assert found.pop("transformer.level_embed").any()
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient)


def test_frames_of_different_sizes_are_encoded_one_by_one() -> None:
    network = learner().eval()
    one, two = clip((0,), (0,))
    other = replace(two, image=two.image[:, :16])
    memories = network._memories((one, other))
    assert [m.values.shape[1] for m in memories if m is not None] == [24 + 6, 12 + 3]
    assert total(network.loss(batch((one, other)))).isfinite()


def test_frozen_parts_rest_in_training_mode() -> None:
    network = learner(dropout=0.5)
    apply(network, select(network, Choice("moderate")))
    network.train()
    resting = {name for name, one in network.named_modules() if name and not one.training}
    assert {"backbone.0.body.stage1.1", "transformer.encoder.layers.0.dropout"} <= resting
    assert not network.transformer.training
    assert network.track_embed.dropout.training
    assert network.training
    images = torch.stack([one.image for one in clip((0,), (0,))])
    norms = {name: one.clone() for name, one in network.backbone.state_dict().items()}
    with torch.no_grad():
        assert torch.equal(network.encode(images).values, network.encode(images).values)
    assert all(torch.equal(one, norms[n]) for n, one in network.backbone.state_dict().items())

    noisy = learner(ClipTraining(jitter=0, frozen_eval=False), dropout=0.5)
    apply(noisy, select(noisy, Choice("moderate")))
    noisy.train()
    with torch.no_grad():
        assert not torch.equal(noisy.encode(images).values, noisy.encode(images).values)


def test_class_vectors_start_as_if_they_were_not_there() -> None:
    plain, with_classes = learner(), learner(proposal_classes=2)
    with_classes.load_state_dict(plain.state_dict(), strict=False)
    frames = clip((0, 1), (0, 1))
    expected, found = plain.run(frames).terms, with_classes.run(frames).terms
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    gradient = gradients(with_classes, frames)["yolox_class_embed.weight"]
    assert gradient.any(dim=-1).all()
    with torch.no_grad():
        with_classes.yolox_class_embed.weight.normal_()
    unknown = tuple(
        replace(one, proposal_classes=torch.full_like(one.proposal_classes, -1)) for one in frames
    )
    found = with_classes.run(unknown).terms
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    changed = with_classes.run(frames).terms
    assert changed["frame_0_loss_ce"] != expected["frame_0_loss_ce"]


def run_of(steps: int, **sizes: Any) -> list[float]:
    network = learner(ClipTraining(), **sizes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    frames = clip((0, 1), (0, 1), classes=2)
    values = []
    for _ in range(steps):
        loss = total(network.loss(batch(frames)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        values.append(loss.item())
    return values


def test_the_same_seed_trains_the_same_and_the_loss_falls() -> None:
    first = run_of(20, classes=2, proposal_classes=2)
    assert first == run_of(20, classes=2, proposal_classes=2)
    assert sum(first[-3:]) < 0.8 * sum(first[:3])


def test_two_threads_train_as_one_does() -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(run_of(2, classes=2))
    finally:
        torch.set_num_threads(before)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_track_queries_do_not_grow_beyond_their_limit() -> None:
    network = learner(ClipTraining(passing=Passing(limit=7), jitter=0), sure=4.0)
    with pytest.warns(UserWarning, match="max_track_queries"):
        outcome = network.run(clip(*[(0,)] * 6))
    assert outcome.passed == (6, 7, 7, 7, 7)
