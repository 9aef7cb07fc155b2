"""What the report of a training says of its machine, and of what memory made of its settings."""

from collections.abc import Sequence

import pytest

from backend.analysis.report import machine, run
from backend.analysis.report.course import Course, course_of
from backend.analysis.report.run import Training
from backend.core.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    FileSaved,
    GpuSample,
    HardwareSampled,
    Noted,
    Recovered,
    Setting,
)
from backend.core.evidence import TrainingPlan
from backend.core.records import Checkpoint
from tests.support import courses
from tests.support.comparisons import report
from tests.support.courses import BRIEF

GIB = 2**30
ASKED = {"batch": 32, "imgsz": (640, 480), "cache": True}


def course(*more: Event) -> Course:
    """Twelve epochs of twelve minutes each, and what else was told."""
    start, *rest, end = (e.event for e in courses.training(BRIEF, "val/average_mAP", 100))
    plan = TrainingPlan(steps=1000, steps_per_epoch=10, samples_per_epoch=3600)
    begun = start.model_copy(update={"plan": plan})
    return course_of(courses.envelopes([begun, *rest, *more, end], 720.0))


def looked(samples: int, busy: float | None, used: int, cpu: float = 250.0) -> HardwareSampled:
    gpu = GpuSample(index=0, name="H200", utilization=busy, memory=used * GIB, total=139 * GIB)
    return HardwareSampled(
        step=1, samples=samples, seconds=0.0, gpus=(gpu,), cpu=cpu, rss=3 * GIB,
        memory=20 * GIB, total=64 * GIB,
    )  # fmt: skip


def recovered(attempt: int, **effective: object) -> Recovered:
    return Recovered.model_validate({
        "attempt": attempt, "step": None if attempt > 1 else 1234, "phase": "val",
        "kind": "device", "cause": "CUDA | out of memory", "action": "batch 32 -> 16",
        "requested": ASKED, "effective": ASKED | effective,
    })  # fmt: skip


def lines(blocks: Sequence[object]) -> list[str]:
    return [line for block in blocks for line in str(block).splitlines()]


def test_means_count_every_look_and_peaks_the_highest() -> None:
    """A later event stands for more looks."""
    seen = [looked(1, 20.0, 90), looked(3, 80.0, 100), looked(4, None, 30)]
    said = lines(machine.speed_and_memory(course(), seen, imported=False))
    assert "| GPU 0 (H200), mean utilisation | 65 % |" in said
    assert "| GPU 0 (H200), peak memory in use | 100.0 of 139.0 GiB |" in said
    assert "| CPU of the training and its loaders, mean | 250 % of one core |" in said
    assert "| memory of the training and its loaders, peak | 3.0 of 64.0 GiB |" in said
    assert "| memory of the whole host, peak | 20.0 of 64.0 GiB |" in said
    assert "| training samples per second, validation included (median) | 5.0 |" in said
    assert not any("power" in line for line in said), "the card did not tell"
    assert not any("whole host, mean" in line for line in said)


def test_a_resumed_run_may_have_had_another_machine() -> None:
    without = HardwareSampled(step=9, samples=1, seconds=0.0)
    said = lines(machine.speed_and_memory(course(), [looked(1, 0.0, 1), without], imported=False))
    assert "| GPU 0 (H200), mean utilisation | 0 % |" in said


def test_nothing_is_said_of_a_machine_that_nobody_looked_at() -> None:
    bare = course_of(courses.training({}, "val/mAP", 3))
    assert machine.speed_and_memory(bare, (), imported=False) == []
    assert machine.changes(bare, {"batch": "32"}, {}) == []


def test_requested_and_effective_settings_stand_side_by_side() -> None:
    told = course(recovered(1, batch=16), recovered(2, batch=16, cache=False))
    params = {"batch": "32", "imgsz": "[640, 480]", "cache": "True", "epochs": "100"}
    effective: dict[str, Setting] = {"batch": 16, "imgsz": (640, 480), "cache": False}
    said = lines(machine.changes(told, params, effective))
    assert said[0] == "## Settings that the machine changed"
    assert "| `batch` | 32 | 16 |" in said
    assert "| `cache` | True | False |" in said
    assert not any("imgsz" in line for line in said), "it is as requested"
    assert ("| 1 | 1,234 | validation | GPU memory (CUDA \\| out of memory) | batch 32 -> 16 |"
            in said)  # fmt: skip
    assert "| 2 | – | validation | GPU memory (CUDA \\| out of memory) | batch 32 -> 16 |" in said


def test_the_tier_s_choice_is_told_without_a_recovery() -> None:
    said = lines(machine.changes(course(), {"batch": "8"}, {"batch": 64}))
    assert "| `batch` | 8 | 64 |" in said
    assert "### Memory ran out" not in said


@pytest.mark.parametrize("count", [1, 2])
def test_a_recovery_is_a_conclusion(count: int) -> None:
    told = [recovered(1, batch=16), recovered(2, batch=16, imgsz=(320, 240))][:count]
    (remark,) = [r for r in run.remarks_of(Training(courses.run(), course(*told)))
                 if r.rule == "memory"]  # fmt: skip
    settings = "batch 16" if count == 1 else "batch 16, imgsz 320x240"
    times = "1 time" if count == 1 else "2 times"
    said = f"Memory ran out and the run stepped down {times}, in the end to {settings}."
    assert remark.said == said


def test_exported_files_say_how_far_they_answer_alike() -> None:
    facts = {"opset": 18, "difference": 6.1e-5, "average_mAP": 0.61, "checkpoint average_mAP": 0.6}
    saved = FileSaved(path="export/best.onnx", kind="onnx", sha256="ab" * 32, facts=facts)
    bare = FileSaved(path="export/best.pt", kind="ultralytics", sha256="cd" * 32)
    said = run.document(Training(courses.run(), course(bare, saved, saved))).markdown()
    row = "| `export/best.onnx` | onnx | `abababababab` | 6.1e-05 | 0.6100 | 0.6000 |"
    assert said.splitlines().count(row) == 1, "an export that was made again is one file"
    assert "| `export/best.pt` | ultralytics | `cdcdcdcdcdcd` | – | – | – |" in said


def test_what_a_resumed_run_notes_again_is_told_once() -> None:
    note = Noted(level="info", message="copy-paste: 16 made images beside 32 real ones")
    said = run.document(Training(courses.run(), course(note, note))).markdown()
    assert said.count(note.message) == 1


def test_a_file_that_only_tells_of_the_start_is_no_export() -> None:
    told = FileSaved(path="load_report.json", kind="load_report", sha256="ab" * 32)
    said = run.document(Training(courses.run(), course(told))).markdown()
    assert "Exported files" not in said


@pytest.mark.parametrize(("split", "there"), [("val", True), ("holdout", False)])
def test_why_the_final_evaluation_is_another_number(split: str, there: bool) -> None:
    saved = Checkpoint(
        path="checkpoints/e59.pth", sha256="ab" * 32, step=590, epoch=59,
        metrics={"val/average_mAP": 0.6864},
    )  # fmt: skip
    scores = report(split=split).model_copy(
        update={"checkpoint": f"/w/{saved.path}", "metrics": {"average_mAP": 0.67}}
    )
    events = (CheckpointSaved(checkpoint=saved, best=True), Evaluated(report=scores))
    said = run.document(Training(courses.run(), course(*events))).markdown()
    assert ("training gave val/average_mAP 0.6864 for these weights" in said) is there
