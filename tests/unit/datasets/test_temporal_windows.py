"""Windows of videos: which are drawn, what slides, and which actions they keep."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.core.errors import ConfigError
from backend.datasets.temporal import (
    Sampling,
    TemporalVideo,
    VideoFile,
    centre_view,
    draw_cut,
    load_window,
    probe_video,
    seconds_of,
    sliding_cuts,
    trainable,
)
from backend.datasets.temporal.records import Announced
from backend.datasets.temporal.windows import on_grid, positions_of, starts_of
from tests.support import videos_made

WHOLE = Sampling(length=64, crop_ratio=None)


def video(frames: int, *segments: tuple[float, float], fps: int = 10) -> TemporalVideo:
    """One that need not exist, with actions of classes 0, 1, 2 ... at these seconds."""
    file = VideoFile(Path("none.mp4"), frames, frames, 64, 48, "mpeg4", Fraction(1, 1000), 0,
                     Fraction(1000, fps))  # fmt: skip
    bounds = np.array(segments, dtype=np.float64).reshape(-1, 2)
    return TemporalVideo("one", bounds, np.arange(len(bounds)), Announced(), file.path, file)


def kept_by_definition(one: TemporalVideo, start: int, count: int, how: Sampling) -> list[int]:
    """The actions of which [start, start + count] keeps the threshold, by the definition."""
    found = []
    for label, (first, last) in enumerate(on_grid(one, how.stride).tolist()):
        inside = min(last, start + count) - max(first, start)
        if inside > 0 and inside >= how.trunc_thresh * (last - first) - 1e-9:
            found.append(label)
    return found


def test_a_position_is_time_times_rate_by_stride() -> None:
    one = video(300, (1.0, 2.5), fps=30)
    assert on_grid(one, 1).tolist() == [[30, 75]]
    assert on_grid(one, 4).tolist() == [[7.5, 18.75]]
    assert (positions_of(one, 1), positions_of(one, 4), positions_of(one, 7)) == (300, 75, 43)
    back = seconds_of(np.array([[2.5, 13.75]]), 5, one, 4)
    np.testing.assert_allclose(back, [[1.0, 2.5]])
    assert seconds_of(np.array([99.0]), 0, one, 4).tolist() == [10.0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(20, 200),
    st.lists(st.tuples(st.floats(0, 18), st.floats(0.1, 12)), min_size=1, max_size=4),
    st.sampled_from([0.5, 0.75, 1.0]),
    st.integers(0, 10_000),
)
def test_drawn_windows_are_acceptable_and_every_acceptable_one_can_be(
    frames: int, actions: list[tuple[float, float]], thresh: float, seed: int
) -> None:
    ends = [(start, min(start + length, frames / 10)) for start, length in actions]
    one = video(frames, *[pair for pair in ends if pair[1] - pair[0] > 0.05] or [(0.0, 1.0)])
    how = replace(WHOLE, trunc_thresh=thresh)
    count = min(64, frames)
    acceptable = {
        start for start in range(frames - count + 1)
        if kept_by_definition(one, start, count, how)
    }  # fmt: skip
    assert trainable(one, how) == bool(acceptable)
    if not acceptable:
        with pytest.raises(ConfigError, match="keeps"):
            draw_cut(one, how, np.random.default_rng(seed))
        return
    chance = np.random.default_rng(seed)
    drawn = [draw_cut(one, how, chance) for _ in range(40)]
    assert {cut.start for cut in drawn} <= acceptable
    for cut in drawn[:5]:
        assert cut.labels.tolist() == kept_by_definition(one, cut.start, count, how)
        assert (cut.segments >= 0).all()
        assert (cut.segments <= cut.count).all()


def test_acceptable_windows_are_equally_likely() -> None:
    one = video(164, (0.0, 2.0), (14.0, 16.0))  # 100 starts, of which few keep an action
    acceptable = [at for at in range(101) if kept_by_definition(one, at, 64, WHOLE)]
    chance = np.random.default_rng(0)
    starts = [draw_cut(one, WHOLE, chance).start for _ in range(4000)]
    found, counts = np.unique(starts, return_counts=True)
    assert found.tolist() == acceptable
    expected = 4000 / len(acceptable)
    assert ((counts - expected) ** 2 / expected).sum() < 3 * len(acceptable)


def test_actions_are_clipped_to_their_window_or_left_out() -> None:
    one = video(200, (1.0, 3.0), (5.0, 9.0), (19.0, 20.0))
    first = sliding_cuts(one, WHOLE, 0)[0]  # positions 0 to 64: all of one, 14 of 40 of the other
    assert (first.segments.tolist(), first.labels.tolist()) == ([[10.0, 30.0]], [0])
    lenient = sliding_cuts(one, replace(WHOLE, trunc_thresh=0.3), 0)[0]
    assert lenient.segments.tolist() == [[10.0, 30.0], [50.0, 64.0]]


def test_a_crop_covers_a_part_and_the_rest_is_padded() -> None:
    one = video(300, (1.0, 28.0), (5.0, 6.0))
    how = Sampling(length=100, crop_ratio=(0.9, 1.0))
    chance = np.random.default_rng(1)
    counts = {draw_cut(one, how, chance).count for _ in range(300)}
    assert counts == set(range(90, 101))
    short = {draw_cut(video(50, (1.0, 2.0)), how, chance).count for _ in range(100)}
    assert short == set(range(45, 51))


def test_a_crop_that_would_cut_every_action_is_not_made() -> None:
    one = video(64, (0.0, 6.4))
    how = Sampling(length=64, trunc_thresh=1.0, crop_ratio=(0.5, 0.6))
    assert draw_cut(one, how, np.random.default_rng(0)).count == 64


@pytest.mark.parametrize(
    ("positions", "overlap", "starts"),
    [(64, 0.5, [0]), (10, 0.5, [0]), (0, 0.5, [0]), (100, 0.0, [0, 36]), (128, 0.0, [0, 64]),
     (128, 0.5, [0, 32, 64]), (130, 0.5, [0, 32, 64, 66]), (200, 0.25, [0, 48, 96, 136])],
)  # fmt: skip
def test_sliding_windows_end_where_the_video_does(
    positions: int, overlap: float, starts: list[int]
) -> None:
    assert starts_of(positions, 64, overlap).tolist() == starts


def test_a_window_is_decoded_padded_and_masked(tmp_path: Path) -> None:
    file = probe_video(videos_made.write(tmp_path / "a.mp4", 60, codec="mpeg4"))
    one = replace(video(60, (0.5, 1.5)), path=file.path, file=file)
    how = Sampling(length=20, stride=4)
    (cut,) = sliding_cuts(one, how, 0.5)
    assert cut.frames(4).tolist() == list(range(0, 60, 4))
    window = load_window(one, cut, how, centre_view((64, 48), 48))
    assert window.frames.shape == (20, 3, 48, 48)
    assert window.valid.tolist() == [True] * 15 + [False] * 5
    assert (window.video, window.start, window.lost) == ("one", 0, 0)
    np.testing.assert_array_equal(window.frames[15:], np.repeat(window.frames[14:15], 5, axis=0))
    assert not np.array_equal(window.frames[13], window.frames[14])
    assert window.segments.tolist() == [[3.75, 11.25]]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 200),
    st.lists(st.tuples(st.floats(0, 18), st.floats(0.1, 12)), min_size=1, max_size=4),
    st.sampled_from([None, (0.5, 0.9), (0.9, 1.0)]),
    st.sampled_from([1, 3, 4]),
    st.integers(0, 10_000),
)
def test_aligned_windows_lie_at_multiples(
    frames: int,
    actions: list[tuple[float, float]],
    crop: tuple[float, float] | None,
    stride: int,
    seed: int,
) -> None:
    one = video(frames, *[(start, start + length) for start, length in actions
                          if start + length < frames / 10] or [(0.0, frames / 10)])  # fmt: skip
    how = Sampling(length=64, stride=stride, crop_ratio=crop, align=16)
    total = positions_of(one, stride)
    acceptable = {
        start for start in range(0, max(1, total - 63 + 15), 16)
        if kept_by_definition(one, start, min(64, total - start), how)
    }  # fmt: skip
    assert trainable(one, how) == bool(acceptable)
    chance = np.random.default_rng(seed)
    for cut in [draw_cut(one, how, chance) for _ in range(20 if acceptable else 0)]:
        end = cut.start + cut.count
        assert cut.start % 16 == 0
        assert end == total or end % 16 == 0
        assert 0 < cut.count <= 64
        assert cut.labels.tolist() == kept_by_definition(one, cut.start, cut.count, how) != []
        if crop is None:
            assert cut.start in acceptable


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 400), st.sampled_from([0.0, 0.25, 0.5, 0.9]), st.sampled_from([1, 8, 16, 64])
)
def test_aligned_sliding_windows_miss_nothing(positions: int, overlap: float, align: int) -> None:
    starts = starts_of(positions, 64, overlap, align)
    assert (starts % align == 0).all()
    assert starts[0] == 0
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= 64).all()
    assert starts[-1] < positions <= starts[-1] + 64
    cuts = sliding_cuts(video(positions), Sampling(length=64, align=align), overlap)
    ends = [min(start + 64, positions) for start in starts.tolist()]
    assert [(cut.start, cut.start + cut.count) for cut in cuts] == list(
        zip(starts.tolist(), ends, strict=True)
    )


def test_a_crop_of_aligned_windows_has_whole_multiples() -> None:
    one = video(310, (1.0, 28.0), (5.0, 6.0))
    how = Sampling(length=96, crop_ratio=(0.5, 1.0), align=16)
    chance = np.random.default_rng(1)
    cuts = [draw_cut(one, how, chance) for _ in range(300)]
    assert {cut.count for cut in cuts if cut.start + cut.count < 310} == {48, 64, 80, 96}
    assert {cut.start for cut in cuts} <= set(range(0, 310, 16))


@pytest.mark.parametrize(
    "wrong",
    [{"length": 0}, {"stride": 0}, {"trunc_thresh": 0.0}, {"crop_ratio": (0.9, 1.1)},
     {"align": 0}, {"length": 96, "align": 10}],
)  # fmt: skip
def test_windows_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Sampling(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="overlap"):
        starts_of(100, 10, 1.0)
