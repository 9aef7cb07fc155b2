"""Made untrimmed videos: their numbers, pixels under the actions, files, and the simpler task."""

import colorsys
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.core.digest import sha256_of_tree
from backend.core.errors import ConfigError, DataError
from backend.datasets.temporal import (
    Expectations,
    Sampling,
    centre_view,
    check_temporal,
    read_frames,
)
from backend.synthetic import _untrimmed_scene as scene
from backend.synthetic.untrimmed import (
    CLASSES,
    FPS,
    SIDE,
    Untrimmed,
    _actor,
    _cast,
    make_video,
    motion_clips,
    write_untrimmed,
)

Numbers = NDArray[np.float64]
COLOURS = dict(zip(CLASSES, list(scene.COLOURS)[:3], strict=True))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "set"
    return write_untrimmed(folder, seed=3, train=3, val=2, holdout=1)


@pytest.fixture(scope="module")
def videos() -> list[Untrimmed]:
    return [make_video("train", number, seed=3) for number in range(1, 7)]


def places(frames: NDArray[np.uint8], colour: str) -> Numbers:
    """The centre of a colour's pixels in each frame, (n, 2); NaN where there are too few."""
    wanted = colorsys.rgb_to_hsv(*(part / 255 for part in scene.COLOURS[colour]))[0]
    values = frames.astype(np.float64)
    high, low = values.max(axis=3), values.min(axis=3)
    red, green, blue = np.moveaxis(values, 3, 0)
    spread = np.where(high > low, high - low, 1)
    hue = (
        np.select(
            [high == red, high == green],
            [(green - blue) / spread % 6, (blue - red) / spread + 2],
            (red - green) / spread + 4,
        )
        / 6
    )
    near = np.abs((hue - wanted + 0.5) % 1 - 0.5) < 0.035
    mask = (near & (high - low > 85)).astype(np.float64)
    count = mask.sum(axis=(1, 2))
    grid = np.arange(SIDE)
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = mask.sum(axis=1) @ grid / count, mask.sum(axis=2) @ grid / count
    return np.where(count[:, None] > 15, np.stack([x, y], axis=1), np.nan)


def moved(frames: NDArray[np.uint8], label: str) -> Numbers:
    """How far a class's shape moves to the next frame, (n - 1, 2)."""
    return np.abs(np.diff(places(frames, COLOURS[label]), axis=0))


def test_actions_are_as_specified(videos: list[Untrimmed]) -> None:
    labels = [label for video in videos for label, _, _ in video.actions]
    assert set(labels) == set(CLASSES)
    for video in videos:
        assert video.frames.shape[1:] == (SIDE, SIDE, 3)
        assert video.duration + 1 / FPS >= 22
        assert video.duration <= 34
        for _, start, end in video.actions:
            assert 0.99 <= end - start <= 4.02
            assert 0 <= start < end <= video.duration
        assert list(video.actions) == sorted(video.actions, key=lambda one: one[1:])


def test_the_shape_of_the_class_moves_in_its_actions_only_so(videos: list[Untrimmed]) -> None:
    """Bounces go up and down, shakes across, circles both ways, and drifting hardly anywhere."""
    speeds: dict[str, list[Numbers]] = {label: [] for label in (*CLASSES, "still")}
    for video in videos:
        times = (np.arange(len(video.frames) - 1) + 0.5) / FPS
        for label in {one for one, _, _ in video.actions}:
            steps = moved(video.frames, label)
            for _, start, end in (one for one in video.actions if one[0] == label):
                inside = steps[(times > start) & (times < end)]
                speeds[label].append(np.nanmean(inside, axis=0))
            first = min(start for one, start, _ in video.actions if one == label)
            before = steps[times < min(first, 2.0) - 0.1]
            if len(before):
                speeds["still"].append(np.nanmedian(before, axis=0))
    circle, bounce, shake, still = (
        np.median(speeds[one], axis=0)
        for one in ("red_circle", "green_bounce", "blue_shake", "still")
    )
    assert bounce[1] > 2 > 5 * bounce[0] / 2
    assert shake[0] > 2 > 5 * shake[1] / 2
    assert circle.min() > 1
    assert still.max() < 0.4


def test_there_are_distractors_of_both_kinds() -> None:
    """Colours do what is not theirs, and other colours do what is a class's."""
    foreign = others = 0
    own = list(COLOURS.values())
    for number in range(1, 30):
        rng = np.random.default_rng(number)
        cast = _cast(rng)
        assert len(cast) == len(set(cast)) == 3
        assert sum(colour in own for colour in cast) == 2
        for colour in cast:
            doings = _actor(colour, (17.0, 17.0), 30.0, rng).doings
            if colour in own:
                foreign += sum(doing.motion != own.index(colour) for doing in doings)
            else:
                others += len(doings)
    assert foreign > 20
    assert others > 50


def test_files_hold_what_was_made(written: Path) -> None:
    data = check_temporal(written, ("train", "val", "holdout"), wanted=Expectations(Sampling(96)))
    assert not data.errors
    assert [one.videos for one in data.census] == [3, 2, 1]
    assert {one.code for one in data.findings} <= {"V8"}  # few actions in so small a set
    for split, name in (("train", "train"), ("val", "val"), ("holdout", "holdout")):
        read = next(one for one in data.splits if one.split == split)
        for number, video in enumerate(read.videos, start=1):
            made = make_video(name, number, seed=3)
            assert video.file is not None
            assert (video.fps, video.file.frames) == (FPS, len(made.frames))
            assert [tuple(one) for one in video.segments.tolist()] == [
                (start, end) for _, start, end in made.actions
            ]
            shown = read_frames(video.file, np.array([0, 50, 200]), centre_view((64, 64), 64))
            wanted = made.frames[[0, 50, 200]].transpose(0, 3, 1, 2)
            assert np.abs(shown.frames.astype(int) - wanted).mean() < 6


def test_the_same_seed_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = write_untrimmed(tmp_path / "again", seed=3, train=3, val=2, holdout=1)
    assert sha256_of_tree(again) == sha256_of_tree(written)
    larger = write_untrimmed(tmp_path / "larger", seed=3, train=1, val=1)
    name = "videos/train_0001.mp4"
    assert (larger / name).read_bytes() == (written / name).read_bytes()
    other = write_untrimmed(tmp_path / "other", seed=4, train=1, val=1)
    assert (other / name).read_bytes() != (written / name).read_bytes()


def test_a_set_that_is_there_stays_and_anything_else_is_refused(
    written: Path, tmp_path: Path
) -> None:
    before = (written / "annotations.json").stat().st_mtime_ns
    assert write_untrimmed(written, seed=3, train=3, val=2, holdout=1) == written
    assert (written / "annotations.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="another version, seed or size"):
        write_untrimmed(written, seed=4, train=3, val=2, holdout=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(DataError, match="holds no synthetic untrimmed videos"):
        write_untrimmed(tmp_path / "full")
    with pytest.raises(ConfigError, match="at least one"):
        write_untrimmed(tmp_path / "none", val=0)
    assert not (tmp_path / "none").exists()


def test_two_who_write_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: write_untrimmed(tmp_path / "set", 0, 1, 1), range(2)))
    assert made[0] == made[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    content = json.loads((made[0] / "annotations.json").read_text(encoding="utf-8"))
    assert sorted(content["database"]) == ["train_0001", "val_0001"]


def test_the_simpler_task_moves_one_shape_straight() -> None:
    clips = motion_clips(120, seed=1)
    assert clips.frames.shape == (120, 16, SIDE, SIDE, 3)
    assert set(clips.motion.tolist()) == set(range(5))
    assert set(clips.colour.tolist()) == set(range(6))
    np.testing.assert_array_equal(clips.frames, motion_clips(120, seed=1).frames)
    signs = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
    seen = 0
    for frames, motion, colour in zip(clips.frames, clips.motion, clips.colour, strict=True):
        if clips.colours[colour] not in COLOURS.values():
            continue
        way = places(frames, clips.colours[colour])
        step = np.nanmean(np.diff(way, axis=0), axis=0)
        if np.isfinite(step).all() and len(np.unique(np.isnan(way))) == 1:
            seen += int(np.array_equal(np.sign(np.rint(step * 2)), signs[clips.motions[motion]]))
    alone = sum(clips.colours[colour] in COLOURS.values() for colour in clips.colour)
    assert seen > 0.6 * alone  # in the others, a shape that stands still has the same colour
