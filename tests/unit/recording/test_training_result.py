"""``training_result.json`` of every way in which a run can end."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.core.events import (
    CostsMeasured,
    Envelope,
    Event,
    FileSaved,
    HardwareSampled,
    MetricsLogged,
    Recovered,
    RunFinished,
)
from backend.core.workdir import WorkDir
from backend.hardware.recovery import Memo, write_memo
from backend.recording.files import Files
from backend.recording.summary import Summary, strict
from backend.tracking.home import Home
from backend.trainers.yolo.spec import SPEC as YOLO
from tests.support import scripted_run

BRIEF = [
    *("best_model_path", "last_model_path", "metrics", "training_time_minutes"),
    *("epochs_completed", "tensorboard_url", "config"),
]


@pytest.fixture
def work(tmp_path: Path) -> WorkDir:
    return scripted_run.make_work(Home(tmp_path), "a-run")


def write(work: WorkDir, *events: Event, minute: float = 1.0, **how: Any) -> dict[str, Any]:
    """The file after these events, which are ``minute`` apart."""
    sink = Summary(work, yaml.safe_load(work.config.read_text()), **how)
    for seq, event in enumerate(events):
        sink.receive(Envelope(seq=seq, time=60 * minute * seq, event=event))
    sink.close()
    found: dict[str, Any] = json.loads(work.summary.read_text(), parse_constant=_refuse)
    return found


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_the_keys_of_the_brief_come_first(work: WorkDir) -> None:
    found = write(work, *scripted_run.all_events(work))
    assert list(found)[: len(BRIEF)] == BRIEF
    assert found["best_model_path"] == "checkpoints/epoch-2.safetensors"
    assert found["last_model_path"] == "checkpoints/epoch-3.safetensors"
    assert found["epochs_completed"] == 3
    assert found["tensorboard_url"] is None
    assert found["config"] == scripted_run.CONFIG
    assert (found["status"], found["run"], found["trainer"]) == ("finished", "a-run", "toy")


def test_metrics_are_the_final_evaluation_s(work: WorkDir) -> None:
    found = write(work, *scripted_run.all_events(work))
    assert found["metrics"] == {"mAP50-95": 0.75, "mAP-small": None}
    assert found["metrics_from"].startswith("final evaluation of the best checkpoint on val")
    as_yolo = write(work, *scripted_run.all_events(work), spec=YOLO)
    assert list(as_yolo["metrics"]) == ["mAP50", "mAP50-95", "precision", "recall"]
    assert as_yolo["metrics"]["mAP50-95"] == 0.75
    assert as_yolo["metrics"]["recall"] is None
    assert as_yolo["third_party_licenses"] == dict(YOLO.licenses)


def test_a_run_that_was_not_evaluated_says_what_its_validation_said(work: WorkDir) -> None:
    events = scripted_run.all_events(work)
    cut = next(i for i, e in enumerate(events) if e.type == "FreezeReported" and i > 1)
    found = write(work, *events[:cut], RunFinished(status="stopped", reason="enough"))
    assert found["metrics"] == pytest.approx({"mAP50-95": 0.7, "loss": 0.3})
    assert "validation after epoch 2" in found["metrics_from"]
    assert (found["status"], found["reason"], found["best_epoch"]) == ("stopped", "enough", 2)


def test_a_run_that_never_began_has_one_too(work: WorkDir) -> None:
    found = write(work, RunFinished(status="failed", reason="no such device"))
    assert (found["status"], found["reason"]) == ("failed", "no such device")
    assert found["best_model_path"] is None
    assert found["metrics"] == {}
    assert found["epochs_completed"] == 0


def test_a_refused_run_leaves_nothing(work: WorkDir) -> None:
    sink = Summary(work, {})
    event = RunFinished(status="failed", reason="wrong", refused=True)
    sink.receive(Envelope(seq=0, time=0.0, event=event))
    sink.close()
    assert not work.summary.exists()


def test_a_stream_without_an_end_is_an_interrupted_run(work: WorkDir) -> None:
    found = write(work, *scripted_run.all_events(work)[:-1])
    assert found["status"] == "failed"
    assert "interrupted" in found["reason"]


def test_while_a_run_goes_on_there_is_none(work: WorkDir) -> None:
    sink = Summary(work, {})
    stopped = RunFinished(status="stopped")
    for seq, event in enumerate([scripted_run.started(), stopped, scripted_run.started(1)]):
        sink.receive(Envelope(seq=seq, time=float(seq), event=event))
        assert work.summary.exists() == (event is stopped)


def test_only_training_counts_as_time(work: WorkDir) -> None:
    """Two minutes, a pause of one, one minute, and a last word long after the end."""
    first: list[Event] = [
        scripted_run.started(),
        scripted_run.frozen("declared"),
        RunFinished(status="stopped"),
    ]
    again: list[Event] = [scripted_run.started(1), scripted_run.frozen("declared")]
    late = RunFinished(status="failed", interrupted=True)
    assert write(work, *first, *again, late)["training_time_minutes"] == 3.0


def test_a_look_at_the_machine_while_nothing_trains_is_no_training_time(work: WorkDir) -> None:
    """Who continues a run looks at the machine from its first moment on."""
    stopped = RunFinished(status="stopped")
    look = HardwareSampled(step=0, samples=1, seconds=0.0)
    files = Files(work)
    for minute, event in enumerate([scripted_run.started(), stopped, look]):
        files.receive(Envelope(seq=0, time=60.0 * minute, event=event))
    again: list[Event] = [scripted_run.started(1), look, stopped]
    for minute, event in enumerate(again, 3600):
        files.receive(Envelope(seq=0, time=60.0 * minute, event=event))
    files.close()
    assert json.loads(work.summary.read_text())["training_time_minutes"] == 3.0


def test_recoveries_stand_beside_what_was_asked_for(work: WorkDir) -> None:
    config = {"kind": "yolo", "batch": 16, "imgsz": 640, "cache": True, "workers": 2, "model": "m"}
    work.config.write_text(yaml.safe_dump(config))
    asked = {"batch": 16, "imgsz": 640, "cache": True, "workers": 2, "model": "m"}
    told = Recovered(
        attempt=1, step=7, phase="train", kind="device", cause="CUDA out of memory",
        action="batch 16 -> 8", requested=asked, effective=asked | {"batch": 8},
    )  # fmt: skip
    write_memo(work.path, Memo(recovered=(told,)))
    events: list[Event] = [
        scripted_run.started(),
        scripted_run.started(),
        told,
        RunFinished(status="finished"),
    ]
    found = write(work, *events, spec=YOLO)
    assert found["settings"]["batch"] == {"requested": 16, "effective": 8}
    assert found["settings"]["imgsz"] == {"requested": 640, "effective": 640}
    (event,) = found["oom_events"]
    assert (event["time"], event["attempt"], event["effective"]["batch"]) == (120.0, 1, 8)


def test_rates_freezing_files_and_checkpoints(work: WorkDir) -> None:
    saved = FileSaved(path="best.onnx", kind="onnx", sha256="ab", facts={"opset": 18})
    rates = MetricsLogged(step=1, epoch=1, metrics={"lr/head": 0.05, "lr/neck": 0.01})
    *events, end = scripted_run.all_events(work)
    took = CostsMeasured(step=9, seconds={1: 3.0, 2: 2.5}, memory=2**30, memory_of="device")
    found = write(work, *events, rates, saved, took, end)
    declared = found["freeze_report"]["declared"]["groups"]
    assert found["costs"] == {
        "trainable": sum(group["trainable"] for group in declared),
        **{"seconds": 2.75, "memory": 2**30, "memory_of": "device"},
    }
    assert found["lr_groups"] == {
        "head": {"lr": 0.1, "last": 0.05},
        "neck": {"lr": None, "last": 0.01},
    }
    assert found["freeze_report"].keys() == {"declared", "verified"}
    assert found["files"][-1]["facts"] == {"opset": 18}
    assert [kept["epoch"] for kept in found["checkpoints"]] == [2, 3]
    assert all(not Path(file["path"]).is_absolute() for file in found["files"])


def test_what_is_no_number_becomes_null() -> None:
    odd = {"a": (float("nan"), [float("inf"), 1.5]), "b": {"c": True, "d": "NaN"}}
    assert strict(odd) == {"a": [None, [None, 1.5]], "b": {"c": True, "d": "NaN"}}
