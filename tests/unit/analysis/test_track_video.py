"""The video of two models' tracks: what is in it when decoded again, and what is refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from backend.analysis.track_frames import GAP, HEAD, LARGEST, SMALLEST, Side, colour, side_by_side
from backend.analysis.track_video import render_tracks
from backend.core.errors import ConfigError, DataError
from backend.core.trainer import Track

GREY = 90


def track(frame: int, identity: int, box: tuple[float, ...], label: str = "Block") -> Track:
    x, y, w, h = box
    return Track(frame=frame, id=identity, box=(x, y, w, h), score=0.9, label=label)


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Three grey frames of 160 x 96 pixels, each a little lighter."""
    paths = [tmp_path / f"{number:06d}.png" for number in range(1, 4)]
    for number, path in enumerate(paths):
        Image.new("RGB", (160, 96), (GREY + 20 * number,) * 3).save(path)
    return paths


def decoded(video: Path) -> tuple[list[NDArray[Any]], float]:
    """The frames (H, W, 3) in RGB, and their rate."""
    capture = cv2.VideoCapture(str(video))
    found = []
    while (read := capture.read())[0]:
        found.append(read[1][:, :, ::-1].astype(int))
    return found, float(capture.get(cv2.CAP_PROP_FPS))


def near(pixels: NDArray[Any], wanted: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where a colour is, as exactly as a compressed video has it."""
    close: NDArray[np.bool_] = np.abs(pixels - np.array(wanted)).max(axis=-1) < 70
    return close


def test_the_video_shows_old_left_and_new_right(tmp_path: Path, frames: list[Path]) -> None:
    old = [track(0, 1, (20, 30, 20, 40))]
    new = [track(number, 2, (100, 40, 20, 40)) for number in range(3)]
    video = tmp_path / "made/tracks.mp4"
    assert render_tracks(video, frames, old, new, fps=10) == video
    assert [path.name for path in video.parent.iterdir()] == ["tracks.mp4"]
    found, rate = decoded(video)
    assert (len(found), rate) == (3, 10)
    for number, sheet in enumerate(found):
        assert sheet.shape == (96 * 3 + HEAD, 2 * 160 * 3 + GAP, 3)
        left, right = sheet[HEAD:, : 160 * 3], sheet[HEAD:, 160 * 3 + GAP :]
        assert np.abs(left[-60:, -60:] - (GREY + 20 * number)).max() < 12, "the frame itself"
        edge = near(right[150:200, 300:303], colour(2))
        assert edge.mean() > 0.5, "the new model's box in every frame"
        assert (near(left[120:180, 60:63], colour(1)).mean() > 0.5) == (number == 0)
        assert not near(left, colour(2)).any()
        assert not near(right, colour(1)).any()
    assert np.abs(found[1][HEAD:, : 160 * 3] - (GREY + 20)).max() < 12, "the old one lost it"


def test_a_name_a_title_and_a_counter_are_written() -> None:
    photo = Image.new("RGB", (160, 96), (GREY,) * 3)
    plain = np.asarray(side_by_side(photo, [Side("", ()), Side("", ())], ""))
    titled = np.asarray(side_by_side(photo, [Side("old", ()), Side("new", ())], "frame 3 of 9"))
    head = (plain != titled)[:HEAD].any(axis=(0, 2))
    assert head[4:30].any(), "the title left"
    assert head[400:478].any(), "the counter right"
    assert (plain == titled)[HEAD:].all()
    named = np.asarray(side_by_side(photo, [Side("", [track(0, 5, (60, 40, 20, 30))])], ""))
    other = np.asarray(
        side_by_side(photo, [Side("", [track(0, 5, (60, 40, 20, 30), "Service")])], "")
    )
    rows = np.flatnonzero((named != other).any(axis=(1, 2)))
    top = HEAD + 3 * 40
    assert top - 20 < rows[0] <= rows[-1] <= top, "right above the box"


@pytest.mark.parametrize(
    ("size", "drawn"), [((160, 96), 480), ((500, 300), 500), ((1921, 1080), LARGEST)]
)
def test_small_frames_are_enlarged_and_large_ones_are_not_kept(
    size: tuple[int, int], drawn: int
) -> None:
    sheet = side_by_side(Image.new("RGB", size), [Side("", ())] * 2, "")
    assert sheet.width // 2 == pytest.approx(drawn + GAP / 2, abs=1)
    assert (sheet.width % 2, sheet.height % 2) == (0, 0), "as the codec wants it"
    assert SMALLEST <= drawn <= LARGEST


def test_boxes_beyond_the_frame_harm_nothing() -> None:
    photo = Image.new("RGB", (160, 96), (GREY,) * 3)
    far = [track(0, 1, (-1e12, -50, 2e12, 40)), track(0, 2, (150, 80, 1e9, 1e9)),
           track(0, 3, (70, 95.9, 0, 0))]  # fmt: skip
    sheet = np.asarray(side_by_side(photo, [Side("", far), Side("", ())], ""))
    assert (sheet[HEAD:, 480 + GAP :] == GREY).all(), "the neighbour stays clean"
    assert near(sheet[HEAD + 245 :, 450:453], colour(2)).any(), "what is inside is drawn"


def test_identities_have_colours_of_their_own() -> None:
    seen = np.array([colour(number) for number in range(1, 9)])
    apart = np.abs(seen[:, None] - seen[None]).max(axis=-1)[~np.eye(8, dtype=bool)]
    assert apart.min() >= 40


@pytest.mark.parametrize(
    ("name", "bad", "fps", "error", "words"),
    [
        ("a.avi", None, 25, ConfigError, "ends in .mp4"),
        ("a.mp4", None, 0, ConfigError, "fps 0"),
        ("a.mp4", None, float("nan"), ConfigError, "fps nan"),
        ("a.mp4", track(3, 1, (0, 0, 9, 9)), 25, DataError, "new: a track in frame 3, but the 3"),
        ("a.mp4", track(-1, 1, (0, 0, 9, 9)), 25, DataError, "frame -1"),
        ("a.mp4", track(0, 7, (0, 0, -9, 9)), 25, DataError, "track 7 has the box"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    tmp_path: Path, frames: list[Path], name: str, bad: Track | None, fps: float,
    error: type[Exception], words: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=words) as caught:
        render_tracks(tmp_path / "out" / name, frames, [], [bad] if bad else [], fps=fps)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_bad_frame_leaves_the_old_video_alone(tmp_path: Path, frames: list[Path]) -> None:
    video = tmp_path / "out/a.mp4"
    video.parent.mkdir()
    video.write_bytes(b"mine")
    with pytest.raises(DataError, match="there are no frames"):
        render_tracks(video, [], [], [])
    with pytest.raises(DataError, match=r"gone.png: cannot be read as an image"):
        render_tracks(video, [*frames, tmp_path / "gone.png"], [], [])
    Image.new("RGB", (99, 99)).save(tmp_path / "other.png")
    with pytest.raises(DataError, match=r"other.png: 99 x 99 pixels, but the first frame has 160"):
        render_tracks(video, [*frames, tmp_path / "other.png"], [], [])
    assert {path: path.read_bytes() for path in video.parent.iterdir()} == {video: b"mine"}


def test_a_place_that_cannot_be_written(tmp_path: Path, frames: list[Path]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        render_tracks(blocked / "a.mp4", frames, [], [])
    folder = tmp_path / "a.mp4"
    folder.mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        render_tracks(folder, frames, [], [])
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
