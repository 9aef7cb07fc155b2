"""Wrong input: one sentence, before anything is trained, and nothing left behind."""

import errno
import math
import os
import shutil
from pathlib import Path

import pytest
import yaml

from backend.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from backend.core.events import Event, Noted
from backend.nn.finetune.weights import load_weights, save_weights
from backend.trainers.yolo.model import prepare
from backend.trainers.yolo.spec import YoloConfig
from backend.trainers.yolo.trainer import YoloTrainer
from tests.support.yolo_runs import StopAfter, Training, fit


@pytest.fixture
def data(shapes: Path, tmp_path: Path) -> Path:
    shutil.copytree(shapes.parent, tmp_path / "data")
    return tmp_path / "data/data.yaml"


def refused(config: YoloConfig, work: Path) -> str:
    """Why a fit is refused; nothing was said and nothing was written."""
    events: list[Event] = []
    with pytest.raises((DataError, CheckpointError, ConfigError)) as caught:
        YoloTrainer(config, work).fit(events.append, StopAfter())
    assert events == []
    assert not work.exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_data_that_is_not_there(scratch: YoloConfig, tmp_path: Path) -> None:
    config = scratch.replace({"data": str(tmp_path / "none.yaml")})
    assert "none.yaml: no such file" in refused(config, tmp_path / "work")


def test_a_class_beyond_the_names(scratch: YoloConfig, data: Path, tmp_path: Path) -> None:
    (data.parent / "labels/val/003.txt").write_text("9 0.5 0.5 0.1 0.1\n")
    message = refused(scratch.replace({"data": str(data)}), tmp_path / "work")
    assert "val/003.txt, line 1: class id 9" in message


def test_an_empty_label_folder(scratch: YoloConfig, data: Path, tmp_path: Path) -> None:
    for label in (data.parent / "labels/train").iterdir():
        label.unlink()
    message = refused(scratch.replace({"data": str(data)}), tmp_path / "work")
    assert "no object is labelled in 'train'" in message


def test_no_validation_split(scratch: YoloConfig, data: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(data.read_text())
    del content["val"]
    data.write_text(yaml.safe_dump(content, sort_keys=False))
    message = refused(scratch.replace({"data": str(data)}), tmp_path / "work")
    assert "no split 'val'; it has train, holdout" in message


def test_a_source_that_is_not_there(scratch: YoloConfig, tmp_path: Path) -> None:
    config = scratch.replace({"source": str(tmp_path / "source.yaml")})
    assert "source.yaml: no such file" in refused(config, tmp_path / "work")


def test_a_model_that_is_not_there(scratch: YoloConfig, tmp_path: Path) -> None:
    config = scratch.replace({"model": "yolov8n.pt", "weights_dir": str(tmp_path)})
    assert f"expected {tmp_path}/yolov8n.pt" in refused(config, tmp_path / "work")


def test_an_architecture_that_nobody_knows(scratch: YoloConfig, tmp_path: Path) -> None:
    message = refused(scratch.replace({"model": "yolov99.yaml"}), tmp_path / "work")
    assert "Ultralytics ships none of that name" in message


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"nc": 3}, "no 'backbone' and 'head'"),
        ({"nc": 3, "backbone": [[-1, 1, "Nonsense", [8]]], "head": []}, "cannot be built"),
        (
            {"nc": 3, "backbone": [[-1, 1, "Conv", [8, 3, 2]]],
             "head": [[-1, 1, "Classify", ["nc"]]]},
            "its head is Classify",
        ),
    ],
)  # fmt: skip
def test_an_architecture_that_is_none(
    scratch: YoloConfig, tmp_path: Path, content: dict[str, object], sentence: str
) -> None:
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(content))
    config = scratch.replace({"model": str(tmp_path / "m.yaml")})
    assert sentence in refused(config, tmp_path / "work")


def test_a_device_that_is_not_there(scratch: YoloConfig, tmp_path: Path) -> None:
    for device in ("cuda:77", "77", "warp"):
        message = refused(scratch.replace({"device": device}), tmp_path / "work")
        assert f"device '{device}'" in message


def test_corrupt_images_are_named_in_a_warning(
    scratch: YoloConfig, data: Path, tmp_path: Path
) -> None:
    (data.parent / "images/train/004.png").write_bytes(b"\x89PNG and nothing more")
    run = fit(scratch.replace({"data": str(data), "epochs": 1}), tmp_path / "work")
    notes = [e.message for e in run.events if isinstance(e, Noted)]
    assert any("1 of 24 images of train" in n and "train/004.png" in n for n in notes)


def scaled(run: Training, factor: float, path: Path) -> Path:
    """The weights of a run's best checkpoint, out of all proportion."""
    state, facts = load_weights(run.best())
    save_weights(path, {n: t * factor if "conv" in n else t for n, t in state.items()}, facts)
    return path


def test_a_loss_that_is_no_number_ends_the_run(
    tuning: YoloConfig, trained: Training, tmp_path: Path
) -> None:
    model = scaled(trained, 1e37, tmp_path / "huge.safetensors")
    with pytest.raises(TrainingError, match=r"no longer a number.*lower optimizer\.lr0"):
        fit(tuning.replace({"model": str(model)}), tmp_path / "work")


def test_weights_that_are_no_numbers_are_refused(
    tuning: YoloConfig, trained: Training, tmp_path: Path
) -> None:
    model = scaled(trained, math.inf, tmp_path / "inf.safetensors")
    message = refused(tuning.replace({"model": str(model)}), tmp_path / "work")
    assert "holds values that are not numbers" in message


def test_a_model_that_ultralytics_ships_is_built_by_name(scratch: YoloConfig) -> None:
    prepared = prepare(scratch.replace({"model": "yolov8n.yaml"}), ("a", "b"))
    assert sum(p.numel() for p in prepared.network.parameters()) > 2_500_000
    assert prepared.network.model[-1].nc == 2


def fill_disk(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Let the system say so at the n-th file that is put on the disk."""
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def test_a_full_disk_is_said_in_one_sentence(
    scratch: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, 3)
    with pytest.raises(TrainingError, match="the disk is full; make room and resume"):
        fit(scratch, tmp_path)
    files = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(name.startswith(".") for name in files)
    assert "epoch-001.safetensors" not in files
    monkeypatch.undo()
    resumed = fit(scratch, tmp_path)
    assert [e.checkpoint.epoch for e in resumed.saved()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("at", "saved"),
    [(9, [3]), (10, []), (12, [])],
    ids=["the last checkpoint", "its evaluation", "the mark of the end"],
)
def test_a_disk_that_is_full_at_the_very_end_costs_no_epoch_more(
    scratch: YoloConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, saved: list[int]
) -> None:
    """Three files per epoch, two of the evaluation, and the mark that the run is finished."""
    whole = fit(scratch, tmp_path / "whole")
    fill_disk(monkeypatch, at)
    with pytest.raises(TrainingError, match="the disk is full; make room and resume"):
        fit(scratch, tmp_path / "work")
    monkeypatch.undo()
    resumed = fit(scratch, tmp_path / "work")
    assert resumed.epochs() == []
    assert [e.checkpoint.epoch for e in resumed.saved()] == saved
    assert resumed.outcome == whole.outcome
    assert resumed.evaluated().report.metrics == whole.evaluated().report.metrics
    assert resumed.freezing("verified") == whole.freezing("verified")
    with pytest.raises(TrainingError, match="this run is finished after 3 epochs"):
        fit(scratch, tmp_path / "work")


def test_every_default_and_every_upper_bound_is_one_that_ultralytics_accepts(
    scratch: YoloConfig, tmp_path: Path
) -> None:
    plain = {"model": scratch.model, "data": str(scratch.data), "epochs": 1, "imgsz": 64}
    defaults = YoloConfig.model_validate({**plain, "device": "cpu"})
    assert fit(defaults, tmp_path / "defaults").outcome.status == "finished"
    bounds = {
        f"augment.{name}": 1.0
        for name in ("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "fliplr", "flipud", "mixup")
    }
    rates = {f"optimizer.{name}": 1.0 for name in ("lr0", "lrf", "weight_decay", "warmup_bias_lr")}
    extreme = scratch.replace({**bounds, **rates, "augment.mosaic": 1.0, "epochs": 1})
    assert fit(extreme, tmp_path / "extreme").outcome.status == "finished"
