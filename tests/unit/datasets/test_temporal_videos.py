"""Video files: what a probe tells of them, and which frames are decoded."""

from pathlib import Path

import numpy as np
import pytest
from av.codec import codecs_available

from backend.core.errors import ConfigError, DataError
from backend.datasets.temporal import (
    Augmentation,
    Decoded,
    VideoFile,
    View,
    centre_view,
    draw_view,
    probe_video,
    probe_videos,
    read_frames,
)
from tests.support import videos_made as made

CODECS = [codec for codec in ("libx264", "mpeg4", "libvpx-vp9") if codec in codecs_available]
GROWING = np.cumsum([10 + number for number in range(60)]).tolist()


def numbers(file: VideoFile, wanted: list[int], threads: int = 1) -> list[int]:
    """Which pictures the frames of these numbers show."""
    size = (file.width, file.height)
    view = View(made.HEIGHT, size, (0, 0, made.HEIGHT, made.HEIGHT))
    frames = read_frames(file, np.array(wanted), view, threads).frames.transpose(0, 2, 3, 1)
    return [made.number_of(np.pad(one, ((0, 0), (0, 16), (0, 0)))) for one in frames]


def low(wanted: list[int]) -> list[int]:
    """The bits of numbers that the left three columns show."""
    return [number & 0b01110111 for number in wanted]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_are_the_ones_that_were_asked_for(codec: str, suffix: str, tmp_path: Path) -> None:
    file = probe_video(made.write(tmp_path / f"a{suffix}", 60, codec=codec))
    assert (file.frames, file.width, file.height, file.variable) == (60, 64, 48, False)
    assert file.fps == pytest.approx(30, rel=1e-3)
    assert file.duration == pytest.approx(2, rel=1e-3)
    for wanted in (
        list(range(60)), [0], [59], [24, 25, 26], list(range(23, 60, 4)), [7, 7, 30, 30], [49, 50],
    ):  # fmt: skip
        assert numbers(file, wanted) == low(wanted), wanted
    assert numbers(file, [11, 40], threads=3) == low([11, 40])


def test_variable_frame_rates_are_told_and_their_frames_found(tmp_path: Path) -> None:
    file = probe_video(made.write(tmp_path / "a.mp4", 60, stamps=GROWING))
    assert file.variable
    assert file.frames == 60
    assert numbers(file, [0, 13, 14, 58, 59]) == low([0, 13, 14, 58, 59])
    seconds = (np.array(GROWING) - GROWING[0]) / 600
    np.testing.assert_allclose(file.places_of(seconds), np.arange(60), atol=1e-6)
    times = np.array([0.0, 0.31, 1.234, file.duration])
    np.testing.assert_allclose(file.seconds_of(file.places_of(times)), times, atol=1e-9)


def test_a_constant_rate_puts_a_time_at_t_times_fps(tmp_path: Path) -> None:
    file = probe_video(made.write(tmp_path / "a.mp4", 30))
    np.testing.assert_allclose(file.places_of(np.array([0.5, 0.9])), [15, 27])
    np.testing.assert_allclose(file.seconds_of(np.array([15.0, 27.0])), [0.5, 0.9])


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_rotated_video_is_read_as_it_is_shown(degrees: int, turns: int, tmp_path: Path) -> None:
    plain = probe_video(made.write(tmp_path / "a.mp4", 4, codec="mpeg4"))
    upright = read_frames(plain, np.arange(4), centre_view((64, 48), 48)).frames
    path = made.write(tmp_path / "b.mp4", 4, codec="mpeg4", rotation=degrees)
    file = probe_video(path)
    assert file.rotation == degrees
    assert (file.width, file.height) == ((64, 48) if degrees == 180 else (48, 64))
    turned = read_frames(file, np.arange(4), centre_view((file.width, file.height), 48)).frames
    difference = np.rot90(upright, turns, axes=(2, 3)).astype(int) - turned
    assert np.abs(difference).mean() < 1


def test_what_cannot_be_used_is_told_in_a_sentence(tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is no video\n" * 99, encoding="utf-8")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    one = made.write(tmp_path / "one.mp4", 1)
    good = made.write(tmp_path / "good.mp4", 10)
    found = probe_videos([text, empty, one, good, tmp_path / "none.mp4"])
    assert isinstance(found[good], VideoFile)
    assert "cannot be decoded" in str(found[text])
    assert "cannot be decoded" in str(found[empty])
    assert "fps 0" in str(found[one])
    assert found[tmp_path / "none.mp4"] == "no such file"
    with pytest.raises(DataError, match=r"text\.mp4: cannot be decoded"):
        probe_video(text)


def test_a_file_that_is_cut_off_holds_fewer_frames_than_it_promises(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.mkv", 60, codec="mpeg4")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    file = probe_video(path)
    assert 20 < file.frames < 55
    assert numbers(file, [3, 18]) == low([3, 18])


def test_frames_that_are_lost_repeat_the_one_before(tmp_path: Path) -> None:
    path = made.write(tmp_path / "a.mkv", 60, codec="mpeg4")
    file = probe_video(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    found: Decoded = read_frames(file, np.arange(10, 60), centre_view((64, 48), 48))
    assert 0 < found.lost < 40
    np.testing.assert_array_equal(found.frames[-1], found.frames[-found.lost - 1])
    with pytest.raises(DataError, match=r"has no frame at 58 of 60|cannot be decoded"):
        read_frames(file, np.array([58, 59]), centre_view((64, 48), 48))


def test_the_centre_view_is_the_square_in_the_middle(tmp_path: Path) -> None:
    file = probe_video(made.write(tmp_path / "a.mp4", 4, codec="mpeg4"))
    middle = read_frames(file, np.array([3]), centre_view((64, 48), 48)).frames[0]
    whole = made.picture(3).transpose(2, 0, 1)
    assert np.abs(middle.astype(int) - whole[:, :, 8:56]).mean() < 4
    assert centre_view((320, 180), 160).scaled == (284, 160)
    assert centre_view((180, 320), 160).crop == (0, 62, 160, 160)


def test_drawn_views_stay_inside_and_follow_the_seed() -> None:
    how = Augmentation()
    views = [draw_view((320, 180), 160, how, np.random.default_rng(seed)) for seed in range(300)]
    assert views[7] == draw_view((320, 180), 160, how, np.random.default_rng(7))
    areas = []
    for view in views:
        x, y, width, height = view.crop
        assert view.scaled == (324, 182)
        assert min(x, y) >= 0
        assert x + width <= 324
        assert y + height <= 182
        areas.append(width * height / (324 * 182))
    assert 0.07 < min(areas) < 0.12
    assert 0.6 < max(areas) < 0.76  # 4 to 3 in 16 to 9
    assert 100 < sum(view.flip for view in views) < 200
    assert {bool(view.angle) for view in views} == {True, False}


def test_no_augmentation_is_the_plain_resized_picture() -> None:
    how = Augmentation(48, (1, 1), (1, 1), 0, 0, 0, 0, 0, 0)
    view = draw_view((48, 48), 48, how, np.random.default_rng(0))
    assert view == centre_view((48, 48), 48)
    assert view.colour is None


def test_one_draw_colours_all_frames_alike() -> None:
    grey = np.full((2, 2, 3), 100, np.uint8)
    how = Augmentation(operations=0, contrast=0, saturation=0, hue=0)
    views = [draw_view((64, 64), 32, how, np.random.default_rng(seed)) for seed in range(40)]
    shades = {int(view.coloured(grey)[0, 0, 0]) for view in views}
    assert min(shades) >= 50
    assert max(shades) <= 150
    assert 100 in shades
    turned = Augmentation(operations=0, brightness=0, contrast=0, saturation=0, hue=0.5)
    for seed in range(10):  # hue and saturation leave grey as it is
        view = draw_view((64, 64), 32, turned, np.random.default_rng(seed))
        assert np.abs(view.coloured(grey).astype(int) - 100).max() <= 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"area": (0.5, 1.5)}, "area"), ({"aspect": (2.0, 1.0)}, "aspect"),
     ({"operations": 99}, "operations")],
)  # fmt: skip
def test_views_that_cannot_be_drawn_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Augmentation(**settings)  # type: ignore[arg-type]


def test_every_augmentation_can_be_decoded(tmp_path: Path) -> None:
    file = probe_video(made.write(tmp_path / "a.mp4", 64, codec="mpeg4"))
    how = Augmentation(short=50, area=(0.6, 0.9), operations=7)
    for seed in range(4):
        view = draw_view((64, 48), 32, how, np.random.default_rng(seed))
        frames = read_frames(file, np.arange(60, 64), view).frames
        assert frames.shape == (4, 3, 32, 32)
        assert frames.std() > 5
