"""The detector: points, masks, which point takes which action, losses, segments."""

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.scoring.evidence import Floats
from backend.scoring.temporal.soft_nms import merged
from backend.trainers.adatad.model.assignment import assign
from backend.trainers.adatad.model.decoding import Keeping, decode
from backend.trainers.adatad.model.losses import distance_iou_loss, summed_losses
from backend.trainers.adatad.model.masked import pooled
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.model.points import Outputs, Points, points_of
from tests.support.adatad_windows import (
    GEOMETRY,
    batch,
    frames,
    network,
    window,
    with_trained_adapters,
)


def awake(model: AdaTad) -> AdaTad:
    """With transformer branches and norms that matter, as after some training."""
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone.") and (name.endswith(("bias", "drop.scale"))):
                parameter.add_(torch.randn(parameter.shape, generator=chance), alpha=0.3)
            if ".drop_path_" in name:
                parameter.fill_(0.5)
    return with_trained_adapters(model)


def test_points_of_the_published_network() -> None:
    lengths = [768 // 2**level for level in range(6)]
    points = points_of(lengths, torch.device("cpu"))
    ranges = [(0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)]
    levels = itertools.pairwise(itertools.accumulate(lengths, initial=0))
    for (first, last), stride, (lower, upper) in zip(
        levels, (1, 2, 4, 8, 16, 32), ranges, strict=True
    ):
        assert points.positions[first:last].tolist() == list(range(0, 768, stride))
        for values, wanted in (
            (points.strides, stride),
            (points.lower, lower),
            (points.upper, upper),
        ):
            assert values[first:last].unique().tolist() == [wanted]


def test_scores_start_at_the_prior_and_every_level_answers() -> None:
    given = batch()
    outputs = network()(given.frames, given.valid)
    assert outputs.logits.shape == (2, 32 + 16 + 8, 3)
    assert outputs.offsets.shape == (2, 56, 2)
    assert outputs.logits.sigmoid().mean().item() == pytest.approx(0.01, rel=0.5)
    assert (outputs.offsets >= 0).all()
    assert outputs.valid.sum(1).tolist() == [56, 21 + 11 + 6]


def test_padding_is_as_good_as_no_sequence() -> None:
    """A padded window finds what the window without padding finds, at every point of it."""
    model = awake(network())
    valid = torch.arange(64)[None] < 32
    with torch.no_grad():
        padded = model(frames(64)[None], valid)
        alone = model(frames(64)[None, :32], valid[:, :32])
    assert alone.logits.std() > 0.05
    for name in ("logits", "offsets"):
        shown = getattr(padded, name)[:, padded.valid[0]]
        torch.testing.assert_close(shown, getattr(alone, name), atol=1e-4, rtol=1e-4)


def test_what_stands_beside_a_window_does_not_matter() -> None:
    model = awake(network())
    first = window(64, valid=50)
    beside = [window(64, seed=3), window(64, valid=9, seed=4)]
    found: list[Outputs] = []
    with torch.no_grad():
        for at, windows in (
            (0, [first]),
            (0, [first, beside[0]]),
            (1, [beside[1], first, beside[0]]),
        ):
            given = batch(*windows)
            outputs = model(given.frames, given.valid)
            found.append(
                Outputs(outputs.logits[at], outputs.offsets[at], outputs.valid[at], outputs.points)
            )
    for other in found[1:]:
        torch.testing.assert_close(other.logits, found[0].logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other.offsets, found[0].offsets, atol=1e-5, rtol=1e-5)


def seconds(positions: Floats, start: int) -> Floats:
    """At 10 frames per second, of a video of 16 s."""
    return ((positions + start) / 10).clip(0, 16)


def test_sliding_windows_find_what_one_long_window_finds() -> None:
    """24 frames away from the windows' borders scores differ by less than 1e-4 and ends by less
    than 0.01 s: attention sees the whole window, so they are not the same bits."""
    model = with_trained_adapters(network())
    video = frames(160)
    everything = torch.ones(1, 160, dtype=torch.bool)
    with torch.no_grad():
        whole = model(video[None], everything)
        parts = {
            start: model(video[None, start : start + 96], everything[:, :96]) for start in (0, 64)
        }
    spread = whole.logits.sigmoid().std().item()
    assert spread > 1e-3
    for start, part in parts.items():
        begins, ends = start + 24 * (start > 0), start + 96 - 24 * (start == 0)
        for stride in GEOMETRY.strides:
            ours = _at(part, stride, begins - start, ends - start)
            theirs = _at(whole, stride, begins, ends)
            assert len(ours[0]) == (ends - begins) // stride
            torch.testing.assert_close(ours[0], theirs[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(ours[1] + start, theirs[1], atol=0.1, rtol=0)


def _at(outputs: Outputs, stride: int, begins: int, ends: int) -> tuple[Tensor, Tensor]:
    """Scores and segments of the points of a level that lie in a range."""
    points = outputs.points
    inside = (points.strides == stride) & (begins <= points.positions) & (points.positions < ends)
    return outputs.logits[0, inside].sigmoid(), outputs.segments[0, inside]


def test_pooling_ignores_padding() -> None:
    x = torch.tensor([[[-3.0, -4.0, -2.0, 9.0, 9.0, 9.0]]])
    valid = torch.tensor([[True] * 3 + [False] * 3])
    assert pooled(x, valid).tolist() == [[[-3.0, -2.0, 0.0]]]


def targets_by_the_book(
    points: Points, segments: list[list[float]], labels: list[int]
) -> list[tuple[set[int], list[float]]]:
    """Point by point: the classes to be found, and start and end."""
    found: list[tuple[set[int], list[float]]] = []
    for at, stride, lower, upper in zip(
        *(values.tolist() for values in vars(points).values()), strict=True
    ):
        fitting = [
            (end - start, index)
            for index, (start, end) in enumerate(segments)
            if start < at < end
            and abs(at - (start + end) / 2) < 1.5 * stride
            and lower <= max(at - start, end - at) <= upper
        ]
        if not fitting:
            found.append((set(), []))
            continue
        shortest, index = min(fitting)
        classes = {labels[other] for length, other in fitting if length <= shortest + 1e-3}
        found.append((classes, segments[index]))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_points_take_the_shortest_action_that_fits(seed: int) -> None:
    chance = np.random.default_rng(seed)
    starts = chance.integers(0, 80, 9)
    segments = [
        [float(s), float(s + n)] for s, n in zip(starts, chance.integers(2, 60, 9), strict=True)
    ]
    segments.append(segments[0])
    labels = chance.integers(0, 4, 10).tolist()
    points = points_of([96, 48, 24, 12], torch.device("cpu"))
    targets = assign(points, torch.tensor(segments), torch.tensor(labels), classes=4)
    wanted = targets_by_the_book(points, segments, labels)
    assert any(len(classes) for classes, _ in wanted)
    for at, (classes, ends) in enumerate(wanted):
        assert set(targets.classes[at].nonzero().flatten().tolist()) == classes
        if classes:
            position, stride = points.positions[at], points.strides[at]
            before, after = (targets.offsets[at] * stride).tolist()
            assert [position - before, position + after] == pytest.approx(ends)


def test_one_action_of_two_classes_is_wanted_as_both() -> None:
    points = points_of([16], torch.device("cpu"))
    segments = torch.tensor([[4.0, 8.0], [4.0, 8.0005], [2.0, 14.0]])
    targets = assign(points, segments, torch.tensor([0, 2, 1]), classes=3)
    assert targets.classes[6].tolist() == [1, 0, 1]


def test_a_window_without_actions_wants_nothing() -> None:
    points = points_of([8, 4], torch.device("cpu"))
    targets = assign(points, torch.empty(0, 2), torch.empty(0, dtype=torch.int64), classes=2)
    assert targets.classes.shape == (12, 2)
    assert not targets.classes.any()


def test_distance_iou_of_known_segments() -> None:
    truth = torch.tensor([[0.0, 10.0]] * 4)
    found = torch.tensor([[0.0, 10.0], [5.0, 15.0], [20.0, 30.0], [3.0, 3.0]])
    wanted = [0, 1 - 5 / 15 + (5 / 15) ** 2, 1 + (20 / 30) ** 2, 1 + (2 / 10) ** 2]
    assert distance_iou_loss(found, truth).tolist() == pytest.approx(wanted)


def outputs_of(logits: Any, offsets: Any, valid: Any) -> Outputs:
    """One window on one level of stride 1."""
    points = points_of([len(valid)], torch.device("cpu"))
    return Outputs(torch.tensor([logits]), torch.tensor([offsets]), torch.tensor([valid]), points)


def test_losses_of_known_outputs() -> None:
    """Focal loss of both classes over valid points, distance IoU over the positive one."""
    outputs = outputs_of(
        logits=[[0.0, -1.0], [2.0, 0.5], [9.0, 9.0]],
        offsets=[[0.0, 0.0], [1.0, 2.0], [5.0, 5.0]],
        valid=[True, True, False],
    )
    losses = summed_losses(outputs, [torch.tensor([[0.5, 2.5]])], [torch.tensor([0])])

    def focal(logit: float, wanted: bool) -> float:
        score = 1 / (1 + math.exp(-logit))
        right = score if wanted else 1 - score
        return -(0.25 if wanted else 0.75) * (1 - right) ** 2 * math.log(right)

    known = focal(0, False) + focal(-1, False) + focal(2, True) + focal(0.5, False)
    assert losses["cls_loss"].item() == pytest.approx(known, rel=1e-5)
    overlap = 1 - 2 / 3 + (0.0 / 3) ** 2  # [0, 3] against [0.5, 2.5], one centre
    assert losses["reg_loss"].item() == pytest.approx(overlap, rel=1e-5)
    assert losses["positives"].item() == 1


def test_the_normaliser_is_a_running_mean_in_training_only() -> None:
    model = network()
    start = model.head.loss_normalizer.item()
    assert start == 100
    summed = {"cls_loss": torch.tensor(30.0), "positives": torch.tensor(50.0)}
    assert model.normalised(summed)["cls_loss"].item() == pytest.approx(30 / 50)
    assert model.head.loss_normalizer.item() == 100
    model.train()
    assert model.normalised(summed)["cls_loss"].item() == pytest.approx(30 / 95)
    assert model.normalised(summed)["positives"].item() == 50
    assert model.head.loss_normalizer.item() == pytest.approx(0.9 * 95 + 0.1 * 50)
    nothing = summed | {"positives": torch.tensor(0.0)}
    for _ in range(200):
        model.normalised(nothing)
    assert model.head.loss_normalizer.item() == pytest.approx(1)
    assert "head.loss_normalizer" in model.state_dict()


def test_a_batch_without_actions_has_a_loss_and_gradients() -> None:
    model = network().train()
    empty = batch()
    losses = summed_losses(
        model(empty.frames, empty.valid),
        [torch.empty(0, 2)] * 2,
        [torch.empty(0, dtype=torch.int64)] * 2,
    )
    assert losses["positives"].item() == losses["reg_loss"].item() == 0
    sum(losses.values(), torch.zeros(())).backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.parameters())


def test_what_is_decoded() -> None:
    """Scores above the minimum, best first, in seconds, without padding and empty segments."""
    outputs = outputs_of(
        logits=[[1.0, -9.0], [3.0, 2.0], [0.0, -9.0], [8.0, 8.0]],
        offsets=[[2.0, 3.0], [1.0, 4.0], [0.0, 0.0], [1.0, 1.0]],
        valid=[True, True, True, False],
    )
    (found,) = decode(outputs, [partial(seconds, start=-1)])
    assert found.segments.tolist() == [[0, 0.4], [0, 0.4], [0, 0.2]]
    assert found.labels.tolist() == [0, 1, 0]
    assert found.scores.tolist() == pytest.approx([0.952574, 0.880797, 0.731059], abs=1e-6)
    (best,) = decode(outputs, [partial(seconds, start=20)], Keeping(top_k=2))
    assert best.segments.tolist() == [[2.0, 2.5], [2.0, 2.5]]
    (none,) = decode(outputs, [partial(seconds, start=0)], Keeping(min_score=0.999))
    assert len(none) == 0


def test_windows_of_one_video_are_merged() -> None:
    model = network()
    given = batch(window(start=0), window(seed=1, valid=20, start=16))
    found = decode(
        model(given.frames, given.valid), [partial(seconds, start=one) for one in given.starts]
    )
    assert all(len(one) for one in found)
    assert found[1].segments.min() >= 0
    kept = merged(found)
    assert 0 < len(kept) <= sum(map(len, found))
    assert kept.scores[0] == max(one.scores[0] for one in found)
