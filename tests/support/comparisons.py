"""Made comparisons, for whoever reads them: reports, gates, pages."""

from typing import Any

from backend.core.comparisons import Comparison, DataComparison, MetricDelta
from backend.core.records import EvalReport
from tests.support.detections import contender


def delta(
    name: str = "mAP50-95", change: float = 0.05, spread: float = 0.02, **more: Any
) -> MetricDelta:
    return MetricDelta(
        **{
            "name": name,
            "direction": "maximize",
            "baseline": 0.4,
            "candidate": 0.4 + change,
            "delta": change,
            "low": change - spread,
            "high": change + spread,
            "wins": 0.9,
            "verdict": "better",
            **more,
        }
    )


def report(**changes: Any) -> EvalReport:
    made = EvalReport(
        task="detection",
        trainer="made",
        checkpoint="/runs/new.safetensors",
        data="data.yaml",
        split="holdout",
        data_digest="d" * 64,
        evaluator="e",
        units=80,
        metrics={"mAP50-95": 0.45},
    )
    return made.model_copy(update=changes)


def data(*metrics: MetricDelta, role: Any = "target", **changes: Any) -> DataComparison:
    measured = report(**changes)
    return DataComparison(
        role=role,
        data=measured.data,
        split=measured.split,
        data_digest=measured.data_digest,
        evaluator="e",
        unit="image",
        units=measured.units,
        metrics=metrics or (delta(), delta("mAP50"), delta("mAP75")),
        baseline_report=measured,
        candidate_report=measured,
    )


def comparison(target: DataComparison | None = None, /, **changes: Any) -> Comparison:
    made = Comparison(
        key="compare-1",
        created=0.0,
        baseline=contender("old"),
        candidate=contender("new"),
        primary="mAP50-95",
        confidence=0.95,
        margin=0.01,
        replicates=1000,
        seed=0,
        target=target or data(),
    )
    return made.model_copy(update=changes)
