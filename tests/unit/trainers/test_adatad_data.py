"""The data of AdaTAD as its config asks for it, and the windows that are trained on and tested."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from backend.core.errors import DataError
from backend.datasets.temporal import TemporalData, centre_view, load_window, trainable
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.runner.seeds import seed_all
from backend.trainers.adatad.batch import Batch, Window, collate
from backend.trainers.adatad.data import (
    DrawnWindows,
    SlidingWindows,
    read_data,
    sampling_of,
    subset_of,
)
from backend.trainers.adatad.spec import AdaTadConfig
from tests.support import adatad_files, temporal_folders, videos_made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return temporal_folders.clean(tmp_path / "data")


def config(folder: Path, **overrides: Any) -> AdaTadConfig:
    about: dict[str, Any] = {"data": folder, "frames__size": 32, "runner__workers": 0}
    return adatad_files.config(**about | overrides)


def data(how: AdaTadConfig) -> TemporalData:
    return read_data(how, ("train", "val"))


def drawn(how: AdaTadConfig) -> DrawnWindows:
    return DrawnWindows(data(how).splits[0], how)


def codes(found: TemporalData) -> list[str]:
    return [one.code for one in found.errors]


def assert_same(one: Window | Batch, other: Window | Batch) -> None:
    assert torch.equal(one.frames, other.frames)
    assert torch.equal(one.valid, other.valid)
    for field in ("segments", "labels"):
        for here, there in zip(getattr(one, field), getattr(other, field), strict=True):
            assert torch.equal(here, there)


def test_a_class_is_named_once(folder: Path) -> None:
    with pytest.raises(ValidationError, match="'classes' names one twice"):
        config(folder, classes=("run", "jump", "run"))


def test_splits_are_subsets_by_the_names_that_the_config_gives(folder: Path) -> None:
    how = config(folder, subsets__train="validation", subsets__val="test")
    assert [subset_of(how, split) for split in ("train", "val", "holdout")] == [
        "validation", "test", "holdout",
    ]  # fmt: skip
    swapped = config(folder, subsets__train="validation", subsets__val="training")
    train, val = data(swapped).splits
    assert [video.name for video in train.videos] == ["c"]
    assert [video.name for video in val.videos] == ["a", "b"]
    (named,) = read_data(how, ("training",)).splits
    assert len(named.videos) == 2
    with pytest.raises(DataError, match="no subset 'holdout'"):
        read_data(how, ("holdout",))


def test_one_subset_can_be_both_splits(folder: Path) -> None:
    train, val = data(config(folder, subsets__val="training")).splits
    assert [video.name for video in train.videos] == [video.name for video in val.videos]


def test_data_are_held_against_the_config(folder: Path) -> None:
    assert codes(data(config(folder))) == []
    long = data(config(folder, windows__length=64))
    assert any(one.code == "V9" and "padded" in one.sentence for one in long.findings)
    (folder / "videos/a.mp4").unlink()
    assert codes(data(config(folder))) == ["V1"]
    allowed = config(folder, videos__allow_missing=True)
    assert codes(data(allowed)) == []
    assert {drawn(allowed)[at].video for at in range(4)} == {"b"}
    with pytest.raises(ValidationError, match="no multiple of 'align', 5; set length to "):
        config(folder, windows__align=5)


def test_classes_are_given_or_the_config_s_or_all_of_the_file(folder: Path) -> None:
    assert data(config(folder)).splits[0].classes == ("jump", "run")
    one = config(folder, classes=("run",))
    assert data(one).splits[0].classes == ("run",)
    given = read_data(one, ("val",), classes=("run", "swim", "jump")).splits[0]
    assert given.classes == ("run", "swim", "jump")
    assert given.videos[0].labels.tolist() == [2, 0]
    assert data(config(folder, ignored=("jump",))).splits[0].classes == ("run",)


def test_videos_lie_where_the_config_says_or_beside_other_annotations(
    folder: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    (folder / "videos").rename(moved)
    assert codes(data(config(folder))) == ["V1", "V1"]
    how = config(folder, videos__folder=moved)
    assert codes(data(how)) == []
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / "a.json").write_bytes((folder / "annotations.json").read_bytes())
    assert not read_data(how, ("val",), copied).errors
    other = temporal_folders.clean(tmp_path / "other")
    (found,) = read_data(how, ("val",), other).splits
    assert found.searched == other / "videos"


def test_each_video_is_drawn_as_often_in_an_epoch(folder: Path) -> None:
    assert len(drawn(config(folder))) == 2
    samples = drawn(config(folder, windows__per_video=3))
    assert Counter(samples[at].video for at in range(len(samples))) == {"a": 3, "b": 3}


def test_chance_is_the_seed_s_and_moves_windows(folder: Path) -> None:
    samples = drawn(config(folder))
    windows = []
    for seed in (5, 5, *range(20)):
        seed_all(seed)
        windows.append(samples[0])
    assert_same(windows[0], windows[1])
    assert len({window.start for window in windows}) > 5
    assert len({int(window.valid.sum()) for window in windows}) > 2


def test_a_drawn_window_is_the_frames_and_actions_of_its_place(folder: Path) -> None:
    how = config(folder, frames__augment=False, windows__stride=2, windows__crop_ratio=(0.4, 0.6))
    samples, sampling = drawn(how), sampling_of(how)
    random.seed(3)
    window = samples[1]
    random.seed(3)
    video, cut = samples.drawn(1, np.random.default_rng(random.getrandbits(64)))
    assert (window.video, window.start) == (video.name, cut.start) == ("b", cut.start)
    expected = load_window(video, cut, sampling, centre_view((64, 48), 32))
    assert window.frames.dtype == torch.uint8
    np.testing.assert_array_equal(window.frames.numpy(), expected.frames)
    np.testing.assert_array_equal(window.segments.numpy(), cut.segments)
    assert window.valid.tolist() == [True] * cut.count + [False] * (32 - cut.count)
    assert window.labels.tolist() == [1] * len(cut.labels)
    seconds = (window.segments.numpy() + window.start) * 2 / 30
    first, last = cut.start / 15, (cut.start + cut.count) / 15
    whole = [[a, b] for _, a, b in temporal_folders.RUNS if first <= a and b <= last]
    assert whole
    for action in whole:
        assert np.isclose(seconds, action, atol=1e-5).all(axis=1).sum() == 1


def test_augmentation_changes_pixels_only_and_is_one_for_a_clip(folder: Path) -> None:
    changes: dict[str, Any] = {"windows__crop_ratio": None, "frames__short": 36}
    looks = []
    for augment in (True, False):
        samples = drawn(config(folder, frames__augment=augment, **changes))
        random.seed(1)
        looks.append(samples[0])
    shown, plain = looks
    assert shown.frames.shape == plain.frames.shape == (32, 3, 32, 32)
    assert (shown.start, shown.video) == (plain.start, plain.video)
    assert torch.equal(shown.segments, plain.segments)
    assert not torch.equal(shown.frames, plain.frames)
    still = {"frames__flip": 1.0, "frames__operations": 0, "frames__area": (1.0, 1.0),
             "frames__aspect": (1.0, 1.0), "frames__short": 32, "frames__hue": 0.0,
             **{f"frames__{name}": 0.0 for name in ("brightness", "contrast", "saturation")},
             "windows__crop_ratio": None}  # fmt: skip
    random.seed(1)
    flipped = drawn(config(folder, **still))[0]
    assert torch.equal(flipped.frames, plain.frames.flip(-1))


def test_only_videos_with_a_window_to_learn_from_are_drawn(tmp_path: Path) -> None:
    entry = temporal_folders.entry
    database = {
        "none": entry("training", []),
        "long": entry("training", [("run", 0.0, 2.0)]),
        "good": entry("training", [("run", 0.5, 1.0)]),
    }
    folder = temporal_folders.write(tmp_path / "d", database, dict.fromkeys(database, 60))
    how = config(folder)
    split = read_data(how, ("train",)).splits[0]
    samples = DrawnWindows(split, how)
    assert [video.name for video in samples.videos] == ["good"]
    assert [v.name for v in split.videos if trainable(v, sampling_of(how))] == ["good"]
    lenient = DrawnWindows(split, config(folder, windows__trunc_thresh=0.5))
    assert {video.name for video in lenient.videos} == {"good", "long"}
    swim = config(folder, classes=("swim",))
    with pytest.raises(DataError, match=r"none of 3 videos has a window of 32 positions"):
        DrawnWindows(read_data(swim, ("train",)).splits[0], swim)


def test_loader_processes_give_the_same_batches(folder: Path) -> None:
    how = config(folder, windows__per_video=2)
    samples, alone = drawn(how), []
    for workers in (0, 2):
        runner = how.replace({"runner.workers": workers}).runner
        stream = Stream(samples, collate, runner, 0, Ranks(0, 1))
        alone.append(list(stream.iterate(1, 0, torch.device("cpu"))))
    assert len(alone[0]) == 2
    for one, other in zip(*alone, strict=True):
        assert one.names == other.names
        assert_same(one, other)


def test_windows_slide_over_whole_videos_in_order(folder: Path) -> None:
    how = config(folder, windows__per_video=5)
    train, val = data(how).splits
    windows = SlidingWindows((*val.usable, *train.usable), how, 0.5)
    assert [(video.name, cut.start) for video, cut in windows.places] == [
        *(("c", at) for at in (0, 16, 32, 48, 58)),
        *((name, at) for name in ("a", "b") for at in (0, 16, 28)),
    ]
    assert len(windows) == 11
    assert torch.equal(windows[1].frames[:16], windows[0].frames[16:])
    assert windows[4].segments.tolist() == []  # 17 of 60 positions of the jump: too few
    video, cut = windows.places[1]
    expected = load_window(video, cut, sampling_of(how), centre_view((64, 48), 32))
    np.testing.assert_array_equal(windows[1].frames.numpy(), expected.frames)
    aligned = SlidingWindows(val.usable, config(folder, windows__align=16), 0.25)
    assert [cut.start for _, cut in aligned.places] == [0, 16, 32, 48, 64]
    assert int(aligned[4].valid.sum()) == 26


def test_videos_without_a_file_have_no_window(folder: Path) -> None:
    (folder / "videos/a.mp4").write_bytes(b"no video")
    how = config(folder)
    train = read_data(how, ("train",)).splits[0]
    windows = SlidingWindows(train.videos, how, 0.0)
    assert {video.name for video, _ in windows.places} == {"b"}


def test_frames_that_are_lost_are_told(folder: Path) -> None:
    (folder / "videos/a.mp4").unlink()
    path = videos_made.write(folder / "videos/a.mkv", 60, codec="mpeg4")
    how = config(folder)
    train = read_data(how, ("train",)).splits[0]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    windows = SlidingWindows(train.usable[:1], how, 0.0)
    with pytest.warns(UserWarning, match=r"video a: \d+ of 32 frames .* repeat the frame before"):
        window = windows[1]
    assert torch.equal(window.frames[-1], window.frames[-2])
