"""Training on a clip, written once more by loops over queries and objects (specs 1.3 and 1.5).

Only what sees a frame is the network's own: who stands for what, what passes on, each term and
so each gradient are found again here.
"""

from collections.abc import Iterator

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import box_convert, box_iou, generalized_box_iou

from backend.trainers.motrv2.batch import Clip, Frame
from backend.trainers.motrv2.model.learner import ClipLearner, ClipTraining
from backend.trainers.motrv2.model.queries import Found, Queries, unnamed
from tests.support.motrv2_frames import clip, learner

Terms = dict[str, Tensor]
Pair = tuple[int, int]


def corners(boxes: Tensor) -> Tensor:
    found: Tensor = box_convert(boxes, "cxcywh", "xyxy")
    return found


def cheapest(
    logits: Tensor, boxes: Tensor, one: Frame, free: list[int], left: list[int]
) -> list[Pair]:
    if not (free and left):
        return []
    p = logits[free].sigmoid()[:, one.labels[left]]
    cost = 2 * (0.25 * (1 - p) ** 2 * -p.log() - 0.75 * p**2 * -(1 - p).log())
    cost = cost + 5 * (boxes[free][:, None] - one.boxes[left]).abs().sum(-1)
    cost = cost - 2 * generalized_box_iou(corners(boxes[free]), corners(one.boxes[left]))
    rows, columns = linear_sum_assignment(cost.detach().numpy())
    return [(free[row], left[column]) for row, column in zip(rows, columns, strict=True)]


def terms_of(
    logits: Tensor, boxes: Tensor, pairs: list[Pair], one: Frame
) -> Iterator[tuple[str, Tensor]]:
    truth = torch.zeros_like(logits)
    for query, target in pairs:
        truth[query, one.labels[target]] = 1
    p = logits.sigmoid()
    cross = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weight = truth * 0.25 * (1 - p) ** 2 + (1 - truth) * 0.75 * p**2
    yield "ce", (weight * cross).sum()
    nothing = boxes.sum() * 0
    yield "bbox", sum(((boxes[q] - one.boxes[t]).abs().sum() for q, t in pairs), nothing)
    overlaps = generalized_box_iou(corners(boxes), corners(one.boxes)) if pairs else boxes
    yield "giou", sum((1 - overlaps[q, t] for q, t in pairs), nothing)


def by_loops(network: ClipLearner, frames: Clip) -> tuple[Terms, list[int]]:
    terms: Terms = {}
    passed: list[int] = []
    ids: list[int] = []
    ious: list[float] = []
    kept = unnamed(torch.empty(0, network.geometry.width), torch.empty(0, 4))
    for t, one in enumerate(frames):
        queries = network.new_queries(one).followed_by(kept)
        fresh = len(queries) - len(kept)
        ids, ious = [-1] * fresh + ids, [1.0] * fresh + ious
        found = network.decode(network.encode(one.image[None]), queries.content, queries.anchors)
        names = one.ids.tolist()
        old = [(at, names.index(i)) for at, i in enumerate(ids) if i in names]
        free = [at for at, i in enumerate(ids) if i == -1]
        left = [at for at, i in enumerate(names) if i not in ids]
        for layer, (logits, boxes) in enumerate(zip(found.logits, found.boxes, strict=True)):
            new = cheapest(logits, boxes, one, free, left)
            prefix = f"frame_{t}" + (f"_aux{layer}" if layer < len(found.logits) - 1 else "")
            for name, value in terms_of(logits, boxes, [*new, *old], one):
                terms[f"{prefix}_loss_{name}"] = value
        for query, target in [*new, *old]:
            ids[query] = names[target]
            pair = (corners(found.boxes[-1, query][None]), corners(one.boxes[target][None]))
            ious[query] = box_iou(*pair).item()
        if t < len(frames) - 1:
            scores = found.logits[-1].detach().sigmoid().amax(-1)
            stay = [at for at, i in enumerate(ids) if i >= 0 or scores[at] > 0.5]
            ids = [ids[at] if ious[at] > 0.5 else -1 for at in stay]
            ious = [ious[at] for at in stay]
            kept = passed_on(
                network, queries, found, torch.tensor(stay, dtype=torch.int64), scores
            )
            passed.append(len(stay))
    boxes_of_clip = max(1, sum(len(one.boxes) for one in frames))
    return {name: value / boxes_of_clip for name, value in terms.items()}, passed


def passed_on(
    network: ClipLearner, queries: Queries, found: Found, stay: Tensor, scores: Tensor
) -> Queries:
    passed: Queries = network.track_embed(
        queries.taken(stay), found.taken(stay), scores[stay] > 0.5
    )
    return passed


@pytest.mark.parametrize("sure", [-4.0, 0.0, 3.0])
@pytest.mark.parametrize("classes", [1, 8])
@pytest.mark.parametrize(
    "ids", [((0, 1, 2), (0, 1), (0, 2, 3)), ((0,), (), (0, 4)), ((), (5,), ())]
)
def test_every_term_and_gradient_is_that_of_the_definition(
    ids: tuple[tuple[int, ...], ...], classes: int, sure: float
) -> None:
    network = learner(
        ClipTraining(jitter=0), sure, classes=classes, position_update=classes > 1
    ).eval()
    frames = clip(*ids, classes=classes)
    with torch.no_grad():  # learned queries on the objects, so that some keep their ids
        network.position.weight[: len(ids[0])] = frames[0].boxes
    outcome = network.run(frames)
    expected, passed = by_loops(network, frames)
    assert outcome.passed == tuple(passed)
    assert outcome.terms.keys() == expected.keys()
    gradients = []
    for terms in (outcome.terms, expected):
        network.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({n: p.grad for n, p in network.named_parameters() if p.grad is not None})
    for name, value in expected.items():
        torch.testing.assert_close(outcome.terms[name], value, rtol=1e-4, atol=1e-5)
    assert gradients[0].keys() >= gradients[1].keys()
    for name, gradient in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], gradient, rtol=2e-3, atol=1e-4)
