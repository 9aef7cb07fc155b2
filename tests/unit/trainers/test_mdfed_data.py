"""Windows of clips, and what they are labelled with."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.core.errors import DataError
from backend.datasets.spotting import ReadOptions, SpottingSplit, read_spotting
from backend.runner.config import RunnerConfig
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.synthetic.skeletons import write_spotting
from backend.trainers.mdfed.baselines import LabelTable, trivial_baselines
from backend.trainers.mdfed.data import Cutter, Place, Tiles, Windows, collate, label_stream
from backend.trainers.mdfed.data_poses import Poses, refuse_missing
from backend.trainers.mdfed.spec import MdFedConfig
from tests.support.spotting_folders import (
    REAL,
    clip,
    standing,
    write_folder,
    write_skeleton,
    write_standing,
)

T = 16
CLIPS = (
    clip("a", 101, (20, "near_serve"), (21, "far_gs"), (60, "far_gs"), near_hand="LH"),
    clip("b", 20, (3, "near_return"), far_hand="LH"),
    clip("c", 40),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_standing(write_folder(tmp_path, {"train": CLIPS}), CLIPS)


def config(folder: Path, **clips: Any) -> MdFedConfig:
    about: dict[str, Any] = {"length": T, "stride": 2} | clips
    missing = about.pop("missing", "error")
    return MdFedConfig.model_validate(
        {"data": folder, "clips": about, "skeletons": {"missing": missing}}
    )


def split(folder: Path, stride: int = 2) -> SpottingSplit:
    return read_spotting(folder, "train", ReadOptions(stride=stride))


def cutter(folder: Path, dilation: int = 0, **clips: Any) -> Cutter:
    return Cutter(split(folder), config(folder, **clips), dilation=dilation)


def test_a_window_holds_the_frames_of_its_clip_and_zeros_outside(folder: Path) -> None:
    cut = cutter(folder)
    poses = Poses(split(folder), config(folder)).get(0)
    assert poses is not None
    sample = cut.cut(Place(0, -7))
    assert sample.labels.valid.tolist() == [False] * 4 + [True] * 12
    frames = np.arange(1, 25, 2)
    np.testing.assert_array_equal(sample.joints[4:], poses.pose.joints[frames])
    np.testing.assert_array_equal(sample.roots[4:], poses.pose.roots[frames])
    assert not sample.joints[:4].any()
    assert not sample.roots[:4].any()
    late = cut.cut(Place(0, 90))
    assert late.labels.valid.sum() == 6
    assert (late.name, late.start, late.frames) == ("a", 90, None)


def test_events_go_to_their_strided_frame_and_are_joined(folder: Path) -> None:
    labels = cutter(folder).labels(Place(0, 4))
    assert np.flatnonzero(labels.coarse).tolist() == [8]
    near, far, serve, _, gs = range(5)
    assert np.flatnonzero(labels.fine[8]).tolist() == [near, far, serve, gs]
    odd = cutter(folder).labels(Place(0, 3))
    assert np.flatnonzero(odd.coarse).tolist() == [8, 9]
    assert np.flatnonzero(odd.fine[8]).tolist() == [near, serve]
    assert np.flatnonzero(odd.fine[9]).tolist() == [far, gs]
    assert not cutter(folder).labels(Place(0, 22)).coarse[0]


def test_dilation_labels_neighbours_even_of_events_outside_of_the_window(folder: Path) -> None:
    labels = cutter(folder, dilation=2).labels(Place(0, 40))
    assert np.flatnonzero(labels.coarse).tolist() == [8, 9, 10, 11, 12]
    assert (labels.fine[8:13] == labels.fine[10]).all()
    before = cutter(folder, dilation=2).labels(Place(0, 24))
    assert np.flatnonzero(before.coarse).tolist() == [0]
    after = cutter(folder, dilation=1).labels(Place(0, 28))
    assert np.flatnonzero(after.coarse).tolist() == [15]


def test_dilation_is_for_training_only_and_stays_inside_of_the_clip(folder: Path) -> None:
    dilated = config(folder, dilation=3)
    validated = Tiles(split(folder), dilated)
    events = sum(labels.coarse.sum() for labels in label_stream(validated, len(validated)))
    assert events == 3
    labels = Windows(split(folder), dilated).cutter.labels(Place(1, -10))
    assert np.flatnonzero(labels.coarse).tolist() == [5, 6, 7, 8, 9]


def test_starts_and_clips_are_drawn_as_specified(folder: Path) -> None:
    windows = Windows(split(folder), config(folder))
    places = list(windows.places(20_000, seed=3))
    drawn = Counter(place.clip for place in places)
    np.testing.assert_allclose([drawn[n] / 20_000 for n in range(3)],
                               np.array([101, 20, 40]) / 161, atol=0.015)  # fmt: skip
    first, last = -10, 101 - 1 + (5 - T) * 2
    counts = Counter(place.start for place in places if place.clip == 0)
    assert sorted(counts) == list(range(first, last + 1))
    assert max(counts.values()) < 2 * min(counts.values())
    assert {place.start for place in places if place.clip == 1} == set(range(-10, -2))


def test_a_clip_too_short_to_choose_starts_where_each_may(tmp_path: Path) -> None:
    short = [clip("short", 12, (3, "near_gs"))]
    write_standing(write_folder(tmp_path, {"train": short}), short)
    windows = Windows(split(tmp_path), config(tmp_path))
    assert set(windows.places(200, seed=1)) == {Place(0, -10)}


@pytest.mark.parametrize(("per_epoch", "count"), [(0, 6), (25, 25)])
def test_an_epoch_covers_the_clips_once_or_is_as_long_as_said(
    folder: Path, per_epoch: int, count: int
) -> None:
    assert len(Windows(split(folder), config(folder, per_epoch=per_epoch))) == count


def test_chance_is_that_of_random_which_the_runner_seeds(folder: Path) -> None:
    windows = Windows(split(folder), config(folder))

    def starts(seed: int) -> list[tuple[str, int]]:
        random.seed(seed)
        return [(sample.name, sample.start) for sample in map(windows.__getitem__, range(6))]

    assert starts(1) == starts(1)
    assert starts(1) != starts(2)
    state = random.getstate()
    list(label_stream(windows, 10))
    assert random.getstate() == state


def test_the_label_stream_is_what_windows_yield(folder: Path) -> None:
    windows = Windows(split(folder), config(folder, dilation=1))
    for place, labels in zip(windows.places(50, 5), label_stream(windows, 50, 5), strict=True):
        for one, other in zip(windows.cutter.cut(place).labels, labels, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_tiles_cover_each_frame_and_start_before_the_clip(folder: Path, overlap: float) -> None:
    tiles = Tiles(split(folder), config(folder), overlap)
    places = list(tiles.places(len(tiles), 0))
    step = (T - int(T * overlap)) * 2
    for number, found in enumerate(split(folder).clips):
        starts = [place.start for place in places if place.clip == number]
        assert starts == list(range(-10, -10 + len(starts) * step, step))
        assert starts[-1] + T * 2 >= found.num_frames
    assert [tiles[i].start for i in range(len(tiles))] == [place.start for place in places]


def test_tiles_without_overlap_count_each_event_once(folder: Path) -> None:
    tiles = Tiles(split(folder), config(folder))
    assert len(tiles) == 4 + 1 + 2
    table = LabelTable.of(label_stream(tiles, len(tiles)))
    assert table.coarse.sum() == 3  # of four events, two share a frame
    assert table.valid.sum() == 51 + 10 + 20


def test_a_batch_is_what_the_network_is_told_to_expect(folder: Path) -> None:
    cut = cutter(folder)
    batch = collate([cut.cut(Place(0, -10)), cut.cut(Place(1, -10))])
    shapes = {
        name: tuple(getattr(batch, name).shape)
        for name in ("joints", "roots", "valid", "coarse", "fine", "hands", "starts")
    }
    assert shapes == {
        "joints": (2, T, 2, 17, 5),
        "roots": (2, T, 2, 4),
        "valid": (2, T),
        "coarse": (2, T),
        "fine": (2, T, 5),
        "hands": (2, 2),
        "starts": (2,),
    }
    assert (batch.joints.dtype, batch.fine.dtype) == (torch.float32, torch.float32)
    assert (batch.valid.dtype, batch.coarse.dtype) == (torch.bool, torch.int64)
    assert batch.hands.tolist() == [[0, 1], [1, 0]]
    assert (batch.starts.tolist(), batch.names, batch.frames) == ([-10, -10], ("a", "b"), None)


def test_missing_files_are_refused_before_the_first_step(folder: Path) -> None:
    (folder / "skeletons" / "b.pkl").unlink()
    told = r"the skeleton files of 1 of 3 train clips are missing \(b\); set"
    windows = Windows(split(folder), config(folder))
    with pytest.raises(DataError, match=told) as error:
        windows.set_epoch(1)
    assert "\n" not in str(error.value)
    assert str(folder / "skeletons") in str(error.value)
    with pytest.raises(DataError, match=told):
        windows.cutter.cut(Place(1, 0))
    with pytest.raises(DataError, match=told):
        refuse_missing(split(folder), config(folder))
    for missing in ("mask", "zeros"):
        refuse_missing(split(folder), config(folder, missing=missing))


@pytest.mark.parametrize(("missing", "valid", "events"), [("mask", 0, 0), ("zeros", T, 1)])
def test_a_missing_skeleton_is_masked_or_taken_for_zeros(
    folder: Path, missing: str, valid: int, events: int
) -> None:
    (folder / "skeletons" / "b.pkl").unlink()
    cut = cutter(folder, missing=missing)
    sample = cut.cut(Place(1, -10))
    assert not sample.joints.any()
    for labels in (sample.labels, cut.labels(Place(1, -10))):
        assert (labels.valid.sum(), labels.coarse.sum()) == (valid, events)


def test_frames_that_a_short_skeleton_has_not_are_masked(folder: Path) -> None:
    write_skeleton(folder / "skeletons" / "a.pkl", standing(50))
    labels = cutter(folder).cut(Place(0, 40)).labels
    assert labels.valid.tolist() == [True] * 5 + [False] * 11
    assert not labels.coarse.any()  # the event at frame 60


def test_what_does_not_fit_into_memory_is_read_again(folder: Path) -> None:
    data = split(folder)
    kept, not_kept = Poses(data, config(folder)), Poses(data, config(folder), most_bytes=0)
    for poses in (kept, not_kept):
        poses.fill()
    (folder / "skeletons" / "a.pkl").unlink()
    assert kept.get(0) is kept.get(0)
    with pytest.raises(DataError, match="cannot be read"):
        not_kept.get(0)


def test_stages_that_see_frames_get_them_drawn(folder: Path) -> None:
    about = config(folder).model_copy(update={"stage": 2})
    data = split(folder)
    sample = Cutter(data, about).cut(Place(0, -8))
    assert sample.frames is not None
    size = about.visual.size
    assert sample.frames.shape == (T, 3, size, size)
    assert not sample.frames[:4].any()
    assert sample.frames[4:].flatten(1).any(dim=1).all()
    (folder / "skeletons" / "b.pkl").unlink()
    masked = about.model_copy(update={"skeletons": config(folder, missing="mask").skeletons})
    batch = collate([Cutter(data, masked).cut(Place(n, 0)) for n in (0, 1)])
    assert batch.frames is not None
    assert batch.frames.shape == (2, T, 3, size, size)
    assert not batch.frames[1].any()


def test_loader_processes_change_nothing(folder: Path) -> None:
    def batches(workers: int) -> list[Any]:
        windows = Windows(split(folder), config(folder, per_epoch=10))
        runner = RunnerConfig.model_validate(
            {"batch": 4, "workers": workers, "optimizer": {"lr": {"all": 1e-3}}}
        )
        stream = Stream(windows, collate, runner, 7, Ranks())
        return list(stream.iterate(1, 0, torch.device("cpu")))

    for one, other in zip(batches(0), batches(2), strict=True):
        assert (one.names, one.starts.tolist()) == (other.names, other.starts.tolist())
        assert torch.equal(one.joints, other.joints)


def test_made_skeletons_are_taken_whole(tmp_path: Path) -> None:
    folder = write_spotting(tmp_path / "rallies", train=6, val=2, holdout=1)
    data = split(folder)
    tiles = Tiles(data, config(folder, length=32))
    batch = collate([tiles[i] for i in range(len(tiles))])
    assert not data.notes
    assert int(batch.coarse.sum()) == sum(len(found.events) for found in data.clips)
    assert torch.isfinite(batch.joints).all()
    shown = batch.roots[batch.valid]
    assert (shown[:, 1, 2].mean() > 1.5 * shown[:, 0, 2].mean()).item()  # near is larger


@pytest.mark.skipif(
    not (REAL / "f3set-tennis").is_dir(), reason="../shared/data/f3set-tennis is not there"
)
def test_blind_losses_of_the_brief_come_from_our_loader(tmp_path: Path) -> None:
    golden = Path("../shared/golden/fed/expected.json")
    if not golden.is_file():
        pytest.skip("../shared/golden/fed is not there")
    expected = json.loads(golden.read_text())["trivial_baseline"]
    real = json.loads((REAL / "f3set-tennis" / "val.json").read_text())
    elements = [
        "near",
        "far",
        "serve",
        "return",
        "stroke",
        "fh",
        "bh",
        "gs",
        "slice",
        "volley",
        "smash",
        "drop",
        "lob",
        "approach",
    ]
    write_folder(tmp_path, {"train": real}, elements)
    brief = config(tmp_path, length=expected["clip_len"], missing="zeros")
    table = LabelTable.of(label_stream(Windows(split(tmp_path), brief), 8000))
    wanted = expected["val_14_elements"]
    losses = trivial_baselines("train", table, brief.loss, batch=expected["batch"]).losses
    for name in ("constant", "position"):
        assert losses[name]["loss"] == pytest.approx(wanted[name]["total"], abs=0.01)
    assert table.frame_rate == pytest.approx(wanted["frame_rate"], abs=0.001)


def test_strides_of_one_see_every_frame(folder: Path) -> None:
    about = config(folder, stride=1)
    labels = Cutter(split(folder, stride=1), about).labels(Place(0, 10))
    assert np.flatnonzero(labels.coarse).tolist() == [10, 11]
