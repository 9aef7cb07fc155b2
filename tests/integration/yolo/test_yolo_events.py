"""What a YOLO training says, in which order, and what it leaves on disk."""

import json
from pathlib import Path

import pytest

from backend.core.digest import sha256
from backend.core.events import (
    CheckpointRemoved,
    CheckpointSaved,
    CostsMeasured,
    DataSurveyed,
    Evaluated,
    FreezeReported,
    InputProbed,
    MetricsLogged,
    MovementObserved,
    Noted,
    PredictionsObserved,
    RunStarted,
)
from backend.nn.finetune.weights import load_weights
from backend.trainers.yolo.spec import YoloConfig
from tests.support.yolo_runs import StopAfter, Training, fit


@pytest.fixture(scope="module")
def run(scratch: YoloConfig, tmp_path_factory: pytest.TempPathFactory) -> Training:
    return fit(scratch, tmp_path_factory.mktemp("run"))


def test_events_come_in_order(run: Training) -> None:
    kinds = [type(event) for event in run.events]
    assert kinds[:4] == [RunStarted, Noted, FreezeReported, DataSurveyed]
    assert kinds[-3:] == [CostsMeasured, FreezeReported, Evaluated]
    between = [k for k in kinds[4:-3] if k is not CheckpointRemoved]
    seen = [PredictionsObserved, MovementObserved]
    epoch = [MetricsLogged, *seen, CheckpointSaved]
    probed = [MetricsLogged, *seen, InputProbed, CheckpointSaved]
    assert between == [MetricsLogged, *probed, *epoch, *probed]


def test_the_start_names_data_and_machine(run: Training, shapes: Path) -> None:
    started = run.events[0]
    assert isinstance(started, RunStarted)
    assert [(i.split, i.images) for i in started.data] == [("train", 24), ("val", 12)]
    assert started.data[0].path == str(shapes)
    assert started.epochs == 3
    assert started.resumed_from is None
    for fact in ("python", "torch", "torchvision", "ultralytics", "numpy", "platform", "cpu"):
        assert started.environment[fact]


def test_epochs_and_steps_are_counted_from_one(run: Training) -> None:
    assert [(e.step, e.epoch) for e in run.metrics()] == [(1, 1), (3, 1), (6, 2), (9, 3)]


def test_each_epoch_has_losses_validation_and_rates(run: Training) -> None:
    for event in run.epochs():
        assert event.metrics.keys() == {
            *(f"{s}/{name}_loss" for s in ("train", "val") for name in ("box", "cls", "dfl")),
            *(f"val/{name}" for name in ("mAP50-95", "mAP50", "precision", "recall")),
            *(f"lr/{part}" for part in ("backbone", "neck", "head")),
            *("train/loss", "val/loss"),
        }


def test_checkpoints_are_as_announced(run: Training) -> None:
    removed = {e.path for e in run.events if isinstance(e, CheckpointRemoved)}
    kept = [e.checkpoint for e in run.saved() if e.checkpoint.path not in removed]
    files = {f"checkpoints/{p.name}" for p in (run.work / "checkpoints").iterdir()}
    assert files == {c.path for c in kept} | {c.path[: -len("safetensors")] + "json" for c in kept}
    for checkpoint in kept:
        path = run.work / checkpoint.path
        assert sha256(path) == checkpoint.sha256
        state, facts = load_weights(path)
        assert facts == json.loads(path.with_suffix(".json").read_text())
        assert (facts["epoch"], facts["step"]) == (checkpoint.epoch, checkpoint.step)
        assert facts["metrics"] == checkpoint.metrics
        assert facts["names"] == ["square", "disc", "triangle"]
        assert str(state["model.0.conv.weight"].dtype) == "torch.float32"


def test_the_last_and_the_best_are_kept(trained: Training) -> None:
    saved = trained.saved()
    scores = [event.checkpoint.metrics["val/mAP50-95"] for event in saved]
    best = saved[scores.index(max(scores))].checkpoint
    assert trained.outcome.best == best.path
    assert [e.best for e in saved] == [s > max([-1.0, *scores[:n]]) for n, s in enumerate(scores)]
    left = {path.name for path in (trained.work / "checkpoints").glob("*.safetensors")}
    assert left == {Path(best.path).name, Path(saved[-1].checkpoint.path).name}


def test_save_period_keeps_more(scratch: YoloConfig, tmp_path: Path) -> None:
    run = fit(scratch.replace({"save_period": 2, "epochs": 5}), tmp_path)
    left = {int(p.stem[-3:]) for p in (tmp_path / "checkpoints").glob("*.safetensors")}
    assert {2, 4, 5} <= left
    assert len(left - {2, 4, 5}) <= 1
    assert run.outcome.status == "finished"


def test_epochs_without_validation_log_none(scratch: YoloConfig, tmp_path: Path) -> None:
    run = fit(scratch.replace({"val_period": 2, "epochs": 3}), tmp_path)
    validated = [any(k.startswith("val/") for k in e.metrics) for e in run.epochs()]
    assert validated == [False, True, True]  # the last epoch always is
    assert [event.checkpoint.epoch for event in run.saved()] == [2, 3]


def test_patience_ends_a_run_that_no_longer_gets_better(
    tuning: YoloConfig, tmp_path: Path
) -> None:
    config = tuning.replace({"epochs": 9, "patience": 2, "optimizer.lr0": 1e-9})
    run = fit(config, tmp_path)
    assert run.outcome.status == "finished"
    assert run.outcome.reason == "no better mAP50-95 for 2 epochs"
    assert len(run.epochs()) < 9
    assert run.evaluated().report.units == 12


def test_a_stop_ends_after_the_checkpoint(scratch: YoloConfig, tmp_path: Path) -> None:
    run = fit(scratch, tmp_path, StopAfter(2))
    assert (run.outcome.status, run.outcome.reason) == ("stopped", "enough")
    assert [event.epoch for event in run.epochs()] == [1, 2]
    assert run.best().is_file()
    assert not any(isinstance(event, Evaluated) for event in run.events)


def test_settings_without_effect_are_told(scratch: YoloConfig, tmp_path: Path) -> None:
    config = scratch.replace({"epochs": 1, "optimizer.nbs": 64, "augment.mosaic": 1.0})
    notes = [e.message for e in fit(config, tmp_path).events if isinstance(e, Noted)]
    assert any("mosaic is off in every epoch" in note for note in notes)
    assert any("optimizer.nbs 64 is more than an epoch has images (24)" in n for n in notes)


def test_a_step_is_taken_in_every_epoch_however_large_the_nominal_batch(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    run = fit(scratch.replace({"optimizer.nbs": 640}), tmp_path)
    steps = [event.step for event in run.epochs()]
    assert steps == sorted(set(steps))


def test_nothing_but_the_run_is_left_in_the_work_directory(run: Training) -> None:
    files = {p.relative_to(run.work).as_posix() for p in run.work.rglob("*") if p.is_file()}
    assert {f for f in files if not f.startswith("checkpoints/")} == {
        "ultralytics/args.yaml",
        "ultralytics/weights/last.pt",
        "evaluation/predictions.json",
        "evaluation/ground_truth.json",
        "evaluation/evidence.npz",
    }


def test_the_same_seed_gives_the_same_run_and_another_another(
    scratch: YoloConfig, run: Training, tmp_path: Path
) -> None:
    again = fit(scratch, tmp_path / "again")
    other = fit(scratch.replace({"seed": 1}), tmp_path / "other", StopAfter(1))
    assert [e.metrics for e in again.metrics()] == [e.metrics for e in run.metrics()]
    assert [e.checkpoint.sha256 for e in again.saved()] == [
        e.checkpoint.sha256 for e in run.saved()
    ]
    assert other.metrics()[0].metrics != run.metrics()[0].metrics
