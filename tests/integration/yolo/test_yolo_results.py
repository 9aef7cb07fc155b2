"""The files of a YOLO run, and its epochs' checkpoints, against Ultralytics' own words."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from ultralytics.models.yolo.detect import DetectionTrainer

from backend import launch
from backend.core.events import Envelope, Event, RunFinished
from backend.core.sinks import JsonlSink
from backend.core.trainer import EvalRequest
from backend.core.workdir import WorkDir
from backend.keeping import restore
from backend.tracking.home import Home
from backend.trainers.yolo import trainer
from backend.trainers.yolo.engine import Engine
from backend.trainers.yolo.recorder import VALIDATION
from backend.trainers.yolo.spec import SPEC, YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.mlflow_home import copy_home
from tests.support.yolo_runs import StopAfter, Training, fit

ROOT = Path(__file__).parents[3]
HEADER = "epoch,box_loss,cls_loss,dfl_loss,mAP50,mAP50-95,precision,recall"
NATIVE = {
    **{name: f"train/{name}" for name in ("box_loss", "cls_loss", "dfl_loss")},
    **{ours.removeprefix("val/"): theirs for theirs, ours in VALIDATION.items()},
}

Table = list[dict[str, str]]


def outspoken(again: dict[str, dict[str, float]]) -> type[Engine]:
    """An engine that writes the native table too, and at the end validates each checkpoint on
    disk once more, into ``again``."""

    class Outspoken(Engine):
        def save_metrics(self, metrics: Any) -> None:
            super().save_metrics(metrics)
            DetectionTrainer.save_metrics(self, metrics)

        def final_eval(self) -> None:
            for path in sorted((self.job.work_dir / "checkpoints").glob("*.safetensors")):
                self.ema.ema.load_state_dict(load_file(path))
                again[path.stem], _ = DetectionTrainer.validate(self)

    return Outspoken


@dataclass(frozen=True)
class Kept:
    """A run in a home, and what Ultralytics says of it."""

    home: Home
    work: WorkDir
    training: Training
    native: Table
    again: dict[str, dict[str, float]]

    @property
    def table(self) -> Table:
        return rows(self.work.results)

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.work.summary.read_text())
        return found


def rows(path: Path) -> Table:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def log(home: Home, work: WorkDir, *parts: list[Event]) -> None:
    """Everything that attempts told, in MLflow and in files."""
    sink = JsonlSink(work.events)
    for seq, event in enumerate(event for part in parts for event in part):
        sink.receive(Envelope(seq=seq, time=1000.0 + seq, event=event))
    sink.close()
    restore(home, work)


def ended(training: Training) -> list[Event]:
    outcome = training.outcome
    end = RunFinished(status=outcome.status, reason=outcome.reason, best=outcome.best)
    return [*training.events, end]


@pytest.fixture(scope="module")
def home(template_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copy_home(template_home, tmp_path_factory.mktemp("results") / "mlruns")


@pytest.fixture(scope="module")
def config(tuning: YoloConfig) -> YoloConfig:
    """Three epochs; the second and the last are validated, and all are kept."""
    kept = {"epochs": 3, "val_period": 2, "save_period": 1, "tensorboard": True}
    return tuning.replace({**kept, "optimizer.lr0": 3e-3})


@pytest.fixture(scope="module")
def kept(home: Home, config: YoloConfig) -> Kept:
    work, again = launch.prepare(home, config, SPEC), dict[str, dict[str, float]]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "Engine", outspoken(again))
        training = fit(config, work.path)
    log(home, work, ended(training))
    native = rows(work.path / "ultralytics" / "results.csv")
    return Kept(home, work, training, native, again)


def test_the_table_is_the_brief_s_with_ultralytics_own_values(kept: Kept) -> None:
    assert kept.work.results.read_text().splitlines()[0] == HEADER
    assert [row["epoch"] for row in kept.table] == [row["epoch"] for row in kept.native]
    assert [row["epoch"] for row in kept.table] == ["1", "2", "3"]
    for ours, theirs in zip(kept.table, kept.native, strict=True):
        for name, native in NATIVE.items():
            if ours["epoch"] != "1" or name.endswith("_loss"):
                said = pytest.approx(float(theirs[native]), abs=5.1e-6)  # has five decimals
                assert float(ours[name]) == said, (ours["epoch"], name)


def test_an_epoch_without_validation_has_empty_cells(kept: Kept) -> None:
    first = kept.table[0]
    assert [first[name] for name in ("mAP50", "mAP50-95", "precision", "recall")] == [""] * 4
    assert float(first["box_loss"]) > 0


def test_an_interrupted_run_ends_with_the_same_table(
    home: Home, config: YoloConfig, kept: Kept
) -> None:
    work = launch.prepare(home, config, SPEC)
    first = fit(config, work.path, StopAfter(1))
    log(home, work, ended(first))
    assert (
        work.results.read_bytes().splitlines() == kept.work.results.read_bytes().splitlines()[:2]
    )
    work.events.unlink()
    log(home, work, ended(first), ended(fit(config, work.path)))
    assert work.results.read_bytes() == kept.work.results.read_bytes()


def test_the_summary_is_what_an_independent_evaluation_says(kept: Kept, tmp_path: Path) -> None:
    found = kept.summary
    best = kept.work.path / found["best_model_path"]
    request = EvalRequest(
        checkpoint=str(best), data=str(kept.training.config.data), split="val", out=str(tmp_path)
    )
    today = YoloTrainer(kept.training.config, tmp_path / "work").evaluate(request)
    assert list(found["metrics"]) == ["mAP50", "mAP50-95", "precision", "recall"]
    for name, value in found["metrics"].items():
        assert value == pytest.approx(today.metrics[name], abs=1e-3), name
    assert found["metrics_from"].startswith("final evaluation of the best checkpoint on val")
    assert found["epochs_completed"] == len(kept.table)
    assert found["third_party_licenses"]["ultralytics"].startswith("AGPL-3.0")
    assert found["settings"]["batch"] == {"requested": 8, "effective": 8}
    assert found["lr_groups"].keys() >= {"backbone", "head"}
    assert (kept.work.path / found["last_model_path"]).name == "epoch-003.safetensors"


def test_tensorboard_shows_losses_metrics_and_rates(kept: Kept) -> None:
    board = EventAccumulator(str(kept.work.tensorboard))
    board.Reload()
    shown = board.PluginTagToContent("scalars").keys()
    assert shown >= {f"Loss/{name}" for name in ("box_loss", "cls_loss", "dfl_loss")}
    assert shown >= {f"Metrics/{n}" for n in ("mAP50", "mAP50-95", "precision", "recall")}
    assert shown >= {"LR/backbone", "LR/head"}


def test_each_checkpoint_is_what_its_epoch_validated(kept: Kept) -> None:
    saved = [event.checkpoint for event in kept.training.saved()]
    assert [c.epoch for c in saved] == [1, 2, 3]
    assert len(kept.again) == 3
    assert 0.1 < saved[1].metrics["val/mAP50"] != saved[2].metrics["val/mAP50"]
    for checkpoint in saved[1:]:
        again = kept.again[Path(checkpoint.path).stem]
        for theirs, ours in VALIDATION.items():
            assert again[theirs] == pytest.approx(checkpoint.metrics[ours], abs=1e-6), ours


def test_every_checkpoint_is_scored_by_one_command(kept: Kept) -> None:
    asked = [sys.executable, "-m", "backend.cli", "--home", str(kept.home.root), "evaluate"]
    ended = subprocess.run(
        [*asked, f"{kept.work.path.name}@all", "--json"],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert [row["epoch"] for row in found["checkpoints"]] == [1, 2, 3]
    best = max(found["checkpoints"], key=lambda row: row["metrics"]["mAP50-95"])
    assert [row["best"] for row in found["checkpoints"]].count(True) == 1
    assert best["best"] or best["metrics"]["mAP50-95"] == found["value"]
    final = kept.summary["best_epoch"]
    (again,) = (row for row in found["checkpoints"] if row["epoch"] == final)
    for name, value in kept.summary["metrics"].items():
        assert again["metrics"][name] == pytest.approx(value, abs=1e-6)
    assert len(found["sentences"]) == 2
