"""What a YOLO training shows of itself for the diagnostics."""

import math
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch

from backend.analysis.diagnostics.engine import diagnose
from backend.analysis.diagnostics.evidence import evidence_of
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
from backend.nn.finetune.weights import load_weights
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.spec import SPEC, YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.shapes import write_dataset
from tests.support.yolo_runs import StopAfter, Training, fit

Some = TypeVar("Some")


def all_of(run: Training, kind: type[Some]) -> list[Some]:
    return [event for event in run.events if isinstance(event, kind)]


def curve(run: Training, key: str) -> dict[int, float]:
    return {e.step: e.metrics[key] for e in run.metrics() if key in e.metrics}


@pytest.fixture(scope="module")
def tuned(tuning: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Four epochs of fine-tuning with the backbone frozen."""
    config = tuning.replace(
        {"epochs": 4, "freeze.strategy": "backbone", "diagnostics.every": 2, "optimizer.nbs": 16}
    )
    return fit(config, tmp_path_factory.mktemp("tuned"))


def test_the_plan_is_what_comes_to_pass(tuned: Training) -> None:
    plan = all_of(tuned, RunStarted)[0].plan
    assert plan is not None
    last = tuned.metrics()[-1]
    assert plan.steps == last.step
    assert plan.warmup_steps > 0
    assert (plan.validations, plan.clip) == (4, 10.0)
    assert plan.first_validation == min(curve(tuned, SPEC.headline))
    assert {f"val/{name}" for name in plan.losses} <= last.metrics.keys()
    assert last.metrics["val/loss"] == pytest.approx(
        sum(last.metrics[f"val/{name}"] for name in plan.losses)
    )
    assert last.metrics["train/loss"] == pytest.approx(
        sum(last.metrics[f"train/{name}"] for name in plan.losses)
    )
    assert plan.loaders["train"] == plan.loaders["val"]


def test_the_data_is_surveyed_before_the_first_step(tuned: Training) -> None:
    kinds = [event.type for event in tuned.events]
    assert kinds.index("DataSurveyed") < kinds.index("MetricsLogged")
    (told,) = all_of(tuned, DataSurveyed)
    assert [(census.expected, census.found) for census in told.survey.inputs] == [
        (24, 24), (12, 12),
    ]  # fmt: skip
    train = told.survey.labels[0]
    assert train.head == len(train.counts)
    assert sum(train.counts.values()) == train.labels > 0
    assert [quality.zero_units for quality in told.survey.quality] == [0, 0]


def test_gradients_and_updates_are_told_by_part(tuned: Training) -> None:
    assert curve(tuned, "train/grad_norm").keys()
    for part in ("neck", "head"):
        assert all(v > 0 for v in curve(tuned, f"gradient/{part}/norm").values())
        first, *later = curve(tuned, f"update/{part}").values()
        assert first == 0, "the warm-up begins at rate 0"
        assert all(0 < v < 1 for v in later)
    assert not curve(tuned, "gradient/backbone/norm"), "it does not train"
    assert all(0 <= v <= 1 for v in curve(tuned, "train/clipped").values())


def test_what_moves_is_told_with_each_validation(tuned: Training) -> None:
    seen = all_of(tuned, MovementObserved)
    assert [one.step for one in seen] == list(curve(tuned, SPEC.headline))
    assert all(one.thawed == one.training == () for one in seen)
    rows = {(g.name, g.planned): g for g in seen[-1].groups}
    assert rows["backbone", "frozen"].changed == 0
    assert rows["backbone", "frozen"].requires_grad == 0
    head = rows["head", "trainable"]
    assert head.requires_grad == head.in_optimizer == head.tensors
    assert (head.change or 0) > 1e-6
    assert 0 < head.rate <= 1


def test_what_is_predicted_is_told_with_each_validation(tuned: Training) -> None:
    seen = all_of(tuned, PredictionsObserved)
    assert [one.step for one in seen] == list(curve(tuned, SPEC.headline))
    (said,) = seen[-1].histograms
    (told,) = all_of(tuned, DataSurveyed)
    counts = told.survey.labels[1].counts
    assert said.truth == {**counts, "background": 0}
    assert sum(said.predicted.values()) == sum(counts.values())
    assert sum(said.predicted[name] > 0 for name in counts) > 1
    assert 0 <= said.quantiles["0.5"] <= said.quantiles["1"] <= 1


def test_the_input_matters_to_a_detector_that_has_learnt(tuned: Training) -> None:
    probes = all_of(tuned, InputProbed)
    evaluated = list(curve(tuned, SPEC.headline))
    assert [probe.step for probe in probes] == [evaluated[0], evaluated[-1]]
    for probe in probes:
        assert probe.samples == 12
        assert probe.permuted["loss"] > 1.2 * probe.losses["loss"]
        at = next(e for e in tuned.metrics() if e.step == probe.step and "val/loss" in e.metrics)
        for name in ("box_loss", "cls_loss"):
            assert probe.losses[name] == pytest.approx(at.metrics[f"val/{name}"], rel=0.05)


def test_an_epoch_whose_only_step_is_at_rate_0_is_no_fault_and_a_val_of_train_is(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    data = write_dataset(tmp_path / "few", {"train": 12})
    data.write_text(data.read_text().replace("names:", "val: images/train\nnames:"))
    few = {"data": str(data), "epochs": 2, "batch": 8, "optimizer.nbs": 64}
    run = fit(scratch.replace(few), tmp_path / "work")
    first, second = all_of(run, MovementObserved)
    assert (first.since, first.step) == (0, 1)
    assert {(g.changed, g.rate) for g in first.groups} == {(0, 0.0)}
    assert all(g.rate > 0.5 for g in second.groups)
    told = run.events[: run.events.index(first) + 1]
    found = diagnose(evidence_of(told, run.config.flat()))
    fired = {finding.rule: finding for finding in (*found.findings, *found.also_seen)}
    assert "B12" not in fired
    assert "and 7 more" in fired["D05"].headline
    assert fired["D05"].evidence[0].value == 12


def test_observing_changes_no_bit_and_can_be_turned_off(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    config = scratch.replace({"epochs": 2, "diagnostics.every": 1})
    seen = fit(config, tmp_path / "a")
    unseen = fit(config.replace({"diagnostics.observe": False}), tmp_path / "b")
    one, other = (load_weights(run.best())[0] for run in (seen, unseen))
    assert all(torch.equal(one[name], other[name]) for name in one)
    kinds = {event.type for event in unseen.events}
    assert "DataSurveyed" in kinds
    assert not kinds & {"MovementObserved", "PredictionsObserved", "InputProbed"}
    assert not curve(unseen, "train/grad_norm")


def test_a_continued_run_may_look_more_closely_and_is_not_surveyed_again(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    config = scratch.replace({"epochs": 2})
    fit(config, tmp_path, StopAfter(1))
    resumed = fit(config.replace({"diagnostics.every": 1, "diagnostics.probe": 0}), tmp_path)
    assert not all_of(resumed, DataSurveyed)
    assert not all_of(resumed, InputProbed)
    (seen,) = all_of(resumed, MovementObserved)
    assert (seen.since, seen.step) == (3, 6)


@pytest.mark.parametrize("where", ["input", "parameter"])
def test_a_lost_number_is_traced_before_the_run_ends(
    where: str, scratch: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is in the input or the weights of the third batch; the engine is the real one."""
    plain, batches = Engine.preprocess_batch, iter(range(1, 100))

    def faulty(self: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        found = plain(self, batch)
        if next(batches) == 3:
            spoilt = found["img"] if where == "input" else self.model.model[0].conv.weight.data
            spoilt[0, 0, 0, 0] = math.nan
        return found

    monkeypatch.setattr(Engine, "preprocess_batch", faulty)
    events: list[Event] = []
    with pytest.raises(TrainingError, match="the loss is no longer a number"):
        YoloTrainer(scratch.replace({"epochs": 1}), tmp_path).fit(events.append, StopAfter())
    (seen,) = (event for event in events if isinstance(event, NonfiniteSeen))
    name = "img" if where == "input" else "model.0.conv"
    assert (seen.where, seen.name, seen.step) == (where, name, 3)
    assert len(seen.samples) == 8
    assert all(sample.endswith((".jpg", ".png")) for sample in seen.samples)
    assert not any(isinstance(event, MetricsLogged) and event.step > 3 for event in events)
