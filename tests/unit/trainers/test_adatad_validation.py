"""A validation: its metrics, what it tells the diagnostics, and the probe of the input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.core.errors import DataError
from backend.core.events import PredictionsObserved
from backend.datasets.temporal import TemporalSplit, read_temporal
from backend.runner.training import Point
from backend.scoring.temporal.soft_nms import Detections
from backend.trainers.adatad.batch import collate
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.evidence import PointScores, Probe, histogram
from backend.trainers.adatad.inference import LossSums
from backend.trainers.adatad.model.assignment import assign
from backend.trainers.adatad.model.network import AdaTad
from backend.trainers.adatad.spec import METRICS, AdaTadConfig
from backend.trainers.adatad.validation import Validation
from backend.trainers.adatad.weights import geometry_of
from tests.support import adatad_files, temporal_folders

POINT = Point(step=7, steps=20, epoch=1, epochs=3)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> TemporalSplit:
    """Two videos, of 96 and 64 frames, with unlike actions."""
    database = {
        "a": temporal_folders.entry("validation", [("jump", 0.3, 0.7), ("run", 1, 2)], 96 / 30),
        "b": temporal_folders.entry("validation", [("run", 1.2, 1.6)], 64 / 30),
    }
    folder = tmp_path_factory.mktemp("data") / "d"
    (found,) = read_temporal(
        temporal_folders.write(folder, database, {"a": 96, "b": 64}), ("validation",)
    )
    return found


def network(config: AdaTadConfig) -> AdaTad:
    torch.manual_seed(3)
    model = AdaTad(geometry_of(config, ("jump", "run")))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    return model.eval()


def blind(model: AdaTad) -> AdaTad:
    """Says at each point the same, whatever is shown."""
    with torch.no_grad():
        for parameter in model.head.cls_head.weight, model.head.reg_head.weight:
            parameter.zero_()
    return model


def test_every_metric_of_a_validation_is_there(split: TemporalSplit) -> None:
    config = adatad_files.config()
    validated = Validation(split, config)(network(config), POINT, {})
    assert set(validated.metrics) == {f"val/{m.name}" for m in METRICS if m.direction}
    parts = validated.metrics["val/cls_loss"] + validated.metrics["val/reg_loss"]
    assert validated.metrics["val/loss"] == pytest.approx(parts)
    (seen,) = validated.events
    assert isinstance(seen, PredictionsObserved)
    assert (seen.step, seen.split) == (7, "val")
    (shown,) = seen.histograms
    assert shown.truth == {"jump": 1, "run": 2, "background": 0}
    assert sum(shown.predicted.values()) == 3
    assert shown.auroc is not None
    assert list(shown.quantiles) == ["0.5", "0.9", "0.99", "1"]


def test_it_looks_with_the_overlap_of_validations(split: TemporalSplit) -> None:
    config = adatad_files.config(inference__val_overlap=0.5, inference__overlap=0.0)
    starts = [(video.name, cut.start) for video, cut in Validation(split, config).windows.places]
    assert starts == [("a", s) for s in range(0, 65, 16)] + [("b", s) for s in range(0, 33, 16)]


def test_nothing_is_told_where_nothing_is_to_be_observed(split: TemporalSplit) -> None:
    usual, quiet = adatad_files.config(), adatad_files.config(diagnostics__observe=False)
    model = network(usual)
    validated = Validation(split, quiet)(model, POINT, {})
    assert validated.events == ()
    assert validated.metrics == Validation(split, usual)(model, POINT, {}).metrics


def test_videos_without_any_action_are_refused(split: TemporalSplit) -> None:
    empty = np.empty((0, 2)), np.empty(0, np.int64)
    quiet = tuple(replace(v, segments=empty[0], labels=empty[1]) for v in split.videos)
    with pytest.raises(DataError, match="no video that can be used has an action"):
        Validation(replace(split, videos=quiet), adatad_files.config())


def test_a_video_without_a_file_takes_no_part(split: TemporalSplit) -> None:
    config = adatad_files.config()
    half = replace(split, videos=(split.videos[0], replace(split.videos[1], file=None)))
    validated = Validation(half, config)(network(config), POINT, {})
    (seen,) = validated.events
    assert isinstance(seen, PredictionsObserved)
    assert sum(seen.histograms[0].truth.values()) == 2


def test_points_are_ranked_as_by_the_book(split: TemporalSplit) -> None:
    """The share of pairs of a point of an action and another one that stand in order."""
    config = adatad_files.config()
    model, points = network(config), PointScores()
    windows = SlidingWindows(split.usable, config, 0.0)
    ones: list[float] = []
    zeros: list[float] = []
    for place in range(len(windows)):
        batch = collate([windows[place]])
        with torch.no_grad():
            outputs = model.outputs(batch)
        points(batch, outputs)
        targets = assign(outputs.points, batch.segments[0], batch.labels[0], 2).classes.amax(1)
        for score, wanted, valid in zip(
            outputs.logits[0].amax(1).tolist(), targets.tolist(), outputs.valid[0], strict=True
        ):
            if valid:
                (ones if wanted else zeros).append(score)
    assert len(ones) > 5
    ordered = [(one > zero) + (one == zero) / 2 for one in ones for zero in zeros]
    assert points.auroc() == pytest.approx(sum(ordered) / len(ordered))


def test_equal_scores_rank_as_chance_and_nothing_does_not_rank(split: TemporalSplit) -> None:
    config = adatad_files.config()
    points = PointScores()
    assert points.auroc() is None
    windows = SlidingWindows(split.usable, config, 0.0)
    batch = collate([windows[place] for place in range(len(windows))])
    with torch.no_grad():
        points(batch, blind(network(config)).outputs(batch))
    assert points.auroc() == pytest.approx(0.5)


def test_the_surest_segments_are_counted_as_many_as_there_are_actions(
    split: TemporalSplit,
) -> None:
    def found(*scored: tuple[int, float]) -> Detections:
        labels, scores = zip(*scored, strict=True)
        return Detections(np.tile([0.0, 1.0], (len(scored), 1)), np.array(scores),
                          np.array(labels, np.int64))  # fmt: skip

    shown = histogram(split, {"a": found((1, 0.9), (1, 0.8), (0, 0.1)), "b": found((0, 0.3))}, 0.7)
    assert shown.predicted == {"jump": 1, "run": 2, "background": 0}
    assert shown.quantiles["1"] == 0.9
    assert shown.quantiles["0.5"] == pytest.approx(0.6)
    assert shown.auroc == 0.7
    empty = Detections(np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))
    nothing = histogram(split, {"a": empty, "b": empty}, None)
    assert nothing.predicted == {"jump": 0, "run": 0, "background": 3}
    assert nothing.quantiles["1"] == 0


def test_the_probe_tells_a_network_that_sees_from_a_blind_one(split: TemporalSplit) -> None:
    config = adatad_files.config()
    windows = SlidingWindows(split.usable, config, 0.0)
    assert len(windows) == 5
    probe = Probe(windows, workers=0)
    unseeing = probe(blind(network(config)), 100)
    assert unseeing is not None
    assert unseeing.samples == 4  # an odd one is left out
    assert unseeing.permuted == pytest.approx(unseeing.losses, rel=1e-6)
    seeing = probe(network(config), 100)
    assert seeing is not None
    assert seeing.permuted["loss"] != pytest.approx(seeing.losses["loss"], rel=1e-5)


def test_the_probe_takes_the_validation_s_own_loss(split: TemporalSplit, tmp_path: Path) -> None:
    config = adatad_files.config(inference__val_overlap=0.0)
    validation = Validation(replace(split, videos=split.videos[:1] * 2), config)
    model = network(config)
    probed = Probe(validation.windows, workers=2)(model, 100)
    assert probed is not None
    losses = validation(model, POINT, {}).metrics
    assert {f"val/{name}": value for name, value in probed.losses.items()} == pytest.approx(
        {key: value for key, value in losses.items() if key.endswith("loss")}, rel=1e-5
    )
    sums = LossSums()
    for one, other in ((0, 3), (3, 0), (1, 4), (4, 1), (2, 5), (5, 2)):
        window = validation.windows[one]
        seen = replace(window, frames=validation.windows[other].frames)
        with torch.no_grad():
            sums(collate([window]), model.outputs(collate([seen])))
    assert probed.permuted == pytest.approx(sums.means(), rel=1e-5)


def test_one_window_alone_cannot_be_probed(split: TemporalSplit) -> None:
    config = adatad_files.config(windows__length=96)
    windows = SlidingWindows(split.usable[:1], config, 0.0)
    assert len(windows) == 1
    assert Probe(windows, workers=0)(network(config), 50) is None
