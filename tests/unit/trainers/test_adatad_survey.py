"""What is told of the data before the first step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from backend.datasets.temporal import TemporalData
from backend.synthetic._untrimmed_files import write_video
from backend.trainers.adatad.batch import collate
from backend.trainers.adatad.data import DrawnWindows, SlidingWindows, read_data
from backend.trainers.adatad.data_survey import (
    COUNTED,
    Constant,
    Points,
    baselines,
    best,
    points_seen,
    quality,
    survey,
    untrained,
)
from backend.trainers.adatad.inference import LossSums, look
from backend.trainers.adatad.model.losses import summed_losses
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import AdaTadConfig
from backend.trainers.adatad.weights import geometry_of
from tests.support import adatad_files, temporal_folders

CLASSES = ("jump", "run")


@pytest.fixture(scope="module")
def how(tmp_path_factory: pytest.TempPathFactory) -> AdaTadConfig:
    entry = temporal_folders.entry
    database: dict[str, Any] = {
        "a": entry("training", [("jump", 0.2, 0.9), ("run", 1.0, 1.5)]),
        "b": entry("training", [("run", 0.1, 0.5)]),
        "c": entry("validation", [("jump", 0.5, 1.3), ("run", 1.0, 1.5), ("run", 1.4, 1.7)]),
    }
    folder = tmp_path_factory.mktemp("survey") / "data"
    temporal_folders.write(folder, database, {"a": 60, "b": 61, "c": 59})
    return adatad_files.config(data=folder)


@pytest.fixture(scope="module")
def data(how: AdaTadConfig) -> TemporalData:
    return read_data(how, ("train", "val"))


def constant_losses(
    how: AdaTadConfig, windows: SlidingWindows, said: Constant
) -> dict[str, float]:
    """Of a network that says so at every point, taken as a validation takes them."""
    network = AdaTad(geometry_of(how, CLASSES)).eval()
    for layer in (network.head.cls_head, network.head.reg_head):
        nn.init.zeros_(layer.weight)
    with torch.no_grad():
        network.head.cls_head.bias.copy_(torch.tensor(said.logits))  # type: ignore[union-attr]
        network.head.reg_head.bias.copy_(torch.tensor(said.distances))  # type: ignore[union-attr]
    sums = LossSums()
    look(network, windows, how, (sums,))
    return sums.means()


def test_the_best_constant_has_the_loss_that_a_validation_would_show(
    how: AdaTadConfig, data: TemporalData
) -> None:
    windows, geometry = SlidingWindows(data.splits[1].usable, how, 0.25), geometry_of(how, CLASSES)
    cuts = [cut for _, cut in windows.places]
    levels = points_seen(cuts, geometry, 32)
    numbers, wanted, truths = zip(*levels, strict=True)
    points = Points(sum(numbers), torch.stack(wanted).sum(0), torch.cat(truths))
    said = best(points)
    found = baselines("val", cuts, geometry, 32)
    assert found is not None
    new = constant_losses(how, windows, untrained(points))
    assert new == pytest.approx(found.losses["untrained"], rel=1e-4)
    shown = constant_losses(how, windows, said)
    assert shown == pytest.approx(found.losses["constant"], rel=1e-4)
    for change in (-0.3, 0.3):
        other = said._replace(
            logits=(said.logits[0], said.logits[1] + change),
            distances=(said.distances[0] + change, said.distances[1]),
        )
        worse = constant_losses(how, windows, other)
        assert worse["cls_loss"] > shown["cls_loss"]
        assert worse["reg_loss"] > shown["reg_loss"]
    assert all(found.losses["position"][part] < value for part, value in shown.items())


def test_points_are_those_of_the_network_level_by_level(
    how: AdaTadConfig, data: TemporalData
) -> None:
    windows, geometry = SlidingWindows(data.splits[1].usable, how, 0.25), geometry_of(how, CLASSES)
    levels = points_seen([cut for _, cut in windows.places], geometry, 32)
    valid = positive = 0
    for at in range(len(windows)):
        outputs = AdaTad(geometry).eval().outputs(collate([windows[at]]))
        valid += int(outputs.valid.sum())
        losses = summed_losses(outputs, [windows[at].segments], [windows[at].labels])
        positive += int(losses["positives"])
    assert sum(level.number for level in levels) == valid
    assert sum(len(level.truth) for level in levels) == positive
    for at, level in enumerate(levels):
        reach = (level.truth * 2**at).amax(-1)  # level l takes actions of 2^(l+1) to 2^(l+2)
        assert ((reach >= (2 ** (at + 1) if at else 0)) & (reach <= 2 ** (at + 2))).all()
    assert sum(len(level.truth) > 0 for level in levels) > 1


def test_what_training_windows_hold_is_told(how: AdaTadConfig, data: TemporalData) -> None:
    drawn = DrawnWindows(data.splits[0], how)
    slid = SlidingWindows(data.splits[1].usable, how, 0.25)
    found = survey(data, drawn, slid, geometry_of(how, CLASSES), how)
    assert [one.split for one in found.inputs] == ["train", "val"]
    assert found.validated
    assert [(one.split, one.units, one.zero_units) for one in found.quality] == [
        ("train", 2, 0), ("val", 1, 0),
    ]  # fmt: skip
    assert [(one.split, one.labels) for one in found.labels] == [("train", 3), ("val", 3)]
    (labels,) = found.sampled
    assert (labels.split, labels.positions, labels.positive) == ("train", COUNTED, COUNTED)
    assert labels.counts["run"] > COUNTED / 2  # the only action of one of two videos
    assert 0 < labels.counts["jump"] < COUNTED / 2
    assert [(one.split, one.counted) for one in found.baselines] == [
        ("train", COUNTED), ("val", len(slid)),
    ]  # fmt: skip
    for one in found.baselines:
        parts = one.losses["constant"]
        assert parts["loss"] == pytest.approx(parts["cls_loss"] + parts["reg_loss"])
    again = survey(data, drawn, slid, geometry_of(how, CLASSES), how)
    assert again == found
    other = survey(data, drawn, slid, geometry_of(how, CLASSES), how.replace({"seed": 2}))
    assert other.sampled != found.sampled


def test_without_an_action_there_is_no_constant(how: AdaTadConfig, data: TemporalData) -> None:
    (video,) = data.splits[1].usable
    windows = SlidingWindows([video], how, 0.0)
    bare = [type(cut)(cut.start, cut.count, cut.segments[:0], cut.labels[:0])
            for _, cut in windows.places]  # fmt: skip
    assert baselines("val", bare, geometry_of(how, CLASSES), 32) is None
    assert np.concatenate([cut.labels for _, cut in windows.places]).size


def test_videos_of_one_colour_are_counted(tmp_path: Path) -> None:
    """What cannot be decoded is told of where it is trained on."""
    folder = temporal_folders.clean(tmp_path / "data")
    grey = np.full((60, 48, 64, 3), 90, np.uint8)
    write_video(folder / "videos/b.mp4", grey, 30)
    how = adatad_files.config(data=folder)
    train, val = read_data(how, ("train", "val")).splits
    found = quality(train, how)
    assert (found.units, found.zero_units, found.examples) == (2, 1, {"zero_units": ("b",)})
    assert [channel.name for channel in found.channels] == ["red", "green", "blue"]
    assert all(channel.std > 10 and channel.distinct > 16 for channel in found.channels)
    assert quality(val, how).zero_units == 0
    (folder / "videos/a.mp4").write_bytes(b"no video")
    found = quality(train, how)
    assert (found.units, found.zero_units) == (1, 1)
    assert {channel.std < 1 for channel in found.channels} == {True}
