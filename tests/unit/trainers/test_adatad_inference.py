"""Windows of real videos through the network: clocks, batches, threads, merging."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.core.errors import DataError
from backend.datasets.temporal import TemporalSplit, read_temporal
from backend.scoring.temporal.soft_nms import Detections
from backend.trainers.adatad.batch import Batch, Window
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.inference import LossSums, batches, look
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.model.points import Outputs
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.weights import geometry_of
from tests.support import adatad_files, temporal_folders

FPS = 30


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TemporalSplit:
    """Videos of 90, 20 and 151 frames, the second one shorter than a window."""
    actions = [("jump", 0.5, 0.9), ("run", 0.2, 0.6)]
    database = {
        name: temporal_folders.entry("validation", actions, frames / FPS)
        for name, frames in (("long", 151), ("mid", 90), ("short", 20))
    }
    frames = {"long": 151, "mid": 90, "short": 20}
    folder = temporal_folders.write(tmp_path_factory.mktemp("data") / "d", database, frames)
    (found,) = read_temporal(folder, ("validation",))
    return found


def config(**overrides: object) -> AdaTadConfig:
    return adatad_files.config(**overrides)


def network(seed: int = 5) -> AdaTad:
    """Every parameter is random, so that attention and adapters matter."""
    torch.manual_seed(seed)
    model = AdaTad(geometry_of(config(), ("jump", "run")))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def wound_up(scores: float, reach: float) -> AdaTad:
    """A network that finds at each point the same: its class scores, and ends this far away in
    strides."""
    model = network()
    with torch.no_grad():
        for layer, bias in ((model.head.cls_head, scores), (model.head.reg_head, reach)):
            layer.weight.zero_()
            assert layer.bias is not None
            layer.bias.fill_(bias)
        for scale in model.head.scale:
            scale.fill_(1)
    return model


def windows(split: TemporalSplit, how: AdaTadConfig, overlap: float = 0.5) -> SlidingWindows:
    return SlidingWindows(split.usable, how, overlap)


def apart(one: Detections, other: Detections) -> float:
    """How far the detection of either that is least like any of the other is from it."""
    tables = [np.column_stack([x.labels, x.segments, x.scores]) for x in (one, other)]
    distances = np.abs(tables[0][:, None] - tables[1][None]).max(axis=-1)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def test_points_become_seconds_of_their_video_whatever_window_they_lie_in(
    split: TemporalSplit,
) -> None:
    how = config(windows__stride=2, inference__per_class=False, inference__sigma=10)
    found = look(wound_up(scores=0.0, reach=1.0), windows(split, how), how)
    assert list(found) == ["long", "mid", "short"]
    for video in split.usable:
        assert video.file is not None
        total = math.ceil(video.file.frames / 2)
        starts = sorted({*range(0, max(0, total - 32), 16), max(0, total - 32)})
        wanted = set()
        for start in starts:
            for stride in (1, 2, 4, 8, 16, 32):
                for at in range(0, min(32, total), stride):
                    ends = ((start + at + way * stride) * 2 / FPS for way in (-1, 1))
                    wanted.add(tuple(round(min(max(0, t), video.file.duration), 6) for t in ends))
        got = {tuple(segment) for segment in found[video.name].segments.round(6).tolist()}
        assert got == wanted


def test_a_padded_window_finds_nothing_in_its_padding(split: TemporalSplit) -> None:
    how = config(inference__min_score=0.0, inference__sigma=10)
    (short,) = (video for video in split.usable if video.name == "short")
    seen = SlidingWindows([short], how, 0.5)
    found = look(wound_up(scores=1.0, reach=0.4), seen, how)["short"]
    points = sum(math.ceil(20 / stride) for stride in (1, 2, 4, 8, 16, 32))
    assert len(found) == 2 * points
    assert found.segments.max() <= 20 / FPS + 1e-9


def test_each_key_of_the_inference_has_its_effect(split: TemporalSplit) -> None:
    (video,) = (video for video in split.usable if video.name == "mid")
    model = wound_up(scores=0.0, reach=1.0)
    with torch.no_grad():
        model.head.cls_head.bias[1] = -1.0  # type: ignore[index]  # it has one

    def found(**keys: object) -> Detections:
        how = config(**{f"inference__{name}": value for name, value in keys.items()})
        return look(model, SlidingWindows([video], how, 0.5), how)[video.name]

    usual = found()
    assert set(usual.labels.tolist()) == {0, 1}
    assert set(found(min_score=0.3).labels.tolist()) == {0}
    assert len(found(min_score=0.6)) == 0
    starts = len(SlidingWindows([video], config(), 0.5))
    assert len(found(top_k=4, sigma=10)) == 4 * starts
    assert len(found(max_segments=7)) == 7
    assert found(per_class=False).scores.sum() < usual.scores.sum()
    assert found(sigma=0.1).scores.sum() < usual.scores.sum()
    assert found().scores.tolist() == usual.scores.tolist()


def test_neither_neighbours_nor_threads_change_what_is_found(split: TemporalSplit) -> None:
    """To 1e-5: sums are rounded in another order in batches of another size."""
    model, alone = network(), config(inference__batch=1, runner__workers=0)
    wanted = look(model, windows(split, alone, 0.25), alone)
    for batch, workers in ((1, 2), (3, 0), (100, 3)):
        how = config(inference__batch=batch, runner__workers=workers)
        found = look(model, windows(split, how, 0.25), how)
        assert list(found) == list(wanted)
        for name, one in wanted.items():
            assert len(found[name]) == len(one) > 50
            assert apart(found[name], one) < 1e-5


@pytest.mark.parametrize(("attention", "tolerance"), [(0.0, 1e-5), (0.5, 1e-3)])
def test_sliding_windows_say_what_one_long_window_says_away_from_their_borders(
    split: TemporalSplit, attention: float, tolerance: float
) -> None:
    """Where windows begin at whole chunks (``windows.align``), points six of their strides away
    from a window's border get the scores of one long window.

    To the bit but for rounding, were it not for the detector's attention, which looks at the whole
    window; with attention of random weights they differ by less than 1e-3.
    """
    model = network()
    with torch.no_grad():
        for name, parameter in model.projection.named_parameters():
            if "drop_path_attn" in name:
                parameter.fill_(attention)
    (video,) = (video for video in split.usable if video.name == "long")
    one, several = (
        config(windows__length=length, windows__align=32, inference__batch=1)
        for length in (160, 128)
    )
    slid = SlidingWindows([video], several, 0.75)
    assert [cut.start for _, cut in slid.places] == [0, 32]
    (whole,) = _outputs(model, SlidingWindows([video], one, 0), one)
    for (_, cut), outputs in zip(slid.places, _outputs(model, slid, several), strict=True):
        first, last = (48, 128) if cut.start else (0, 80)  # within the window
        for stride in (1, 2, 4, 8):
            ours = _said(outputs, stride, first, last)
            theirs = _said(whole, stride, cut.start + first, cut.start + last)
            assert len(ours) == len(theirs) >= 8
            assert np.abs(ours - theirs).max() < tolerance
        border = _said(outputs, 1, 126, 128) if not cut.start else _said(outputs, 1, 0, 2)
        beyond = _said(whole, 1, 126, 128) if not cut.start else _said(whole, 1, 32, 34)
        assert np.abs(border - beyond).max() > 1e-3


def _outputs(model: AdaTad, seen: SlidingWindows, how: AdaTadConfig) -> list[Outputs]:
    told: list[Outputs] = []
    look(model, seen, how, [lambda batch, outputs: told.append(outputs)])
    return told


def _said(outputs: Outputs, stride: int, first: int, last: int) -> np.ndarray:
    points = outputs.points
    inside = (points.strides == stride) & (first <= points.positions) & (points.positions < last)
    said = torch.cat([outputs.logits.sigmoid(), outputs.offsets], dim=-1)
    return said[0, inside & outputs.valid[0]].numpy()


def test_only_as_many_batches_as_threads_are_decoded_ahead(split: TemporalSplit) -> None:
    asked: list[int] = []

    class Counting(SlidingWindows):
        def __getitem__(self, index: int) -> Window:
            asked.append(index)
            return super().__getitem__(index)

    how = config()
    seen = Counting(split.usable, how, 0.75)
    assert len(seen) > 12
    made = batches(seen, range(len(seen)), 2, threads=2)
    next(made)
    next(made)
    assert len(asked) <= 2 * (2 + 2)
    rest = [place for places, _ in made for place in places]
    assert rest == list(range(4, len(seen)))
    assert sorted(asked) == list(range(len(seen)))


def test_losses_do_not_depend_on_how_windows_are_put_together(split: TemporalSplit) -> None:
    model, how = network(), config(inference__batch=100)
    parts = config(inference__batch=2)
    together, apart = LossSums(), LossSums()
    look(model, windows(split, how), how, [together])
    look(model, windows(split, parts), parts, [apart])
    ((_, everything),) = batches(windows(split, how), range(len(windows(split, how))), 100, 0)
    with torch.no_grad():
        direct = model.loss(everything)
    assert direct["positives"] > 5
    assert apart.means() == pytest.approx(together.means(), rel=1e-5)
    assert together.means() == pytest.approx(
        {
            "loss": float(direct["cls_loss"] + direct["reg_loss"]),
            "cls_loss": float(direct["cls_loss"]),
            "reg_loss": float(direct["reg_loss"]),
        },
        rel=1e-5,
    )


def test_losses_of_nothing_to_find_are_numbers() -> None:
    assert LossSums().means() == {"loss": 0.0, "cls_loss": 0.0, "reg_loss": 0.0}


@pytest.mark.parametrize("what", ["cls_head", "reg_head"])
def test_scores_that_are_no_numbers_are_told_with_their_video(
    split: TemporalSplit, what: str
) -> None:
    model, how = network(), config()
    with torch.no_grad():
        getattr(model.head, what).weight.fill_(math.nan)
    with pytest.raises(DataError, match="video long: the network's scores are no numbers"):
        look(model, windows(split, how), how)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_that_went_missing_ends_it_with_one_sentence(
    split: TemporalSplit, tmp_path: Path, workers: int
) -> None:
    gone = [
        replace(video, file=replace(video.file, path=tmp_path / "gone.mp4"))
        if video.name == "mid" and video.file
        else video
        for video in split.usable
    ]
    how = config(runner__workers=workers)
    with pytest.raises(DataError, match=r"gone\.mp4: cannot be decoded"):
        look(network(), SlidingWindows(gone, how, 0.5), how)


def test_watches_see_each_batch_once(split: TemporalSplit) -> None:
    how = config()
    seen: list[tuple[str, int]] = []

    def watch(batch: Batch, outputs: Outputs) -> None:
        assert len(outputs.logits) == len(batch.names)
        seen.extend(zip(batch.names, batch.starts, strict=True))

    slid = windows(split, how)
    look(network(), slid, how, [watch])
    assert seen == [(video.name, cut.start) for video, cut in slid.places]


def test_nothing_to_look_at_finds_nothing() -> None:
    nothing: Sequence[object] = ()
    assert look(network(), SlidingWindows(nothing, config(), 0.5), config()) == {}  # type: ignore[arg-type]  # empty
