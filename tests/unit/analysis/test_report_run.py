"""The report of one training, and its page."""

import re
from pathlib import Path

import pytest

from backend.analysis.report import curves, page, run
from backend.analysis.report.blocks import Document, Photo, cell, code
from backend.analysis.report.course import course_of
from backend.analysis.report.results import best_epoch
from backend.analysis.report.run import Training
from backend.core.events import (
    Envelope,
    Evaluated,
    FreezeGroup,
    FreezeReported,
    MetricsLogged,
    Noted,
)
from backend.core.records import Checkpoint, DatasetInput, Finding
from tests.support import courses
from tests.support.comparisons import report
from tests.support.courses import BRIEF, training

HOSTILE = "<script>alert(1)</script> | `x` *y* [a](http://evil) ![b](http://evil/p.png) $z$"


def frozen(*violations: str) -> FreezeReported:
    groups = (
        FreezeGroup(name="backbone", trainable=0, frozen=90),
        FreezeGroup(name="head", trainable=10, frozen=0, lr=0.001),
    )
    return FreezeReported(
        phase="verified", strategy="head-only", groups=groups, frozen_tensors=3,
        violations=violations,
    )  # fmt: skip


def speed(events: list[Envelope], **tags: str) -> str:
    """What the report says of the speed of a run with these events."""
    made = run.document(Training(courses.run(tags=tags), course_of(events))).markdown()
    return made.partition("## Speed and memory")[2]


def test_what_was_thawed_by_plan_is_proved_up_to_then() -> None:
    *told, last = (envelope.event for envelope in training(BRIEF, "val/average_mAP", 100))
    proof = frozen().model_copy(update={"until": 10})
    course = course_of(courses.envelopes([*told, proof, last], 720.0))
    made = run.document(Training(courses.run(), course)).markdown()
    proved = "After epoch 10, when they were thawed, all 3 frozen tensors were equal to the bit."
    assert proved in made


def test_epochs_that_were_imported_with_one_time_have_no_speed() -> None:
    """A table has no times but its file's; a later one brings the rest, three days apart."""
    events = training(BRIEF, "val/average_mAP", 100)
    bare = [e.model_copy(update={"time": 1e9 if e.seq < 6 else 1e9 + 3 * 86400}) for e in events]

    assert "72.0 h" in speed(bare)
    assert speed(bare, imported="csv") == ""
    assert "60.0 s" in speed(events, imported="tensorboard")


def whole(*violations: str) -> Training:
    """A run with something in every section."""
    events = [envelope.event for envelope in training(BRIEF, "val/average_mAP", 100)]
    data = DatasetInput(
        name="thumos|14", path="/d/t.json", split="train", digest="a" * 64, images=200,
        instances=3007,
    )  # fmt: skip
    first = courses.started("val/average_mAP", 100).model_copy(update={"data": (data,)})
    machine = MetricsLogged(
        step=600, epoch=59, metrics={"sys/gpu_memory": 12.2, "lr/head": 1e-4, "best/val/x": 1.0}
    )
    scores = report(split="val", per_class={"a|b": {"AP": 0.5}, HOSTILE: {"AP": None}})
    found: list[Envelope] = courses.envelopes(
        [first, *events[1:-1], machine, frozen(*violations), Evaluated(report=scores),
         Noted(level="warning", message=f"3 images skipped {HOSTILE}"), events[-1]],
        720.0,
    )  # fmt: skip
    mine = courses.run(
        params={"epochs": "100", "optimizer.lr": "0.0001", "batch": "8", "decay": ""},
        best_epoch=59, tags={"git_sha": "abc123"},
    )  # fmt: skip
    return Training(
        run=mine,
        course=course_of(found),
        findings=(Finding(rule="r", severity="error", message="it broke", action="mend it"),),
        checkpoints=(Checkpoint(path="/w/epoch-59.pth", sha256="f" * 64, step=590, epoch=59),),
        other=courses.run("run-0", "32 GB", params={"epochs": "100", "batch": "4"}),
        because="as asked",
    )


@pytest.mark.parametrize(
    "line",
    [
        "# Training report: made",
        "- Error: it broke.",
        "- Mend it.",
        "| train | thumos\\|14 | `/d/t.json` | `aaaaaaaaaaaa` | 200 | 3,007 |",
        "Strategy **head-only**: 10 of 100 parameters train (10.0 %). After training all 3 frozen "
        "tensors were equal to the bit.",
        "| head | 10 | 0 | 0 | 0.001 |",
        "### Optimisation",
        "| `lr` | 0.0001 |",
        "| epochs with values | 48 to 59 |",
        "| before that | epochs 1 to 47 are not in this record |",
        "| validated at epochs | 49 to 59, every 2 |",
        "| 57 | 0.6860 | +0.0002 | 0.7112 | 0.6200 | – |",
        "| **59** (best) | 0.6864 | +0.0004 | 0.7128 | 0.6195 | 12.2000 |",
        "| 48 | 0.5085 |",
        "| time per epoch, validation included (median) | 12.0 min |",
        "| `sys/gpu_memory`, lowest to highest | 12.2 to 12.2 |",
        "| 59 (best) | `epoch-59.pth` | `ffffffffffff` |  | – |",
        "| backbone | 0 | 90 | 0 | 0 (frozen) |",
        "| a\\|b | 0.5000 |",
        "| `batch` | 4 | 8 |",
        "| `decay` | not set | none |",
        "| commit | `abc123` |",
        "| error | it broke |  | mend it |",
    ],
)
def test_every_table_is_there(line: str) -> None:
    assert line in run.document(whole()).markdown().splitlines()


def test_sections_come_in_order() -> None:
    said = run.document(whole()).markdown()
    assert [line[3:] for line in said.splitlines() if line.startswith("## ")] == [
        "Conclusions", "Next steps", "Data", "Model and freezing", "Configuration",
        "Course of the training", "Results per epoch", "Epoch 59 against epoch 57",
        "Losses per epoch", "Speed and memory", "Checkpoints", "Final evaluation",
        "Old and new configuration", "Findings", "Environment",
    ]  # fmt: skip


def test_what_is_not_known_is_left_out() -> None:
    bare = Training(run=courses.run(), course=course_of(training({}, "val/mAP", 3)))
    said = run.document(bare).markdown()
    assert "Speed" not in said
    assert "memory" not in said
    assert "Old and new" not in said
    assert "epochs with values | none" in said


def test_a_broken_freeze_is_said() -> None:
    said = run.document(whole("model.0.bn")).markdown()
    assert "After training 1 of 3 frozen tensors **had changed**, among them `model.0.bn`." in said
    assert "equal to the bit" not in said


def test_a_long_training_keeps_its_best_epoch() -> None:
    curve = {epoch: 0.5 - abs(epoch - 123) / 1000 for epoch in range(1, 301)}
    long = Training(run=courses.run(),
                    course=course_of(training({"val/mAP": curve}, "val/mAP", 300)))  # fmt: skip
    said = run.document(long).markdown()
    assert "| **123** (best) | 0.5000 | +0.0010 |" in said
    assert "| 300 |" in said
    assert said.count("\n") < 150


def test_names_from_elsewhere_stay_text() -> None:
    found = whole()
    named = found.__class__(**{**vars(found), "run": courses.run(name=HOSTILE)})
    pictures = curves.of_run(named.course, best_epoch(named.course))
    shown = page.page(run.document(named, pictures))

    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; |" in shown
    assert not re.search(r"<(a|img|link|iframe|object|style src)\b", shown)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(?!#)[a-z]""", shown.replace("src-", ""))
    assert "![b](http://evil/p.png)" in shown
    rows = [row for row in re.findall(r"<tr>.*?</tr>", shown, re.S) if "alert(1)" in row]
    assert rows
    assert {row.count("<td") for row in rows} <= {2, 4}


def test_the_page_holds_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 any bytes")
    found = whole()
    pictures = curves.of_run(found.course, best_epoch(found.course))
    shown = page.page(Document("t", ("# t", *pictures, Photo('a "b"', tmp_path / "a.jpg"))))

    assert shown.count("<svg ") == 1
    assert "currentColor" in shown
    assert "<metadata" not in shown
    assert "<?xml" not in shown
    for title in ("val/average_mAP", "other metrics", "learning rate", "train/loss"):
        assert f">{title}<" in shown
    assert "the best epoch, 59." in shown
    assert 'src="data:image/jpeg;base64,/9gg' in shown
    assert "a &quot;b&quot;" in shown
    ids = re.findall(r'\bid="([^"]+)"', shown)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", shown)) <= set(ids)
    assert set(re.findall(r'href="#([^"]+)"', shown)) <= set(ids)


def test_the_same_run_gives_the_same_bytes() -> None:
    found = whole()
    first, second = (curves.of_run(found.course, 59)[0].svg for _ in range(2))
    assert first == second


def test_there_may_be_nothing_to_draw() -> None:
    assert curves.of_run(course_of(training({}, "val/mAP", 3)), None) == []


def test_markup_in_names() -> None:
    assert cell("a|b\n*c* snake_case _d_") == "a\\|b \\*c\\* snake_case \\_d\\_"
    assert code("a`b|c") == "`a'b\\|c`"
    assert code("") == ""
