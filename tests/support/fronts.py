"""A made study with two objectives: a front of three, dominated, failed and running trials."""

from typing import Literal

from backend.core.records import StudyObjective, StudyRecord, TrialRecord

UP, DOWN = "val/cls_HOTA", "source/forgetting"
RATE = "runner.optimizer.lr.all"

State = Literal["running", "complete", "pruned", "failed", "waiting"]


def trial(
    number: int,
    values: tuple[float, ...],
    strategy: str,
    state: State = "complete",
    note: str = "",
) -> TrialRecord:
    """One trial of the study; its learning rate tells its number."""
    return TrialRecord(
        number=number, state=state, value=next(iter(values), None), values=values,
        params={"freeze.strategy": strategy, RATE: 1e-4 * (number + 1)}, run=f"run-{number}",
        note=note,
    )  # fmt: skip


TRIALS = (
    trial(0, (0.50, 0.20), "full"),
    trial(1, (0.40, 0.05), "moderate"),
    trial(2, (0.60, 0.30), "full"),
    trial(3, (0.40, 0.25), "minimal"),
    trial(4, (0.30, -0.01), "minimal"),
    trial(5, (0.55, 0.15), "full"),
    trial(6, (0.20, 0.10), "full", "failed", "out of memory"),
    trial(7, (), "full", "pruned", "gradient explodes"),
    trial(8, (0.10, 0.02), "moderate", "running"),
)
FRONT = (2, 5, 1, 4)


def made() -> StudyRecord:
    """Plain fine-tuning, trial 0, is dominated by trial 5."""
    shares = {"freeze.strategy": 0.7, RATE: 0.3}, {"freeze.strategy": 0.2, RATE: 0.8}
    return StudyRecord(
        name="both", metric=UP, direction="maximize", target=12, trials=TRIALS,
        importances=shares[0], description="New classes against forgetting", front=FRONT,
        objectives=(
            StudyObjective(metric=UP, direction="maximize", importances=shares[0]),
            StudyObjective(metric=DOWN, direction="minimize", importances=shares[1]),
        ),
    )  # fmt: skip
