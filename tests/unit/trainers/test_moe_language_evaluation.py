import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backend.core.events import METRIC_KEY
from backend.trainers.moe_rtdetr.language.evaluation import (
    Accuracy,
    Question,
    Understanding,
    evaluate_language,
)
from backend.trainers.moe_rtdetr.language.report import LanguageReport, Selection

Result = dict[str, Any]

CLASSES = ("car", "person", "bus")
CARS, PEOPLE = (10.0, 10.0, 20.0, 20.0), (60.0, 60.0, 10.0, 30.0)


def truth(images: int = 4) -> dict[str, Any]:
    """A car and a person in each image, no bus."""
    boxes = [(image, label, box) for image in range(1, images + 1)
             for label, box in ((1, CARS), (2, PEOPLE))]  # fmt: skip
    return {
        "images": [{"id": n, "width": 100, "height": 100} for n in range(1, images + 1)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, 1)],
        "annotations": [
            {"id": n, "image_id": image, "category_id": label, "bbox": list(box),
             "area": box[2] * box[3], "iscrowd": 0}
            for n, (image, label, box) in enumerate(boxes, 1)
        ],
    }  # fmt: skip


def found(label: int, box: Sequence[float], score: float, images: int = 4) -> list[Result]:
    return [
        {"image_id": n, "category_id": label, "bbox": list(box), "score": score}
        for n in range(1, images + 1)
    ]


class Obedient:
    """Finds everything, cars first; with a prompt only what ``asked`` says, and with few queries
    without one, no people."""

    def __init__(self, asked: Mapping[str, tuple[str, ...]], whisper: float = 0.005) -> None:
        self.asked = asked
        self.whisper = whisper
        self.passes: list[tuple[str | None, int | None]] = []

    def predict(self, prompt: str | None, queries: int | None) -> list[Result]:
        self.passes.append((prompt, queries))
        wanted = CLASSES if prompt is None else self.asked[prompt]
        cars = found(1, CARS, 0.9 if "car" in wanted else self.whisper)
        people = found(2, PEOPLE, 0.8 if "person" in wanted else self.whisper)
        return cars if queries and prompt is None else cars + people

    def understand(self, prompt: str | None) -> Understanding:
        if prompt is None:
            return Understanding(CLASSES, (), 4.0)
        asked = self.asked[prompt]
        return Understanding(asked, tuple(name for name in CLASSES if name not in asked), 3.0)


def values(one: Selection) -> tuple[float | None, ...]:
    return one.selected_ap, one.task_ap, one.off_class_ap, one.leak


QUESTIONS = (
    Question("person", "find the people", ("person",)),
    Question("two things", "people and cars", ("car", "person")),
)
ASKED = {question.prompt: question.asked for question in QUESTIONS}


@pytest.fixture(scope="module")
def report() -> LanguageReport:
    model = Obedient(ASKED)
    found = evaluate_language(model, truth(), QUESTIONS, Accuracy(0.9, 50), "val", stage1_map=0.75)
    assert len(model.passes) == 2 + 2 * len(QUESTIONS)
    return found


def test_a_prompt_that_is_obeyed(report: LanguageReport) -> None:
    person = report.prompts[0]
    assert person.asked == person.understood == ("person",)
    assert person.objects == 4
    assert person.skipped == ("car", "bus")
    assert values(person.gated) == pytest.approx((1.0, 1.0, 0.0, 0.0))


def test_without_it_the_other_detections_count_against_the_task(report: LanguageReport) -> None:
    # Four surer cars come first: precision is 1/5 .. 4/8, so 0.5 at every recall.
    assert values(report.prompts[0].plain) == pytest.approx((1.0, 0.5, 1.0, 0.5))


def test_the_budget_of_queries_is_spent_on_what_was_asked_for(report: LanguageReport) -> None:
    person, both = report.prompts
    assert (person.few_plain, person.few_gated) == (0.0, pytest.approx(1.0))
    assert (both.few_plain, both.few_gated) == (pytest.approx(0.5), pytest.approx(1.0))


def test_the_whole_report(report: LanguageReport) -> None:
    assert (report.images, report.held_out, report.notes) == (4, 50, ())
    assert report.map == pytest.approx(1.0)
    metrics = report.metrics()
    assert all(METRIC_KEY.fullmatch(key) for key in metrics)
    expected = {
        "language/prompt_accuracy": 0.9,
        "language/no_prompt_mAP": 1.0,
        "language/no_prompt_mAP_drop": -0.25,
        "language/selected_ap/person": 1.0,
        "language/task_ap_plain/person": 0.5,
        "language/leak/two_things": 0.0,
        "language/skipped_experts/person": 2.0,
        "language/flops_saved/person": 0.25,
        "language/few_queries_ap_plain/person": 0.0,
    }
    assert {key: metrics[key] for key in expected} == pytest.approx(expected)
    assert LanguageReport.model_validate_json(report.model_dump_json()) == report


def test_a_gate_that_misunderstands_is_named() -> None:
    deaf = Obedient(dict.fromkeys(ASKED, CLASSES))
    found = evaluate_language(deaf, truth(), QUESTIONS[:1], Accuracy(0.0, 1))
    assert found.notes == ("The gate misunderstands: person.",)
    assert found.prompts[0].gated == found.prompts[0].plain
    assert found.prompts[0].gated.leak == 0.5
    assert "language/no_prompt_mAP_drop" not in found.metrics()


def test_whispers_count_for_ap_only_without_the_floor() -> None:
    loud = Obedient(ASKED, whisper=0.02)
    found = evaluate_language(loud, truth(), QUESTIONS[:1], Accuracy(1.0, 1)).prompts[0].gated
    assert found.off_class_ap == pytest.approx(1.0)
    assert found.leak == 0.0


def test_what_is_undefined_is_none() -> None:
    silent = Obedient({"find buses": ("bus",)}, whisper=0.2)
    bus = Question("bus", "find buses", ("bus",))
    found = evaluate_language(silent, truth(), [bus], Accuracy(1.0, 1))
    (report,) = found.prompts
    assert report.objects == 0
    assert report.gated.selected_ap is report.gated.task_ap is report.gated.leak is None
    assert "language/leak/bus" not in found.metrics()


def test_crowds_of_what_was_asked_for_are_no_objects() -> None:
    crowded = truth()
    crowded["annotations"][1]["iscrowd"] = 1
    found = evaluate_language(Obedient(ASKED), crowded, QUESTIONS[:1], Accuracy(1.0, 1))
    assert found.prompts[0].objects == 3
    assert found.prompts[0].gated.task_ap == pytest.approx(1.0)


def test_a_class_name_in_other_letters_gets_a_numbered_key(report: LanguageReport) -> None:
    first = report.prompts[0].model_copy(update={"name": "行人"})
    metrics = report.model_copy(update={"prompts": (first, report.prompts[1])}).metrics()
    assert metrics["language/selected_ap/prompt0"] == pytest.approx(1.0)
    assert all(METRIC_KEY.fullmatch(key) for key in metrics)


def test_no_torch_is_needed() -> None:
    code = (
        "import sys, backend.trainers.moe_rtdetr.language.evaluation;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
