"""A made study whose trials tell what they took."""

from backend.core.records import Costs, StudyRecord, TrialRecord

GIB = 2**30


def trial(
    number: int, strategy: str, value: float | None, costs: Costs, state: str = "complete"
) -> TrialRecord:
    """A trial of a strategy; its run is named after its number."""
    return TrialRecord.model_validate(
        {
            "number": number, "state": state, "value": value, "run": f"run-{number}",
            "params": {"freeze.strategy": strategy}, "costs": costs,
        }
    )  # fmt: skip


def took(trainable: int, minutes: float, gib: float) -> Costs:
    """On a GPU."""
    memory = round(gib * GIB)
    return Costs(trainable=trainable, seconds=60 * minutes, memory=memory, memory_of="device")


TRIALS = (
    trial(0, "full", 0.687, took(22_000_000, 10.0, 8.0)),
    trial(1, "adapter", 0.628, took(1_900_000, 8.0, 3.0)),
    trial(2, "plain-adapter", 0.600, took(1_900_000, 7.0, 3.0)),
    trial(3, "head-only", 0.593, took(600_000, 2.0, 1.5)),
    trial(4, "last-layers", 0.500, took(8_000_000, 9.0, 5.0)),
    trial(5, "full", 0.300, took(22_000_000, 10.0, 8.0), state="pruned"),
    trial(6, "full", None, Costs(), state="failed"),
)


def made(trials: tuple[TrialRecord, ...] = TRIALS) -> StudyRecord:
    """Full fine-tuning is best; adapters and heads alone are the most for their price."""
    return StudyRecord(
        name="modes", metric="val/average_mAP", direction="maximize", target=8, trials=trials,
        best=0, description="What to train",
    )  # fmt: skip
