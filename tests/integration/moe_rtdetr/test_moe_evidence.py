"""What a training of MoE RT-DETR shows of itself for the diagnostics."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from backend.core.errors import TrainingError
from backend.core.events import (
    DataSurveyed,
    Event,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    NonfiniteSeen,
    PredictionsObserved,
    RunStarted,
)
from backend.datasets import read_split
from backend.nn.observing.probing import paired, spread
from backend.runner.fit import fit
from backend.trainers.moe_rtdetr.data import Frames, collate
from backend.trainers.moe_rtdetr.evidence import Probe
from backend.trainers.moe_rtdetr.learner import Learner
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.spec import SPEC, MoeRtDetrConfig
from backend.trainers.moe_rtdetr.training import build
from tests.support.conformance import Never

Some = TypeVar("Some")
PARTS = ("backbone", "encoder", "token_experts", "routers", "decoder", "heads")


@pytest.fixture(scope="module")
def told(smallest: MoeRtDetrConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """Two epochs of four steps with the backbone frozen."""
    config = smallest.replace({"freeze.strategy": "backbone", "diagnostics.every": 4})
    events: list[Event] = []
    folder = tmp_path_factory.mktemp("told")
    fit(build(config, folder), events.append, Never(), folder)
    return events


def all_of(events: list[Event], kind: type[Some]) -> list[Some]:
    return [event for event in events if isinstance(event, kind)]


def test_plan_and_survey_come_first(told: list[Event], smallest: MoeRtDetrConfig) -> None:
    plan = all_of(told, RunStarted)[0].plan
    assert plan is not None
    assert (plan.steps, plan.first_validation, plan.validations, plan.clip) == (8, 4, 2, 0.5)
    logged = {key for event in all_of(told, MetricsLogged) for key in event.metrics}
    assert {f"train/{name}" for name in plan.losses} <= logged
    (surveyed,) = all_of(told, DataSurveyed)
    survey = surveyed.survey
    assert [(one.split, one.expected, one.found) for one in survey.inputs] == [
        ("train", 16, 16), ("val", 4, 4),
    ]  # fmt: skip
    assert all(census.head == len(smallest.classes) for census in survey.labels)
    assert all(quality.zero_units == 0 for quality in survey.quality)
    assert survey.shared == {}


def test_each_part_that_trains_shows_its_gradient_and_its_update(told: list[Event]) -> None:
    logged = [event.metrics for event in all_of(told, MetricsLogged)]
    found = [m for m in logged if "update/all" in m]
    assert found
    for metrics in found:
        for part in PARTS[1:]:
            assert math.isfinite(metrics[f"gradient/{part}/mean_abs"])
            assert metrics[f"gradient/{part}/norm"] > 0
        assert "gradient/backbone/norm" not in metrics
    norms = [metrics["train/grad_norm"] for metrics in logged if "train/grad_norm" in metrics]
    assert len(norms) == len([m for m in logged if "train/loss" in m])


def test_what_moves_and_what_is_predicted_follow_each_validation(
    told: list[Event], smallest: MoeRtDetrConfig
) -> None:
    moved, said = all_of(told, MovementObserved), all_of(told, PredictionsObserved)
    assert [one.step for one in moved] == [one.step for one in said] == [4, 8]
    names = [group.name for group in moved[-1].groups]
    assert sorted(names) == sorted(PARTS)
    frozen = next(group for group in moved[-1].groups if group.planned == "frozen")
    assert (frozen.name, frozen.changed, frozen.in_optimizer) == ("backbone", 0, 0)
    assert all(one.thawed == one.training == () for one in moved)
    (histogram,) = said[-1].histograms
    truth = read_split(smallest.data, "val", smallest.classes).objects
    assert histogram.truth == {**truth, "background": 0}
    assert sum(histogram.predicted.values()) == sum(truth.values())
    kinds = [event.type for event in told]
    first = kinds.index("PredictionsObserved")
    assert kinds[first - 2 : first + 2] == [
        "MetricsLogged", "ExpertsObserved", "PredictionsObserved", "MovementObserved",
    ]  # fmt: skip


def test_the_probe_s_own_loss_is_the_validation_s(told: list[Event]) -> None:
    probes = all_of(told, InputProbed)
    assert [(probe.step, probe.samples) for probe in probes] == [(4, 4), (8, 4)]
    curves = {e.step: e.metrics for e in all_of(told, MetricsLogged) if SPEC.headline in e.metrics}
    for probe in probes:
        for name in ("loss", "detection_loss"):
            assert probe.losses[name] == pytest.approx(curves[probe.step][f"val/{name}"], rel=1e-4)


@torch.no_grad()
def test_the_probe_gives_each_image_the_objects_of_another_one(
    smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    learner = build(smallest, tmp_path).model
    assert isinstance(learner, Learner)
    split = read_split(smallest.data, "val", smallest.classes)
    probe = Probe(split, smallest)
    learner.eval()
    probed = probe(learner, 3)
    assert probed is not None
    assert probed.samples == 2, "an odd one has no other"
    frames = Frames(split, smallest.model.image_size)
    one, other = paired(spread(len(split.frames), 3))
    batch = collate([frames[one], frames[other]])
    output = learner.network(batch.images)
    for told, targets in ((probed.losses, batch.targets), (probed.permuted, batch.targets[::-1])):
        lost = learner.criterion.losses(output, targets).logged()
        assert told["detection_loss"] == pytest.approx(float(lost["detection_loss"]), rel=1e-5)
    assert probed.losses != probed.permuted
    assert probe(learner, 1) is None


def poisoned(collate: Callable[[list[object]], Batch]) -> Callable[[list[object]], Batch]:
    def spoil(samples: list[object]) -> Batch:
        batch = collate(samples)
        batch.images[0, 0, 0, 0] = math.nan
        return batch

    return spoil


def test_a_spoilt_image_is_traced_with_its_batch(
    smallest: MoeRtDetrConfig, tmp_path: Path
) -> None:
    training = build(smallest, tmp_path)
    object.__setattr__(training.data, "collate", poisoned(training.data.collate))
    events: list[Event] = []
    with pytest.raises(TrainingError, match="NaN or infinite"):
        fit(training, events.append, Never(), tmp_path)
    (seen,) = all_of(events, NonfiniteSeen)
    assert (seen.where, seen.name, seen.step) == ("input", "images", 1)
    names = {frame.name for frame in read_split(smallest.data, "train", smallest.classes).frames}
    assert len(seen.samples) == 4
    assert set(seen.samples) <= names
