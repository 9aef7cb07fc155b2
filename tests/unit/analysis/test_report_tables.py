"""The tables of a training's report that its trainer, its epochs and its checkpoints fill."""

from collections.abc import Sequence

import pytest

from backend.analysis.report import described, machine, outlook, pair, progress, run, settings
from backend.analysis.report.blocks import Block
from backend.analysis.report.conclusions import conclude
from backend.analysis.report.course import Course, course_of
from backend.analysis.report.machine import InUse
from backend.analysis.report.run import Training
from backend.core.comparisons import Comparison, Contender
from backend.core.description import Described
from backend.core.errors import ComparisonError
from backend.core.events import DataSurveyed, GpuSample, HardwareSampled
from backend.core.evidence import DataSurvey, InputCensus
from backend.core.records import Checkpoint
from tests.support import courses
from tests.support.comparisons import comparison, data, delta
from tests.support.courses import BRIEF
from tests.support.detections import contender

GIB = 2**30
HEAD = "val/average_mAP"


def brief(resumed_from: int | None = None) -> Course:
    _, *rest = (envelope.event for envelope in courses.training(BRIEF, HEAD, 100))
    return course_of(courses.envelopes([courses.started(HEAD, 100, resumed_from), *rest], 720.0))


def lines(blocks: Sequence[Block]) -> list[str]:
    return [line for block in blocks for line in str(block).splitlines()]


def kept(*epochs: int) -> list[Checkpoint]:
    return [Checkpoint(path=f"/w/{e}.pth", sha256="f" * 64, step=e, epoch=e) for e in epochs]


def within(old: int, new: int, of: str = "run-1") -> Comparison:
    def side(epoch: int) -> Contender:
        found = contender(f"made@{epoch}")
        checkpoint = found.checkpoint.model_copy(update={"run": of, "epoch": epoch})
        return found.model_copy(update={"checkpoint": checkpoint})

    return comparison(data(delta()), baseline=side(old), candidate=side(new))


def test_what_a_trainer_describes_stands_in_its_section() -> None:
    tables = (
        Described("data", "Windows", (("window", "768 | 2", "768"),), ("", "training", "test")),
        Described("model", "Backbone", (("layers", "12"), ("nothing", ""))),
    )
    said = run.document(Training(courses.run(), brief(), described=tables)).markdown()
    found = said.splitlines()
    at = [found.index(line) for line in (
        "## Data", "### Windows", "|  | training | test |", "| window | 768 \\| 2 | 768 |",
        "## Model and freezing", "### Backbone", "| layers | 12 |", "## Course of the training",
    )]  # fmt: skip
    assert at == sorted(at)
    assert "| nothing |" not in said
    assert "## Optimisation" not in said, "nobody told of it"
    assert described.of(tables, "optimisation") == []


def test_input_files_are_told_as_they_were_found() -> None:
    videos = InputCensus(
        split="training", what="videos", expected=213, found=212, searched="/d/videos",
        formats={".mp4": 200, ".mkv": 12},
    )  # fmt: skip
    survey = DataSurveyed(survey=DataSurvey(inputs=(videos,)))
    events = [e.event for e in courses.training(BRIEF, HEAD, 100)]
    course = course_of(courses.envelopes([events[0], survey, *events[1:]]))
    row = "| training | videos | 212 of 213 | 200 .mp4, 12 .mkv | `/d/videos` |"
    assert row in run.document(Training(courses.run(), course)).markdown().splitlines()


def test_the_last_two_validations_without_an_interval() -> None:
    said = lines(pair.blocks(courses.run(), brief(), [], [], None))
    assert said[0] == "## Epoch 59 against epoch 57"
    assert "no difference here has an interval" in said[1]
    assert "their checkpoints are not kept here" in said[1]
    assert "| val/average_mAP | 0.6860 | 0.6864 | +0.0004 | 0.0005 |  |" in said
    assert "| val/mAP_0.6 | 0.6200 | 0.6195 | −0.0005 | – | against the headline |" in said


def test_checkpoints_that_are_kept_come_before_those_that_were_validated() -> None:
    said = lines(pair.blocks(courses.run(), brief(), kept(51, 55), [], None))
    assert said[0] == "## Epoch 55 against epoch 51"
    assert said[1].endswith("Intervals: `assay compare run-1@51 run-1@55`.")
    assert lines(pair.blocks(courses.run(), brief(), kept(48, 59), [], None))[0].endswith("57")


def test_a_comparison_of_both_brings_its_intervals() -> None:
    found = [within(55, 59), within(51, 53, of="another"), comparison()]
    said = lines(pair.blocks(courses.run(), brief(), kept(57, 59), found, None))
    assert said[0] == "## Epoch 59 against epoch 55"
    assert "'made@59' is better than 'made@55' in mAP50-95" in said[1]
    assert any("+0.030 to +0.070" in line for line in said)
    asked = lines(pair.blocks(courses.run(), brief(), [], found, (57, 59)))
    assert asked[0] == "## Epoch 59 against epoch 57"
    assert "no difference here has an interval" in asked[1]


def test_any_two_epochs_may_be_asked_for() -> None:
    said = lines(pair.blocks(courses.run(), brief(), [], [], (49, 53)))
    assert "| val/average_mAP | 0.6848 | 0.6856 | +0.0008 | – |  |" in said
    with pytest.raises(ComparisonError, match="no metric was measured at both"):
        pair.blocks(courses.run(), brief(), [], [], (48, 49))


def test_one_validation_is_no_pair() -> None:
    once = course_of(courses.training({HEAD: {3: 0.5}}, HEAD, 3))
    assert pair.blocks(courses.run(), once, kept(3), [], None) == []


def test_what_was_compared_is_not_asked_for_again() -> None:
    def step(*compared: tuple[int, int]) -> str:
        return next(r.step for r in conclude(brief(), compared) if r.rule == "same")

    assert "assay compare" in step()
    assert "assay compare" in step((49, 51))
    assert step((57, 59)) == step((59, 57)) == ""


def test_the_course_is_counted() -> None:
    said = lines(progress.blocks(courses.run(), brief(), imported=True))
    for row in (
        "| epochs planned | 100 |",
        "| epochs with values | 48 to 59 |",
        "| how many these are | 12 |",
        "| before that | epochs 1 to 47 are not in this record |",
        "| validated at epochs | 49 to 59, every 2 |",
        "| first and last validation | val/average_mAP 0.6848 (epoch 49), 0.6864 (epoch 59) |",
    ):
        assert row in said


def test_a_run_that_goes_on_from_another_names_it() -> None:
    from_another = courses.run(tags={"resumed_from": "run-0@47"})
    said = lines(progress.blocks(from_another, brief(resumed_from=47), imported=False))
    assert "| resumed from epoch | 47 |" in said
    assert "| epochs before are of run | `run-0` |" in said
    assert not any("not in this record" in line for line in said)


def test_a_record_that_begins_late_is_no_whole_training() -> None:
    (remark,) = outlook.about_record(brief(), imported=True)
    assert remark.said == (
        "The record holds epochs 48 to 59, 12 in all; of epochs 1 to 47 nothing is known, nor of "
        "the weights that epoch 48 began with. val/average_mAP was first measured at epoch 49: "
        "0.6848."
    )
    assert outlook.about_record(brief(resumed_from=47), imported=False) == []
    whole = course_of(courses.training({HEAD: {1: 0.5, 2: 0.6}}, HEAD, 2))
    assert outlook.about_record(whole, imported=True) == []


def looked(*gpus: tuple[int, int]) -> HardwareSampled:
    seen = (
        GpuSample(index=at, memory=used * GIB, total=total * GIB)
        for at, (used, total) in enumerate(gpus)
    )
    return HardwareSampled(step=1, samples=1, seconds=0.0, gpus=tuple(seen))


TOLD = {"训练时GPU显存": "~12.2 GB / 32 GB (38%)"}


@pytest.mark.parametrize(
    ("samples", "told", "expected"),
    [
        ([looked((10, 80)), looked((12, 80))], {}, InUse(12, 80, "GiB")),
        ([looked((10, 80), (50, 80))], {}, InUse(50, 80, "GiB")),
        ([looked((10, 80))], TOLD, InUse(10, 80, "GiB")),
        ([], TOLD, InUse(12.2, 32, "GB")),
        ([], {"GPU memory": "30GiB/32GiB"}, InUse(30, 32, "GB")),
        ([], {"disk": "12.2 GB / 32 GB"}, None),
        ([], {"GPU memory": "12.2 GB / 0 GB"}, None),
        ([HardwareSampled(step=1, samples=1, seconds=0.0)], {}, None),
    ],
)
def test_the_memory_that_was_in_use(
    samples: list[HardwareSampled], told: dict[str, str], expected: InUse | None
) -> None:
    assert machine.memory_in_use(samples, told) == expected


def test_memory_that_was_left_over_is_a_conclusion() -> None:
    (remark,) = outlook.about_room(InUse(12.2, 32, "GB"))
    assert "at most 12.2 of 32.0 GB (38 %) were in use" in remark.said
    assert "a larger card was not needed" in remark.said
    assert outlook.about_room(InUse(17, 32, "GB")) == []
    assert outlook.about_room(None) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (list(BRIEF["train/loss"].values()), "from epoch 6 on it stays between 0.3742 and 0.3823"),
        ([1.0 - 0.05 * epoch for epoch in range(12)], ""),
        ([0.9, 0.5, 0.4], ""),
        ([1.0, 0.5, *(0.5 + 0.02 * epoch for epoch in range(10))], ""),
        ([0.5] * 12, "from epoch 2 on it stays between 0.5000 and 0.5000"),
    ],
)
def test_where_a_loss_ends_flat(values: list[float], said: str) -> None:
    curve = {"train/loss": dict(enumerate(values, start=1))}
    (remark,) = conclude(course_of(courses.training(curve, "val/mAP", 20)))
    assert ("stays between" in remark.said) == bool(said)
    assert said in remark.said


def test_sections_of_the_same_settings_share_a_table() -> None:
    params = {
        "before.batch": "4", "before.workers": "6", "after.workers": "12", "after.batch": "8",
        "alone.batch": "1",
    }  # fmt: skip
    said = lines(settings.of(params))
    assert "### after, before" in said
    assert "| `batch` | 8 | 4 |" in said
    assert "| `workers` | 12 | 6 |" in said
    assert "### alone" in said


def test_gradients_are_no_results() -> None:
    curves = {HEAD: {1: 0.5, 2: 0.6}, "gradient/head/norm": {1: 0.1}, "update/head": {1: 0.1}}
    said = run.document(Training(courses.run(), course_of(courses.training(curves, HEAD, 2))))
    assert "gradient" not in said.markdown()
    assert "update/" not in said.markdown()


def test_checkpoints_have_their_size() -> None:
    made = Training(
        courses.run(), brief(), checkpoints=tuple(kept(57, 59)), sizes={"/w/59.pth": 595_000_000}
    )
    said = run.document(made).markdown().splitlines()
    assert "| 59 | `59.pth` | `ffffffffffff` | 595.0 MB | – |" in said
    assert "| 57 | `57.pth` | `ffffffffffff` |  | – |" in said
