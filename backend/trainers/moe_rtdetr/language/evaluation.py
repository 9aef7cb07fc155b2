"""Is what was asked for found, and nothing else? Scored on COCO files, without torch.

Plain AP cannot answer that: it does not rise when other classes fall silent. Task AP, leak and
a budget of few queries can.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from backend.scoring.detection.task import evaluate
from backend.trainers.moe_rtdetr.language.report import LanguageReport, PromptReport, Selection

CocoTruth = Mapping[str, Any]
Results = Sequence[Mapping[str, Any]]

LEAK_FROM = 0.3
FLOOR = 0.01
FEW_QUERIES = 4
_AP = "mAP50-95"


class Question(NamedTuple):
    """A prompt, what to call it, and the names of the classes that it asks for."""

    name: str
    prompt: str
    asked: tuple[str, ...]


class Understanding(NamedTuple):
    """The classes that a gate takes a prompt to ask for, experts not used, cost of an image."""

    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    gflops: float | None = None


class Model(Protocol):
    """A gated detector, on one split."""

    def predict(self, prompt: str | None, queries: int | None) -> Results:
        """COCO results for all images, asked by ``prompt``, with at most so many queries in an
        image; None: no prompt, as many queries as the model has."""

    def understand(self, prompt: str | None) -> Understanding:
        """What the gate makes of a prompt."""


class Accuracy(NamedTuple):
    """Share of prompts that are understood, of how many."""

    share: float
    prompts: int


def evaluate_language(
    model: Model,
    truth: CocoTruth,
    questions: Sequence[Question],
    accuracy: Accuracy,
    split: str = "val",
    stage1_map: float | None = None,
) -> LanguageReport:
    """Ask every question, with all queries and with few, and compare with asking nothing.

    Takes two passes over the split per question, and two. Raises DataError for answers that do
    not fit ``truth``.
    """
    plain = _Answers(truth, model.predict(None, None))
    few = _Answers(truth, model.predict(None, FEW_QUERIES))
    reports = tuple(_report(model, truth, question, plain, few) for question in questions)
    unlike = [r.name for r in reports if set(r.understood) != set(r.asked)]
    notes = [f"The gate misunderstands: {', '.join(unlike)}."] if unlike else []
    return LanguageReport(
        split=split,
        images=len(truth["images"]),
        prompts=reports,
        few_queries=FEW_QUERIES,
        prompt_accuracy=accuracy.share,
        held_out=accuracy.prompts,
        map=evaluate(truth, plain.results).scores().metrics[_AP],
        stage1_map=stage1_map,
        gflops=model.understand(None).gflops,
        notes=tuple(notes),
    )


def _report(
    model: Model, truth: CocoTruth, question: Question, plain: "_Answers", few: "_Answers"
) -> PromptReport:
    understood = model.understand(question.prompt)
    asked = question.asked
    ids = plain.ids(asked)
    few_gated = _Answers(truth, model.predict(question.prompt, FEW_QUERIES))
    return PromptReport(
        name=question.name,
        prompt=question.prompt,
        asked=asked,
        understood=understood.classes,
        objects=sum(one["category_id"] in ids for one in plain.objects),
        gated=_Answers(truth, model.predict(question.prompt, None)).selection(asked),
        plain=plain.selection(asked),
        skipped=understood.skipped,
        gflops=understood.gflops,
        few_gated=few_gated.mean_ap(asked),
        few_plain=few.mean_ap(asked),
    )


class _Answers:
    """Results against ground truth."""

    def __init__(self, truth: CocoTruth, results: Results) -> None:
        self.truth = truth
        self.results = results
        self._number = {one["name"]: one["id"] for one in truth["categories"]}

    @property
    def objects(self) -> list[Mapping[str, Any]]:
        """What there is to find; crowds are no objects."""
        return [one for one in self.truth["annotations"] if not one.get("iscrowd")]

    def ids(self, names: Collection[str]) -> set[int]:
        """Their category ids."""
        return {self._number[name] for name in names}

    def selection(self, asked: Sequence[str]) -> Selection:
        """All that can be said of a question for these classes."""
        others = [name for name in self._number if name not in asked]
        floored = [one for one in self.results if one["score"] >= FLOOR]
        return Selection(
            selected_ap=self.mean_ap(asked),
            task_ap=self.task_ap(asked),
            off_class_ap=_Answers(self.truth, floored).mean_ap(others),
            leak=self.leak(asked),
        )

    def mean_ap(self, names: Sequence[str]) -> float | None:
        """Over those of the classes that have objects."""
        found = [ap for name in names if (ap := self._per_class[name]) is not None]
        return sum(found) / len(found) if found else None

    def task_ap(self, asked: Collection[str]) -> float | None:
        """Without classes: only what was asked for is true, and every detection counts."""
        ids = self.ids(asked)
        wanted = [one for one in self.truth["annotations"] if one["category_id"] in ids]
        truth = {
            "images": self.truth["images"],
            "categories": [{"id": 1, "name": "asked"}],
            "annotations": [{**one, "category_id": 1} for one in wanted],
        }
        results = [{**one, "category_id": 1} for one in self.results]
        return evaluate(truth, results).scores().metrics[_AP]

    def leak(self, asked: Collection[str]) -> float | None:
        """Share of detections over 0.3 of other classes."""
        ids = self.ids(asked)
        sure = [one["category_id"] not in ids for one in self.results if one["score"] > LEAK_FROM]
        return sum(sure) / len(sure) if sure else None

    @cached_property
    def _per_class(self) -> dict[str, float | None]:
        scores = evaluate(self.truth, self.results).scores().per_class
        return {name: scores[name][_AP] for name in self._number}
