"""Features used again: the same bits as without, and never where they would be others."""

import fcntl
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from backend.core.errors import ConfigError, DataError, StoreError
from backend.core.events import Event, Noted, Prepared
from backend.datasets.temporal import TemporalData, TemporalVideo
from backend.runner.data import Stream
from backend.runner.distributed import Ranks
from backend.runner.groups import build_optimizer
from backend.runner.module import train_mode
from backend.runner.seeds import seed_all
from backend.scoring.temporal.soft_nms import Detections
from backend.trainers.adatad.batch import Batch, Window, collate
from backend.trainers.adatad.data import DrawnWindows, SlidingWindows, read_data
from backend.trainers.adatad.inference import look
from backend.trainers.adatad.model.geometry import Geometry
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.reuse import Reuse, fill, reuse_of
from backend.trainers.adatad.selection import apply, group_of, select
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.weights import geometry_of
from tests.support import adatad_files, temporal_folders, videos_made

CPU = torch.device("cpu")
Filled = tuple[Reuse, list[Event]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Videos of 60, 59 and 90 frames: all end inside of a chunk, one inside of a step."""
    made = temporal_folders.clean(tmp_path / "data")
    videos_made.write(made / "videos/b.mp4", 59, codec="mpeg4")
    return made


def config(folder: Path, store: Path | None = None, **overrides: Any) -> AdaTadConfig:
    about: dict[str, Any] = {
        "data": folder,
        "windows__align": 16,
        "windows__crop_ratio": (0.5, 1.0),
        "windows__per_video": 2,
        "frames__augment": False,
        "freeze__strategy": "head-only",
        "runner__workers": 0,
        "reuse__folder": store,
    }
    return adatad_files.config(**about | overrides)


def network(how: AdaTadConfig, seed: int = 3) -> AdaTad:
    """With random weights; only the detector trains."""
    torch.manual_seed(seed)
    model = AdaTad(geometry_of(how, ("jump", "run")))
    nn.init.normal_(model.head.reg_head.bias, 1.0)  # type: ignore[arg-type]  # it has one
    apply(model, select(model, "head-only"))
    return model


def data(how: AdaTadConfig) -> TemporalData:
    return read_data(how, ("train", "val"))


def filled(how: AdaTadConfig, seed: int = 3, read: TemporalData | None = None) -> Filled:
    model = network(how, seed)
    found, told = reuse_of(how, model.geometry), list[Event]()
    assert found is not None
    assert fill(found, how, model, (read or data(how)).splits, told.append) is None
    return found, told


def stored(how: AdaTadConfig, seed: int = 3) -> Reuse:
    return filled(how, seed)[0]


def files(store: Path) -> set[Path]:
    return set(store.rglob("*.safetensors"))


def remark(told: list[Event]) -> str:
    (message,) = (one.message for one in told if isinstance(one, Noted) and one.level == "info")
    return message


def counts(found: Filled) -> tuple[int, int]:
    """Of the remark: how many videos were found, how many computed."""
    words = remark(found[1]).split()
    return int(words[words.index("were") - 1]), int(words[-3])


def slid(windows: SlidingWindows) -> list[Window]:
    return [windows[at] for at in range(len(windows))]


def trained(
    how: AdaTadConfig, reuse: Reuse | None
) -> tuple[dict[str, Tensor], dict[str, Detections]]:
    """The weights after two epochs as the Runner loads them, and what is then found."""
    train, val = data(how).splits
    model = network(how)
    optimizer = build_optimizer(model, how.runner.optimizer, group_of)
    samples = DrawnWindows(train, how, reuse)
    stream = Stream(samples, collate, how.runner, 0, Ranks(0, 1))
    for epoch in (1, 2):
        for number, batch in enumerate(stream.iterate(epoch, 0, CPU)):
            assert isinstance(batch, Batch)
            assert (batch.features is None) == (reuse is None)
            seed_all(epoch, number)
            train_mode(model)
            losses = model.loss(batch)
            optimizer.zero_grad()
            (losses["cls_loss"] + losses["reg_loss"]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    windows = SlidingWindows(val.usable, how, 0.25, reuse)
    return model.state_dict(), look(model.eval(), windows, how)


def assert_same(one: Any, other: Any) -> None:
    (weights, found), (weights2, found2) = one, other
    assert all(torch.equal(weights[name], weights2[name]) for name in weights)
    assert found.keys() == found2.keys() == {"c"}
    for name in found:
        assert len(found[name].scores)
        for field in ("segments", "scores", "labels"):
            np.testing.assert_array_equal(
                getattr(found[name], field), getattr(found2[name], field)
            )


def test_a_training_and_its_predictions_are_the_same_to_the_bit(
    folder: Path, tmp_path: Path
) -> None:
    how = config(folder, tmp_path / "store")
    without = trained(how, None)
    first = filled(how)
    assert counts(first) == (0, 3)
    assert_same(without, trained(how, first[0]))
    again = filled(how)
    assert counts(again) == (3, 0)
    workers = config(folder, tmp_path / "store", runner__workers=2)
    assert_same(without, trained(workers, again[0]))
    before = network(how).state_dict()
    moved = {name for name, one in without[0].items() if not torch.equal(one, before[name])}
    assert any(name.startswith("head.") for name in moved)
    assert not any(name.startswith("backbone.") for name in moved)


def test_no_frame_is_decoded_and_none_is_held(folder: Path, tmp_path: Path) -> None:
    how = config(folder, tmp_path / "store")
    reuse, (train, val) = stored(how), data(how).splits
    for video in (folder / "videos").iterdir():
        video.unlink()
    windows = [*(DrawnWindows(train, how, reuse)[at] for at in range(4)),
               *slid(SlidingWindows(val.usable, how, 0.5, reuse))]  # fmt: skip
    for one in windows:
        assert one.frames.shape == (0, 3, 16, 16)
        assert one.features is not None
        assert one.features.shape == (16, 64)
        count = int(one.valid.sum())
        assert (one.features[: -(-count // 2)].abs().sum(1) > 0).all()
        assert not one.features[-(-count // 2) :].any()


def test_features_do_not_depend_on_what_is_beside_them(folder: Path) -> None:
    how = config(folder)
    model, (train, _) = network(how).eval(), data(how).splits
    windows = [one for one in slid(SlidingWindows(train.usable, how, 0.5)) if one.video == "a"]
    whole = collate(windows)
    together = model.backbone.pooled(whole.frames, whole.valid)
    places: dict[int, Tensor] = {}
    for window, features in zip(windows, together, strict=True):
        alone = model.backbone.pooled(window.frames[None], window.valid[None])[0]
        assert torch.equal(alone, features)
        for at in range(0, int(window.valid.sum()), 16):
            chunk = features[at // 2 : at // 2 + 8]
            assert torch.equal(places.setdefault(window.start + at, chunk), chunk)
    assert len(places) == 4
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.backbone.pooled(whole.frames, whole.valid), together)


def test_chunk_by_chunk_is_what_the_backbone_says_of_a_window(folder: Path) -> None:
    how = config(folder)
    model, (train, _) = network(how).eval(), data(how).splits
    batched = AdaTad(geometry_of(how.replace({"frames.augment": True}), ("jump", "run"))).eval()
    batched.load_state_dict(model.state_dict())
    whole = collate(slid(SlidingWindows(train.usable, how, 0.5)))
    here, there = (one.features(whole.frames, whole.valid) for one in (model, batched))
    torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "seed"),
    [
        ({"frames__size": 32}, 3),
        ({"windows__stride": 2}, 3),
        ({}, 4),
        ({"model__preset": "videomae-small", "windows__length": 32}, 3),
    ],
)
def test_other_features_have_another_key(
    folder: Path, tmp_path: Path, overrides: dict[str, Any], seed: int
) -> None:
    store = tmp_path / "store"
    stored(config(folder, store))
    before = files(store)
    other = filled(config(folder, store, **overrides), seed)
    assert counts(other) == (0, 3)
    assert before < files(store)
    assert len({path.parent for path in files(store)}) == 2


def test_another_file_by_the_same_name_is_another_video(folder: Path, tmp_path: Path) -> None:
    how = config(folder, tmp_path / "store")
    stored(how)
    videos_made.write(folder / "videos/a.mp4", 60)
    assert counts(filled(how)) == (2, 1)
    assert len({path.parent for path in files(tmp_path / "store")}) == 1


def test_what_features_do_not_depend_on_does_not_change_the_key(
    folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    stored(config(folder, store))
    before = files(store)
    others = {
        "windows__length": 64, "windows__align": 32, "windows__crop_ratio": None, "seed": 7,
        "windows__trunc_thresh": 0.5, "runner__batch": 1, "runner__workers": 1,
        "runner__amp": "bfloat16", "videos__threads": 1, "inference__overlap": 0.1, "epochs": 3,
    }  # fmt: skip
    assert counts(filled(config(folder, store, **others))) == (3, 0)
    wider = config(folder, store, model__detector_width=32)
    assert counts(filled(wider)) == (3, 0)
    assert files(store) == before


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flipped, emptied, Path.unlink])
def test_a_damaged_file_is_made_anew(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    how = config(folder, tmp_path / "store")
    stored(how)
    one = min(files(tmp_path / "store"))
    whole = load_file(one)["features"].clone()  # the file is mapped
    damage(one)
    assert counts(filled(how)) == (2, 1)
    assert torch.equal(load_file(one)["features"], whole)


def test_a_file_damaged_in_training_is_named(folder: Path, tmp_path: Path) -> None:
    how = config(folder, tmp_path / "store")
    reuse = stored(how)
    for path in files(tmp_path / "store"):
        cut_short(path)
    with pytest.raises(DataError, match=r"safetensors: features cannot be read .*; delete it"):
        DrawnWindows(data(how).splits[0], how, reuse)[0]


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"frames__augment": True}, "set frames.augment to false"),
        ({"freeze__strategy": "adapter"}, "freeze.strategy 'adapter'"),
        ({"freeze__strategy": "full"}, "freeze.strategy 'full'"),
        ({"freeze__strategy": "last-layers", "freeze__layers": 1}, "strategy 'last-layers'"),
        ({"windows__align": 8}, "set a multiple of 16"),
    ],
)
def test_nothing_is_used_again_where_it_would_differ(
    folder: Path, tmp_path: Path, overrides: dict[str, Any], why: str
) -> None:
    how = config(folder, tmp_path / "store", **overrides)
    model, told = AdaTad(geometry_of(how, ("jump", "run"))), list[Event]()
    found = reuse_of(how, model.geometry)
    assert found is not None
    (said,) = found.remarks
    assert why in said
    assert fill(found, how, model, data(how).splits, told.append) is None
    assert not told
    assert not files(tmp_path / "store")
    assert DrawnWindows(data(how).splits[0], how, found)[0].features is None


def test_nothing_is_used_again_unless_asked_for(folder: Path, tmp_path: Path) -> None:
    for how in (config(folder), config(folder, tmp_path / "store", reuse__features="off")):
        assert reuse_of(how, network(how).geometry) is None
    assert not (tmp_path / "store").exists()


def test_lost_frames_are_not_used_again(folder: Path, tmp_path: Path) -> None:
    """What stands in for one depends on where the window begins."""
    how = config(folder, tmp_path / "store")
    (folder / "videos/a.mp4").unlink()
    video = videos_made.write(folder / "videos/a.mkv", 60, codec="mpeg4")
    read, whole = data(how), video.read_bytes()
    video.write_bytes(whole[: len(whole) * 3 // 4])
    for _ in range(2):
        found, told = filled(how, read=read)
        assert not found.files
        assert "1 videos have frames that cannot be decoded (a)" in remark(told)


def test_a_video_that_cannot_be_decoded_leaves_nothing_behind(
    folder: Path, tmp_path: Path
) -> None:
    how = config(folder, tmp_path / "store")
    read = data(how)
    (folder / "videos/a.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"a\.mp4: cannot be decoded"):
        filled(how, read=read)
    assert not files(tmp_path / "store")


def test_a_folder_that_cannot_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cannot be written .*reuse\.folder"):
        stored(config(folder, tmp_path / "store"))


def test_the_same_video_is_computed_once(folder: Path, tmp_path: Path) -> None:
    """In two splits, or by two names."""
    copied = folder / "videos/b.mp4"
    copied.write_bytes((folder / "videos/a.mp4").read_bytes())
    how = config(folder, tmp_path / "store", subsets__val="training")
    found = filled(how)
    assert counts(found) == (1, 1)
    video: TemporalVideo = data(how).splits[0].videos[0]
    random.seed(0)
    cut = DrawnWindows(data(how).splits[0], how).drawn(0, np.random.default_rng(0))[1]
    assert found[0].features(video, cut) is not None


def test_adapters_cannot_be_chunkwise() -> None:
    with pytest.raises(ConfigError, match="adapters look across chunks"):
        Geometry(chunkwise=True)


def test_how_far_it_is_is_told_and_it_can_be_stopped(folder: Path, tmp_path: Path) -> None:
    how = config(folder, tmp_path / "store")
    found, told, model = reuse_of(how, network(how).geometry), list[Event](), network(how)
    assert found is not None
    reasons = iter([None, "enough"])
    splits = data(how).splits
    assert fill(found, how, model, splits, told.append, lambda: next(reasons)) == "enough"
    assert len(files(tmp_path / "store")) == 1
    assert not found.files
    _, rest = filled(how)
    expected = [[(0, 3), (1, 3)], [(0, 2), (1, 2), (2, 2)], []]
    for events, places in zip((told, rest, filled(how)[1]), expected, strict=True):
        prepared = [one for one in events if isinstance(one, Prepared)]
        assert [(one.done, one.total) for one in prepared] == places
        assert {one.what for one in prepared} <= {"features of videos"}
    assert "2 were computed" in remark(rest)


def test_a_process_that_waits_for_another_says_so(folder: Path, tmp_path: Path) -> None:
    """The other one has the lock until it was told of."""
    how = config(folder, tmp_path / "store")
    shelf = min(files(tmp_path / "store") if filled(how) else ()).parent
    model, told = network(how), list[Event]()
    found = reuse_of(how, model.geometry)
    assert found is not None
    with (shelf / "lock").open("w", encoding="utf-8") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def tell(event: Event) -> None:
            told.append(event)
            fcntl.flock(other, fcntl.LOCK_UN)

        fill(found, how, model, data(how).splits, tell)
    assert told[0] == Prepared(what="features of videos, by another process")
    assert len(found.files) == 3
