"""A gated detector on one split, as ``language.evaluation`` asks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from backend.datasets.detection import DetectionSplit
from backend.datasets.export import to_coco
from backend.trainers.moe_rtdetr.evaluation import Ask, Result, look
from backend.trainers.moe_rtdetr.language.evaluation import Understanding, evaluate_language
from backend.trainers.moe_rtdetr.language.prompts import Prompts
from backend.trainers.moe_rtdetr.language.report import LanguageReport
from backend.trainers.moe_rtdetr.language.understanding import accuracy, questions, understanding
from backend.trainers.moe_rtdetr.learner import Learner
from backend.trainers.moe_rtdetr.model.network import MoeRtDetr


@dataclass(frozen=True)
class Asked:
    """``learner`` has a language gate."""

    learner: Learner
    split: DetectionSplit
    ask: Ask

    def predict(self, prompt: str | None, queries: int | None) -> list[Result]:
        """COCO results, with at most so many queries in an image."""
        with at_most(self.learner.network, queries):
            return look(self.learner, self.split, replace(self.ask, prompt=prompt or ""))

    def understand(self, prompt: str | None) -> Understanding:
        """What the gate makes of a prompt."""
        assert self.learner.language is not None
        network, gate = self.learner.network, self.learner.language
        return understanding(network, gate, self.ask.image_size, prompt)


def language_report(
    learner: Learner,
    split: DetectionSplit,
    ask: Ask,
    prompts: Prompts,
    stage1_map: float | None = None,
) -> LanguageReport:
    """Every class, every group and everything asked for, against asking for nothing."""
    assert learner.language is not None
    understood = accuracy(learner.language, prompts)
    asked = Asked(learner, split, ask)
    return evaluate_language(
        asked, to_coco(split), questions(prompts), understood, split.split, stage1_map
    )


@contextmanager
def at_most(network: MoeRtDetr, queries: int | None) -> Iterator[None]:
    """The network with a smaller budget of queries, for as long as this lasts."""
    before = network.call.queries
    budget = before if queries is None else min(queries, before)
    network.call.queries = network.detector.config.num_queries = budget
    try:
        yield
    finally:
        network.call.queries = network.detector.config.num_queries = before
