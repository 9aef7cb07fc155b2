"""What is measured at each validation, and told of the experts."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from backend.core.events import Event, ExpertsObserved
from backend.core.experts import ExpertReport
from backend.datasets.detection import DetectionSplit
from backend.runner.training import Point, Validated
from backend.scoring.evidence import Scores
from backend.trainers.moe_rtdetr.evaluation import Ask, look, scores_of
from backend.trainers.moe_rtdetr.evidence import predicted
from backend.trainers.moe_rtdetr.learner import Learner
from backend.trainers.moe_rtdetr.model.build import build_network, same_cost
from backend.trainers.moe_rtdetr.model.cost import gflops, parameters
from backend.trainers.moe_rtdetr.observer import Observer
from backend.trainers.moe_rtdetr.spec import MoeRtDetrConfig


@dataclass(frozen=True)
class Cost:
    """Of one image, in GFLOP and millions of parameters; ``dense`` is the dense model that
    costs the same."""

    gflops: float
    parameters: float
    dense_gflops: float
    dense_parameters: float

    @classmethod
    def of(cls, learner: Learner, config: MoeRtDetrConfig) -> "Cost":
        """Measured by running both networks once."""
        dense = build_network(config.model, same_cost(config.moe), config.classes)
        size = config.model.image_size
        return cls(
            gflops(learner.network, size), parameters(learner.network) / 1e6,
            gflops(dense, size), parameters(dense) / 1e6,
        )  # fmt: skip

    def metrics(self) -> dict[str, float]:
        """As a run logs them."""
        return {f"cost/{name}": value for name, value in vars(self).items()}


class Validation:
    """A pass over the validation split: COCO's numbers, losses, accuracy, and the experts."""

    def __init__(self, split: DetectionSplit, config: MoeRtDetrConfig, cost: Cost) -> None:
        self._split = split
        self._config = config
        self._cost = cost

    def __call__(self, model: nn.Module, point: Point, losses: Mapping[str, float]) -> Validated:
        assert isinstance(model, Learner)
        observer = Observer(self._split.classes, self._config.moe)
        results = look(model, self._split, Ask.of(self._config), observer)
        found = scores_of(self._split, results)
        metrics = ap_metrics(found) | observer.metrics()
        report = self.report(observer, found, point, losses)
        events: list[Event] = [ExpertsObserved(report=report)] if report else []
        if self._config.diagnostics.observe:
            events.append(predicted(self._split, results, point))
        return Validated(metrics, tuple(events))

    def report(
        self, observer: Observer, found: Scores, point: Point, losses: Mapping[str, float]
    ) -> ExpertReport | None:
        """What the experts did; None for the dense model."""
        report = observer.report(self._split.split, point.step, point.epoch, losses)
        if report is None:
            return None
        return report.model_copy(
            update={
                "per_class": {n: row["mAP50-95"] for n, row in found.per_class.items()},
                "gflops": self._cost.gflops,
                "dense_gflops": self._cost.dense_gflops,
            }
        )


def ap_metrics(found: Scores) -> dict[str, float]:
    """COCO's numbers by metric key; what is undefined is left out."""
    whole = {f"val/{name}": found.metrics[name] for name in ("mAP50-95", "mAP50", "mAP75")}
    each = {f"val/AP/{key_of(name)}": row["mAP50-95"] for name, row in found.per_class.items()}
    headline = {"val/mAP50-95": found.metrics["mAP50-95"] or 0.0}
    return {k: v for k, v in (whole | each).items() if v is not None} | headline


def key_of(name: str) -> str:
    """A class name as a part of a metric key."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in name)
