"""Clips: exact frames for given seeds, clamping, lengths by epoch, short sequences, shifts."""

from collections import Counter
from itertools import chain
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import ConfigError, DataError
from backend.datasets.tracking.clips import (
    ID_ROOM,
    check_curriculum,
    clip_index,
    clip_length,
    clip_places,
    clipped,
    draw_clips,
    draw_stride,
    pseudo_shifts,
    unique_ids,
)


def test_every_start_of_whole_clips_and_one_of_short_sequences() -> None:
    index = clip_index([6, 4, 2, 0, 1], longest=4)
    assert index.starts.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [4, 0]]
    assert index.short == (2, 3, 4)
    assert len(index) == 6


def test_frames_of_a_clip() -> None:
    index = clip_index([6, 2], longest=4)
    sequence, places = index.places(1, length=3, stride=2)
    assert (sequence, places.tolist()) == (0, [1, 3, 5])
    assert index.places(2, length=4, stride=2)[1].tolist() == [2, 4, 5, 5]
    sequence, places = index.places(3, length=4, stride=1)
    assert (sequence, places.tolist()) == (1, [0, 1, 1, 1])


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 10), st.data())
def test_places_stay_inside_and_never_fall(
    frames: int, length: int, stride: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, frames - 1))
    places = clip_places(start, length, stride, frames)
    assert len(places) == length
    assert places[0] == start
    assert places[-1] == min(start + stride * (length - 1), frames - 1)
    assert (np.diff(places) >= 0).all()


def test_nothing_to_train_on() -> None:
    for frames in ([], [0, 0]):
        with pytest.raises(DataError, match="no sequence has a frame"):
            clip_index(frames, 4)


def test_strides_reach_from_one_to_the_largest() -> None:
    chance = Random(0)
    drawn = Counter(draw_stride(4, chance) for _ in range(400))
    assert set(drawn) == {1, 2, 3, 4}
    assert min(drawn.values()) > 60
    assert {draw_stride(1, chance) for _ in range(20)} == {1}


def test_exact_frames_of_given_seeds() -> None:
    """Others in the next epoch, and the same again."""
    index = clip_index([20, 9], longest=3)

    def clips(seed: int) -> list[list[int]]:
        chance = Random(seed)
        strides = [draw_stride(5, chance) for _ in range(len(index))]
        return [index.places(n, 3, stride)[1].tolist() for n, stride in enumerate(strides)]

    assert clips(0)[:4] == [[0, 4, 8], [1, 5, 9], [2, 3, 4], [3, 6, 9]]
    assert clips(0) == clips(0)
    assert clips(0) != clips(1)


def test_epochs_of_drawn_clips_go_on_through_all_of_them() -> None:
    epochs = [draw_clips(4, 10, seed=3, epoch=epoch).tolist() for epoch in range(5)]
    assert epochs == [[9, 6, 0, 2], [1, 4, 7, 5], [3, 8, 4, 1], [2, 8, 5, 0], [7, 9, 6, 3]]
    drawn = list(chain(*epochs))
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert draw_clips(4, 10, seed=3, epoch=2).tolist() == epochs[2]
    assert draw_clips(4, 10, seed=4, epoch=0).tolist() != epochs[0]
    assert Counter(draw_clips(25, 10, seed=0, epoch=7).tolist()).keys() == set(range(10))


def test_the_clip_length_changes_at_its_epochs() -> None:
    lengths, epochs = (2, 3, 4, 5), (1, 3, 4)
    check_curriculum(lengths, epochs)
    assert [clip_length(epoch, lengths, epochs) for epoch in range(6)] == [2, 3, 3, 4, 5, 5]
    check_curriculum((5,), ())
    assert clip_length(9, (5,), ()) == 5


@pytest.mark.parametrize(
    ("lengths", "epochs"),
    [((2, 3), ()), ((2,), (1,)), ((2, 3, 4), (3, 3)), ((2, 3, 4), (3, 2)), ((2, 3), (0,)),
     ((), ()), ((0,), ())],
)  # fmt: skip
def test_a_curriculum_that_is_none(lengths: tuple[int, ...], epochs: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="clip length"):
        check_curriculum(lengths, epochs)


def test_a_pseudo_clip_begins_at_the_image_and_drifts() -> None:
    shifts = pseudo_shifts(6, 50, Random(3))
    assert shifts.shape == (6, 2)
    assert shifts[0].tolist() == [0, 0]
    steps = np.diff(shifts, axis=0)
    assert (np.abs(steps) <= 50).all()
    assert len(np.unique(steps)) > 4
    many = np.diff(pseudo_shifts(3000, 2, Random(3)), axis=0)
    assert set(many.ravel().tolist()) == {-2, -1, 0, 1, 2}
    assert (pseudo_shifts(6, 50, Random(3)) == shifts).all()
    assert pseudo_shifts(1, 50, Random(3)).tolist() == [[0, 0]]


def test_boxes_are_cut_at_the_image() -> None:
    boxes = np.array([[-5, 5, 20, 20], [90, 0, 15, 10], [96, 0, 10, 10], [5, 70, 3, 3]], float)
    inside, kept = clipped(boxes, (96, 64))
    assert inside[:2].tolist() == [[0, 5, 15, 20], [90, 0, 6, 10]]
    assert kept.tolist() == [True, True, False, False]


def test_ids_of_different_sequences_never_meet() -> None:
    assert unique_ids(np.array([1, 7]), 0).tolist() == [1, 7]
    assert unique_ids(np.array([1, 7]), 2).tolist() == [200_001, 200_007]
    assert unique_ids(np.array([], dtype=np.int64), 2).tolist() == []
    with pytest.raises(DataError, match=r"id 100000: .* below 100,000"):
        unique_ids(np.array([1, ID_ROOM]), 0)
    with pytest.raises(DataError, match="id -1"):
        unique_ids(np.array([-1]), 0)
