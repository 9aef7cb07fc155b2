"""Made trainings that a report is to speak of: the curves are given, the rest is plain."""

from collections.abc import Mapping, Sequence

from backend.core.events import Envelope, Event, MetricsLogged, RunFinished, RunStarted
from backend.core.records import Direction, MetricSpec, Run

Curves = Mapping[str, Mapping[int, float]]

BRIEF: Curves = {
    "train/loss": dict(
        enumerate(
            (0.5085, 0.4642, 0.4301, 0.4012, 0.3891, 0.3823, 0.3785, 0.3759, 0.3742, 0.3779,
             0.3810, 0.3768),
            start=48,
        )
    ),
    "val/average_mAP": {49: 0.6848, 51: 0.6852, 53: 0.6856, 55: 0.6858, 57: 0.6860, 59: 0.6864},
    "val/mAP_0.6": {57: 0.6200, 59: 0.6195},
    "val/mAP_0.5": {57: 0.7112, 59: 0.7128},
}  # fmt: skip
"""The numbers of the AdaTAD brief."""


def started(
    headline: str, epochs: int, resumed_from: int | None = None, direction: Direction = "maximize"
) -> RunStarted:
    """A start; ``direction`` is of the headline."""
    return RunStarted(
        trainer="made", epochs=epochs, headline=headline, data=(), environment={"python": "3.11"},
        metrics=(MetricSpec(name=headline.partition("/")[2], direction=direction),
                 MetricSpec(name="mAP_0.6", direction="maximize")),
        resumed_from=resumed_from,
    )  # fmt: skip


def envelopes(events: Sequence[Event], seconds: float = 60.0) -> list[Envelope]:
    """The events in order, so many seconds apart."""
    return [
        Envelope(seq=place, time=1_700_000_000 + seconds * place, event=event)
        for place, event in enumerate(events)
    ]


def training(
    curves: Curves, headline: str, planned: int, direction: Direction = "maximize"
) -> list[Envelope]:
    """A finished training with these curves."""
    epochs = sorted({epoch for curve in curves.values() for epoch in curve})
    logged = [
        MetricsLogged(step=10 * epoch, epoch=epoch,
                      metrics={key: c[epoch] for key, c in curves.items() if epoch in c})
        for epoch in epochs
    ]  # fmt: skip
    return envelopes(
        [started(headline, planned, direction=direction), *logged, RunFinished(status="finished")]
    )


def run(key: str = "run-1", name: str = "made", **facts: object) -> Run:
    """A run without anything but its names."""
    about = {"key": key, "mlflow_run_id": "0" * 32, "name": name, "trainer": "made",
             "status": "finished", "started": 1_700_000_000.0, **facts}  # fmt: skip
    return Run.model_validate(about)
