"""What the language gate of a checkpoint does to its answers, prompt by prompt."""

import re
from collections.abc import Iterator

from backend.core.records import Record

_KEY = re.compile(r"[A-Za-z0-9_.\-]+")


class Selection(Record):
    """How well answers fit what was asked for; None where that is undefined.

    ``selected_ap`` is the mean AP of the classes asked for. It is ranked class by class, so
    silence on other classes cannot raise it. ``task_ap`` is of a detector without classes: what
    was asked for is to be found, and every detection counts. ``leak`` is the share of detections
    over 0.3 that were not asked for. ``off_class_ap`` is the mean AP of the other classes, of
    detections from 0.01 on: AP goes by rank, and without a floor it would not fall.
    """

    selected_ap: float | None
    task_ap: float | None
    off_class_ap: float | None
    leak: float | None


class PromptReport(Record):
    """One prompt. ``understood`` are the classes that the gate takes it to ask for.

    ``gated`` is with the prompt, ``plain`` the same model without any. ``skipped`` are the
    experts that are not used. ``gflops`` is of one image. ``few_gated`` and ``few_plain`` are the
    selected AP with only ``few_queries`` (see the report) in each image.
    """

    name: str
    prompt: str
    asked: tuple[str, ...]
    understood: tuple[str, ...]
    objects: int
    gated: Selection
    plain: Selection
    skipped: tuple[str, ...] = ()
    gflops: float | None = None
    few_gated: float | None = None
    few_plain: float | None = None


class LanguageReport(Record):
    """Stage 2 of one checkpoint on one split.

    ``prompt_accuracy`` is the share of ``held_out`` prompts, in templates that were not trained
    on, for which exactly the right classes come out. ``map`` is mAP50-95 without a prompt,
    ``stage1_map`` that of the checkpoint that stage 2 started from, where it is known.
    """

    split: str
    images: int
    prompts: tuple[PromptReport, ...]
    few_queries: int
    prompt_accuracy: float
    held_out: int
    map: float | None
    stage1_map: float | None = None
    gflops: float | None = None
    notes: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Its numbers under ``language/...``; what is undefined is left out."""
        return {f"language/{name}": value for name, value in self._values() if value is not None}

    def _values(self) -> Iterator[tuple[str, float | None]]:
        yield "prompt_accuracy", self.prompt_accuracy
        yield "no_prompt_mAP", self.map
        if self.map is not None and self.stage1_map is not None:
            yield "no_prompt_mAP_drop", self.stage1_map - self.map
        for number, one in enumerate(self.prompts):
            plain = one.name.replace(" ", "_")
            name = plain if _KEY.fullmatch(plain) else f"prompt{number}"
            for key, value in one.gated.model_dump().items():
                yield f"{key}/{name}", value
            yield f"task_ap_plain/{name}", one.plain.task_ap
            yield f"leak_plain/{name}", one.plain.leak
            yield f"few_queries_ap/{name}", one.few_gated
            yield f"few_queries_ap_plain/{name}", one.few_plain
            yield f"skipped_experts/{name}", float(len(one.skipped))
            if self.gflops and one.gflops is not None:
                yield f"flops_saved/{name}", 1 - one.gflops / self.gflops
