"""Frozen for some epochs, then trained: to the bit before, everything after."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from backend.analysis.diagnostics.evidence import evidence_of
from backend.analysis.diagnostics.rule import Clear, Fired
from backend.analysis.diagnostics.rules import b12_not_moving, b13_frozen_moving
from backend.core.events import (
    Event,
    FreezeReported,
    MetricsLogged,
    MovementObserved,
    Noted,
    Recovered,
)
from backend.nn.finetune.weights import load_state, load_weights
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.yolo_runs import StopAfter, Training, fit

EPOCHS = 4
UNTIL = 2
BACKBONE = 8
DFL = "model.14.dfl.conv.weight"


class Looking(StopAfter):
    """Never stops, and keeps the state that is on disk after each epoch but the last."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        self._path = work / "ultralytics" / "weights" / "last.pt"
        self.states: list[dict[str, Any]] = []

    def reason(self) -> str | None:
        self.states.append(load_state(self._path))
        return None


class CrashError(Exception):
    """The end of a process, in the middle of an epoch."""


@pytest.fixture(scope="module")
def config(tuning: YoloConfig) -> YoloConfig:
    return tuning.replace(
        {
            **{"epochs": EPOCHS, "save_period": 1, "diagnostics.every": 1},
            **{"freeze.strategy": "backbone", "freeze.unfreeze_at": UNTIL},
        }
    )


@pytest.fixture(scope="module")
def looked(
    config: YoloConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Training, list[dict[str, Any]]]:
    """A training without interruption, and its state after the epochs 1 to 3."""
    work = tmp_path_factory.mktemp("whole")
    stop = Looking(work)
    return fit(config, work, stop), stop.states


@pytest.fixture(scope="module")
def whole(looked: tuple[Training, list[dict[str, Any]]]) -> Training:
    return looked[0]


@pytest.fixture(scope="module")
def source(trained: Training) -> dict[str, Tensor]:
    return load_weights(trained.best())[0]


def moved(now: dict[str, Tensor], before: dict[str, Tensor]) -> set[str]:
    assert now.keys() == before.keys()
    return {name for name in now if not torch.equal(now[name].cpu(), before[name])}


def in_backbone(name: str) -> bool:
    return int(name.split(".")[1]) < BACKBONE


@pytest.mark.parametrize("which", ["model", "ema"])
def test_nothing_frozen_moves_before_and_everything_after(
    which: str, looked: tuple[Training, list[dict[str, Any]]], source: dict[str, Tensor]
) -> None:
    """Parameters and batch-norm statistics, in the live model and in its average."""
    first, second, third = (moved(state[which], source) for state in looked[1])
    assert not any(map(in_backbone, first | second))
    assert any(not in_backbone(name) for name in first)
    counters = {name for name in source if name.endswith("num_batches_tracked")}
    expected = source.keys() - {DFL} - (counters if which == "ema" else set())
    assert third == expected, "Ultralytics averages floats only"


def test_the_optimizer_always_has_every_parameter_and_thawed_ones_start_afresh(
    looked: tuple[Training, list[dict[str, Any]]],
) -> None:
    sizes, counts = set(), []
    for state in looked[1]:
        saved = state["optimizer"]
        sizes.add(sum(len(group["params"]) for group in saved["param_groups"]))
        counts.append(sorted({int(one["step"]) for one in saved["state"].values()}))
    assert len(sizes) == 1
    per_epoch = counts[0][0]
    assert counts == [[per_epoch], [2 * per_epoch], [per_epoch, 3 * per_epoch]]


def test_thawed_parts_train_at_the_rate_of_their_groups(whole: Training) -> None:
    logged = [event.metrics for event in whole.epochs()]
    assert ["lr/backbone" in metrics for metrics in logged] == [False, False, True, True]
    assert all(m["lr/backbone"] == m["lr/neck"] == m["lr/head"] for m in logged[UNTIL:])


def test_the_schedule_is_told_and_proved_at_its_end(whole: Training) -> None:
    declared, proof = whole.freezing("declared"), whole.freezing("verified")
    assert declared.until == proof.until == UNTIL
    assert "from epoch 3 on everything trains (freeze.unfreeze_at)" in declared.notes
    assert proof.violations == ()
    assert proof.frozen_tensors == declared.frozen_tensors > 0
    assert (proof.changed_tensors or 0) > 0
    last_frozen, first_thawed = (whole.events.index(whole.epochs()[at]) for at in (1, 2))
    assert last_frozen < whole.events.index(proof) < first_thawed


def test_what_moves_is_held_against_the_plan_of_its_epoch(whole: Training) -> None:
    looks = [event for event in whole.events if isinstance(event, MovementObserved)]
    assert all(look.thawed == look.training == () for look in looks)
    planned = [{g.planned for g in look.groups if g.name == "backbone"} for look in looks]
    assert planned == [{"frozen"}, {"frozen"}, {"trainable"}, {"trainable"}]
    for look in looks[UNTIL:]:
        (group,) = (g for g in look.groups if g.name == "backbone")
        assert group.tensors == group.requires_grad == group.in_optimizer == group.changed
    evidence = evidence_of(whole.events)
    assert isinstance(b12_not_moving.judge(evidence), Clear)
    assert isinstance(b13_frozen_moving.judge(evidence), Clear)


def test_gradients_and_updates_are_seen_from_the_thawing_on(whole: Training) -> None:
    begin = next(event.step for event in whole.metrics() if event.epoch == UNTIL + 1)
    for key in ("gradient/backbone/norm", "update/backbone"):
        seen = {
            event.step: event.metrics[key] for event in whole.metrics() if key in event.metrics
        }
        assert min(seen) >= begin
        assert all(value > 0 for value in seen.values())


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_that_is_continued_across_the_thawing_ends_the_same(
    after: int, config: YoloConfig, whole: Training, tmp_path: Path
) -> None:
    first = fit(config, tmp_path, StopAfter(after))
    second = fit(config, tmp_path)
    assert same_end(second, whole)
    proofs = [e for run in (first, second) for e in run.events if proves(e)]
    assert [proof.until for proof in proofs if isinstance(proof, FreezeReported)] == (
        [None, UNTIL] if after <= UNTIL else [UNTIL]
    )
    assert isinstance(b13_frozen_moving.judge(evidence_of([*first.events, *second.events])), Clear)


def test_a_run_that_dies_after_the_thawing_thaws_again(
    config: YoloConfig, whole: Training, tmp_path: Path
) -> None:
    events: list[Event] = []

    def dying(event: Event) -> None:
        events.append(event)
        if isinstance(event, MetricsLogged) and event.epoch == UNTIL + 1:
            raise CrashError

    with pytest.raises(CrashError):
        YoloTrainer(config, tmp_path).fit(dying, StopAfter())
    assert sum(map(proves, events)) == 1
    resumed = fit(config, tmp_path)
    assert same_end(resumed, whole)
    assert resumed.freezing("verified") == whole.freezing("verified")


def test_a_run_that_steps_down_for_memory_after_the_thawing_thaws_again(
    config: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, batches = Engine.preprocess_batch, iter(range(1, 100))

    def full(self: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        if self.epoch == UNTIL and next(batches) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, batch)

    monkeypatch.setattr(Engine, "preprocess_batch", full)
    run = fit(config.replace({"epochs": UNTIL + 1}), tmp_path)
    (recovered,) = (event for event in run.events if isinstance(event, Recovered))
    assert (recovered.requested["batch"], recovered.effective["batch"]) == (8, 4)
    proofs = [event for event in run.events if isinstance(event, FreezeReported)]
    assert [proof.violations for proof in proofs if proves(proof)] == [(), ()]
    assert [event.epoch for event in run.epochs()] == [1, 2, 3]
    looks = [event for event in run.events if isinstance(event, MovementObserved)]
    (group,) = (group for group in looks[-1].groups if group.name == "backbone")
    assert (group.planned, group.changed) == ("trainable", group.tensors)
    assert isinstance(b13_frozen_moving.judge(evidence_of(run.events)), Clear)


def test_what_moves_too_early_is_found_when_it_is_thawed(
    config: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is in a frozen weight of the second batch; the engine is the real one."""
    plain, batches = Engine.preprocess_batch, iter(range(1, 100))

    def faulty(self: Engine, batch: dict[str, Any]) -> dict[str, Any]:
        if next(batches) == 2:
            self.model.model[1].conv.weight.data[0, 0, 0, 0] += 1
        return plain(self, batch)

    monkeypatch.setattr(Engine, "preprocess_batch", faulty)
    run = fit(config.replace({"epochs": 2, "freeze.unfreeze_at": 1}), tmp_path)
    assert "model.1.conv.weight (model)" in run.freezing("verified").violations
    assert isinstance(b13_frozen_moving.judge(evidence_of(run.events)), Fired)


def test_a_schedule_that_is_not_reached_is_said_and_proved_at_the_end(
    config: YoloConfig, tmp_path: Path
) -> None:
    run = fit(config.replace({"epochs": 1, "freeze.unfreeze_at": 1}), tmp_path)
    assert any(
        isinstance(event, Noted) and "unfreeze_at 1 is not reached in 1 epochs" in event.message
        for event in run.events
    )
    assert run.freezing("verified").until is None
    assert run.freezing("verified").violations == ()


def same_end(run: Training, other: Training) -> bool:
    one, two = (load_weights(r.work / r.saved()[-1].checkpoint.path)[0] for r in (run, other))
    return all(torch.equal(one[name], two[name]) for name in one)


def proves(event: Event) -> bool:
    return isinstance(event, FreezeReported) and event.phase == "verified"
