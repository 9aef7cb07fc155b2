"""Tracking: births in query order, misses, ends, labels."""

from dataclasses import replace

import pytest
import torch

from backend.trainers.motrv2.model.queries import Queries, unnamed
from backend.trainers.motrv2.model.tracker import (
    FrameTracks,
    TrackSettings,
    TrackState,
    counted,
    step,
    track,
)
from tests.support.motrv2_frames import clip, frame, learner

ANY = TrackSettings(min_area=0)


def queries(*ids: int, misses: int = 0) -> Queries:
    count = len(ids)
    made = unnamed(torch.zeros(count, 8), torch.zeros(count, 4))
    return replace(
        made, ids=torch.tensor(ids), misses=torch.full((count,), misses, dtype=torch.int64)
    )


def after(before: Queries, *scores: float, **settings: float) -> tuple[list[int], list[int], int]:
    asked = TrackSettings(**settings)  # type: ignore[arg-type]
    now, born = counted(before, torch.tensor(scores), 7, asked)
    return now.ids.tolist(), now.misses.tolist(), born


def test_births_go_by_the_order_of_the_queries() -> None:
    assert after(queries(-1, -1, 3, -1), 0.5, 0.49, 0.9, 0.8) == ([8, -1, 3, 9], [0, 0, 0, 0], 9)


def test_a_track_ends_when_it_was_missed_too_often() -> None:
    assert after(queries(3, 4, misses=18), 0.4, 0.6) == ([3, 4], [19, 0], 7)
    assert after(queries(3, 4, misses=19), 0.4, 0.5) == ([-1, 4], [20, 0], 7)
    assert after(queries(3), 0.4, miss_tolerance=1) == ([-1], [1], 7)


def test_between_the_thresholds_nothing_is_counted() -> None:
    settings = {"score_threshold": 0.7, "filter_threshold": 0.3}
    assert after(queries(3, -1, misses=5), 0.5, 0.5, **settings) == ([3, -1], [5, 5], 7)
    assert after(queries(3, misses=30), 0.5, **settings) == ([3], [30], 7)
    upside_down = {"score_threshold": 0.3, "filter_threshold": 0.7}
    assert after(queries(3, misses=5), 0.5, **upside_down) == ([3], [1], 7)
    newborn = after(queries(-1), 0.5, **upside_down)
    assert newborn == ([8], [0], 8), "born in this frame, so not missed in it"


def test_a_head_whose_sixth_class_fires_tracks_the_sixth_class() -> None:
    network = learner(classes=8).eval()
    with torch.no_grad():
        for head in network.class_embed:
            head.weight.zero_()
            head.bias.fill_(-9)
            head.bias[0], head.bias[5] = -3, 3
    frames = clip((0,), (0,), (0,))
    every = list(track(network, frames, ANY))
    shown = [one.shown((480, 320), ANY) for one in every]
    first, second, third = [*range(1, 7)], [*range(7, 13)], [*range(13, 19)]
    ids = [one.ids.tolist() for one in shown]
    assert ids == [first, second + first, third + second + first]
    assert all(one.labels.eq(5).all() for one in shown)
    again = list(track(network, frames, ANY))
    assert [one.ids.tolist() for one in again] == [one.ids.tolist() for one in every]
    from_zero = list(track(network, frames, replace(ANY, first_id=0)))
    assert from_zero[0].ids.tolist() == [0, 1, 2, 3, 4, 5]


def test_nothing_is_shown_while_scores_are_low_or_boxes_small() -> None:
    network = learner(sure=-4.0).eval()
    assert all(not (one.ids >= 0).any() for one in track(network, clip((0,), (0,)), ANY))
    loud = learner(sure=4.0).eval()
    (one,) = track(loud, clip((0,)), ANY)
    areas = one.boxes[:, 2] * one.boxes[:, 3] * 100 * 50
    assert len(one.shown((100, 50), ANY).ids) == 6
    least = replace(ANY, min_area=float(areas.sort().values[2]))
    assert len(one.shown((100, 50), least).ids) == 3


def test_higher_thresholds_show_fewer_boxes() -> None:
    network = learner(classes=3).eval()
    one = list(track(network, clip((0,), (0,)), replace(ANY, score_threshold=0.1)))[-1]
    thresholds = [0.1 * step for step in range(1, 10)]
    counts = [len(one.shown((99, 99), replace(ANY, score_threshold=t)).ids) for t in thresholds]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_a_vote_is_by_the_sum_of_scores_so_far() -> None:
    network = learner(classes=2, proposal_classes=0, queries=1).eval()
    biases = ([2.0, 1.0], [1.5, 2.0], [0.0, 3.0])
    labels = {}
    for policy in ("frame", "vote"):
        settings = replace(ANY, label=policy)
        state, found = TrackState(), []
        for bias in biases:
            with torch.no_grad():
                for head in network.class_embed:
                    head.weight.zero_()
                    head.bias.copy_(torch.tensor(bias))
            state, seen = step(network, state, frame((), proposals=0), settings)
            found.append(int(seen.labels[seen.ids == 1]))
        labels[policy] = found
    sums = torch.tensor(biases).sigmoid().cumsum(0)
    assert labels["frame"] == [0, 1, 1]
    assert labels["vote"] == sums.argmax(-1).tolist() == [0, 0, 1]


def test_too_many_tracks_are_cut_with_a_warning() -> None:
    network = learner(sure=4.0).eval()
    settings = replace(ANY, max_track_queries=4)
    with pytest.warns(UserWarning, match="max_track_queries"):
        state, _ = step(network, TrackState(), frame(), settings)
    assert state.queries is not None
    assert len(state.queries) == 4


@pytest.mark.filterwarnings("ignore:more than 12 track queries")
def test_three_hundred_frames_of_false_positives_stay_within_the_limit() -> None:
    network = learner(sure=4.0).eval()
    settings = replace(ANY, max_track_queries=12, label="vote")
    state, counts = TrackState(), []
    one, memory = frame(), network.encode(frame().image[None])
    for _ in range(300):
        state, _ = step(network, state, one, settings, memory)
        assert state.queries is not None
        counts.append((len(state.queries), len(state.votes)))
    assert counts[0] == (6, 6)
    assert set(counts[2:]) == {(12, 18)}


def test_a_step_changes_no_state_that_it_was_given() -> None:
    network = learner(sure=4.0).eval()
    first, _ = step(network, TrackState(), frame(), ANY)
    assert first.queries is not None
    before = first.queries.ids.clone(), first.queries.content.clone(), dict(first.votes)
    results: list[FrameTracks] = [step(network, first, frame(), ANY)[1] for _ in range(2)]
    assert torch.equal(results[0].ids, results[1].ids)
    assert torch.equal(results[0].boxes, results[1].boxes)
    assert torch.equal(first.queries.ids, before[0])
    assert torch.equal(first.queries.content, before[1])
    assert first.votes == before[2]


def test_frames_without_proposals_or_tracks_pass() -> None:
    network = learner(sure=-4.0).eval()
    tracks = list(track(network, clip((), (), proposals=0), ANY))
    assert [len(one.ids) for one in tracks] == [4, 4]
