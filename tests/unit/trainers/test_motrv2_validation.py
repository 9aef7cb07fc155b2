"""What each validation measures: tracks, the same losses each time, forgetting, evidence."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from backend.core.errors import DataError
from backend.core.events import PredictionsObserved, TracksObserved
from backend.runner.training import Point
from backend.trainers.motrv2.clip_losses import clip_losses
from backend.trainers.motrv2.data import ValidationClips
from backend.trainers.motrv2.data_reading import read_data
from backend.trainers.motrv2.evidence import Probe
from backend.trainers.motrv2.forgetting import Source, before
from backend.trainers.motrv2.model.interaction import Passing
from backend.trainers.motrv2.model.learner import ClipLearner
from backend.trainers.motrv2.model.previous import Previous
from backend.trainers.motrv2.spec import Motrv2Config
from backend.trainers.motrv2.validation import Validation
from tests.support.motrv2_frames import clip, learner
from tests.support.motrv2_tracking import config_of, data_of, handset

POINT = Point(3, 10, 1, 2)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_of(tmp_path_factory.mktemp("validated") / "data")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_of(tmp_path_factory.mktemp("validated_source") / "source", ("person",), 1)


def test_a_validation_tells_metrics_losses_and_evidence(root: Path) -> None:
    config = config_of(root)
    (val,) = read_data(config, ("val",)).splits
    validation = Validation(val, config, ValidationClips(val, config), untrained=("one",))
    network = handset()
    told = validation(network, POINT, {})
    names = {f"val/{name}" for name in (
        "cls_HOTA", "HOTA", "DetA", "AssA", "MOTA", "IDF1", "cls_MOTA", "cls_IDF1", "IDSW",
        "swept_HOTA", "best_thresh", "class_accuracy",
        "loss", "loss_ce", "loss_bbox", "loss_giou", "loss_dn",
    )}  # fmt: skip
    assert told.metrics.keys() == names
    parts = [value for name, value in told.metrics.items() if name.startswith("val/loss_")]
    assert told.metrics["val/loss"] == pytest.approx(sum(parts))
    tracks, predictions = told.events
    assert isinstance(tracks, TracksObserved)
    assert isinstance(predictions, PredictionsObserved)
    assert (tracks.step, tracks.split, tracks.final) == (3, "val", False)
    assert tracks.seen.untrained == ("one",)
    assert [one.output for one in predictions.histograms] == ["classes", "matched"]
    assert validation(network, POINT, {}).metrics == told.metrics
    quiet = config.replace({"diagnostics.observe": False})
    assert Validation(val, quiet, ())(network, POINT, {}).events == ()


def test_queries_that_pile_up_are_told_once(root: Path) -> None:
    config = config_of(root).replace({"tracker.max_track_queries": 6})
    (val,) = read_data(config, ("val",)).splits
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        Validation(val, config, ())(handset(), POINT, {})
    assert ["6 track queries" in str(one.message) for one in told] == [True]


def test_losses_of_clips_draw_nothing_and_leave_no_trace() -> None:
    network = learner(sure=0.5).eval()
    usual = replace(network.clip_training, jitter=0.3)
    network.clip_training = usual
    clips = [clip((0, 1), (0, 1), (1,)), clip((0,), (0,))]
    torch.manual_seed(5)
    first = clip_losses(network, clips)
    assert float(torch.rand(1)) == float(torch.rand(1, generator=torch.manual_seed(5)))
    assert clip_losses(network, clips) == first
    dropping = replace(usual, passing=Passing(drop=0.9, insert=0.9), recompute=True)
    network.clip_training = dropping
    assert clip_losses(network, clips) == first
    assert network.clip_training is dropping
    ones = [clip_losses(network, [one])["loss_ce"] for one in clips]
    assert first["loss_ce"] == pytest.approx(sum(ones) / 2)
    assert clip_losses(network, []) == {}


def test_pictures_of_other_clips_under_the_same_boxes(root: Path) -> None:
    config = config_of(root)
    (val,) = read_data(config, ("val",)).splits
    clips = ValidationClips(val, config)
    blind = handset()
    probed = Probe(clips)(blind, 4)
    assert probed is not None
    assert (probed.split, probed.samples) == ("val", 4)
    assert probed.losses == probed.permuted, "its answers do not depend on the picture"
    seeing = learner(sure=0.5, classes=8).eval()
    probed = Probe(clips)(seeing, 4)
    assert probed is not None
    assert probed.losses.keys() == probed.permuted.keys()
    assert probed.losses != probed.permuted
    assert Probe(clips[:1])(seeing, 4) is None


def test_forgetting_is_what_the_old_head_no_longer_finds(root: Path, source: Path) -> None:
    config = config_of(root, source=str(source), model={"pretrained": "one.pth"})
    network = handset()
    old = handset(classes=1, column=0)
    heads = {n: t for n, t in old.state_dict().items() if n.startswith("class_embed.")}
    network.previous = Previous(heads)
    domain = before(network, config, ("person",))
    assert isinstance(domain, Source)
    assert domain.hota > 0.05
    assert domain.measured == {"source/HOTA": domain.hota}
    assert domain.metrics(network) == {"source/HOTA": domain.hota, "source/forgetting": 0.0}
    with torch.no_grad():
        for head in network.class_embed:
            head.bias.fill_(-9)  # of the new head: nothing of the old one
    assert domain.metrics(network)["source/forgetting"] == 0.0
    with torch.no_grad():
        for box in network.bbox_embed:
            box.layers[-1].bias.fill_(3)  # of the body
    now = domain.metrics(network)
    assert now["source/forgetting"] == pytest.approx(domain.hota - now["source/HOTA"])
    assert now["source/forgetting"] > 0.05
    (val,) = read_data(config, ("val",)).splits
    told = Validation(val, config, (), domain)(network, POINT, {}).metrics
    assert {name: told[name] for name in now} == now


def test_the_same_head_is_measured_where_none_was_replaced(root: Path) -> None:
    config = config_of(root, source=str(root), model={"pretrained": "one.pth"})
    network = handset().train()
    domain = before(network, config)
    assert domain is not None
    assert domain.hota > 0.05
    assert network.training
    assert before(network, config_of(root)) is None


def test_the_source_is_measured_once_for_a_run(root: Path, tmp_path: Path) -> None:
    config = config_of(root, source=str(root), model={"pretrained": "one.pth"})
    network, kept = handset(), tmp_path / "source.json"
    domain = before(network, config, (), tmp_path)
    assert domain is not None
    told = json.loads(kept.read_text())
    assert told["source/HOTA"] == domain.hota
    kept.write_text(json.dumps(told | {"source/HOTA": 0.125}))
    assert hota_before(network, config, tmp_path) == 0.125, "it was kept"
    other = config.replace({"tracker.score_thresh": 0.4})
    assert hota_before(network, other, tmp_path) != 0.125
    kept.write_text(json.dumps(told | {"source/HOTA": 0.125}))
    with torch.no_grad():
        for head in network.class_embed:
            head.bias.add_(0.5)
    assert hota_before(network, config, tmp_path) != 0.125
    kept.write_text("{")
    assert hota_before(handset(), config, tmp_path) == domain.hota


def hota_before(network: ClipLearner, config: Motrv2Config, work: Path) -> float:
    domain = before(network, config, (), work)
    assert domain is not None
    return domain.hota


def test_a_source_of_other_classes_is_refused(root: Path, source: Path) -> None:
    config = config_of(root, source=str(source), model={"pretrained": "one.pth"})
    with pytest.raises(DataError, match=r"1 classes \(person\).* trained on 8"):
        before(handset(), config)
    with pytest.raises(DataError, match=r"trained on 1 \(ball\)"):
        before(handset(), config, ("ball",))
