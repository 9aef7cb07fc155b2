"""Clips: exact frames for given seeds, clamping, lengths by epoch, short sequences, shifts."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.core.errors import ConfigError, DataError
from backend.datasets.tracking.clips import (
    ID_ROOM,
    chance_of,
    check_curriculum,
    clip_index,
    clip_length,
    clip_places,
    draw_stride,
    pseudo_shifts,
    shifted,
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
    drawn = Counter(draw_stride(4, 0, 0, clip) for clip in range(400))
    assert set(drawn) == {1, 2, 3, 4}
    assert min(drawn.values()) > 60
    assert {draw_stride(1, 0, 0, clip) for clip in range(20)} == {1}


def test_exact_frames_of_given_seeds() -> None:
    """The same in every process, and others in the next epoch."""
    index = clip_index([20, 9], longest=3)

    def clips(seed: int, epoch: int) -> list[list[int]]:
        strides = [draw_stride(5, seed, epoch, clip) for clip in range(len(index))]
        return [index.places(n, 3, stride)[1].tolist() for n, stride in enumerate(strides)]

    assert clips(0, 0)[:4] == [[0, 5, 10], [1, 6, 11], [2, 4, 6], [3, 7, 11]]
    assert clips(0, 0) == clips(0, 0)
    assert clips(0, 0) != clips(0, 1)
    assert clips(0, 0) != clips(1, 0)
    code = (
        "from backend.datasets.tracking.clips import draw_stride\n"
        "print([draw_stride(5, 0, 0, clip) for clip in range(4)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([draw_stride(5, 0, 0, clip) for clip in range(4)])


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
    with pytest.raises(ConfigError, match="clip_length"):
        check_curriculum(lengths, epochs)


def test_a_pseudo_clip_begins_at_the_image_and_drifts() -> None:
    shifts = pseudo_shifts(6, 50, chance_of(3, 0, 0))
    assert shifts.shape == (6, 2)
    assert shifts[0].tolist() == [0, 0]
    steps = np.diff(shifts, axis=0)
    assert (np.abs(steps) <= 50).all()
    assert len(np.unique(steps)) > 4
    many = np.diff(pseudo_shifts(3000, 2, chance_of(3, 0, 0)), axis=0)
    assert set(many.ravel().tolist()) == {-2, -1, 0, 1, 2}
    assert (pseudo_shifts(6, 50, chance_of(3, 0, 0)) == shifts).all()


def test_boxes_move_with_the_image_and_may_leave_it() -> None:
    boxes = np.array([[10, 10, 20, 20], [80, 5, 15, 10], [50, 0, 10, 10]], dtype=float)
    moved, kept = shifted(boxes, np.array([15, -5]), (96, 64))
    assert moved.tolist() == [[25, 5, 20, 20], [95, 0, 1, 10], [65, 0, 10, 5]]
    assert kept.all()
    gone, kept = shifted(boxes, np.array([30, -10]), (96, 64))
    assert kept.tolist() == [True, False, False]
    assert gone[1, 2] == 0
    assert boxes[0].tolist() == [10, 10, 20, 20]


def test_ids_of_different_sequences_never_meet() -> None:
    assert unique_ids(np.array([1, 7]), 0).tolist() == [1, 7]
    assert unique_ids(np.array([1, 7]), 2).tolist() == [200_001, 200_007]
    assert unique_ids(np.array([], dtype=np.int64), 2).tolist() == []
    with pytest.raises(DataError, match=r"id 100000: .* below 100,000"):
        unique_ids(np.array([1, ID_ROOM]), 0)
    with pytest.raises(DataError, match="id -1"):
        unique_ids(np.array([-1]), 0)
