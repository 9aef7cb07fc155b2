"""What the Runner's section of a config comes to."""

import pytest

from backend.runner.config import RunnerConfig
from backend.runner.description import described, per_step


def rows(**changes: object) -> dict[str, str]:
    runner = RunnerConfig.model_validate(changes)
    return {row[0]: row[1] for table in described(runner, 100) for row in table.rows}


def test_the_brief_s_recipe() -> None:
    said = rows(
        batch=8, workers=12, prefetch=6, amp="float16", clip=1.0, log_interval=50,
        optimizer={"lr": {"backbone": 0, "adapter": 2e-4, "detector": 1e-4}, "weight_decay": 0.05},
        schedule={"warmup_epochs": 5}, ema={"enabled": True, "momentum": 0.001},
        validation={"begin": 40, "interval": 2}, checkpoints={"interval": 2},
        checkpointing=["backbone.blocks.*"],
    )  # fmt: skip
    assert said["batch"] == said["samples of an optimizer step"] == "8"
    assert said["loader processes"] == "12"
    assert said["batches that each has ready"] == "6"
    rates = "backbone 0, adapter 0.0002, detector 0.0001"
    assert said["learning rates, where a group trains"] == rates
    assert said["weight decay"] == "0.05; 0 for biases, norms, embeddings"
    assert said["mixed precision"] == "AMP in float16, loss scaled"
    assert said["gradient clipping"] == "norm 1"
    assert said["average of the weights (EMA)"].startswith("momentum 0.001, higher in a short")
    assert said["activation checkpointing"] == "backbone.blocks.*"
    assert said["warm-up"] == "5 epochs, linear from 0.01 of the rate"
    assert said["then"] == "cosine to 0 of the rate at the last step"
    assert said["epochs at most"] == "100"
    assert said["validation"] == "every 2 epochs, from epoch 40 on, and at the end"
    assert said["checkpoints"] == "the best and the last; one is kept every 2 epochs as well"
    assert said["training losses logged"] == "every 50 optimizer steps"


def test_what_is_off_is_said_to_be_off() -> None:
    said = rows(workers=0)
    assert said["gradient clipping"] == "none"
    assert said["average of the weights (EMA)"] == "none"
    assert said["activation checkpointing"] == "none"
    assert said["batches that each has ready"] == "none"
    assert said["warm-up"] == "none"
    assert said["gradients exchanged"] == "no: one process"
    assert said["ended early"] == "never"
    assert said["validation"] == "every epoch, and at the end"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 2}, "2"),
        ({"batch": 2, "accumulate": 4, "processes": 2},
         "16 = 2 x 4 x 2 (batch, accumulated, processes)"),
    ],
)  # fmt: skip
def test_samples_of_a_step(changes: dict[str, int], said: str) -> None:
    assert per_step(RunnerConfig.model_validate(changes)) == said


def test_other_schedules() -> None:
    steps = {"name": "step", "milestones": [8, 11], "warmup_steps": 1000}
    said = rows(schedule=steps, optimizer={"name": "SGD"}, validation={"interval": 0.25})
    assert said["warm-up"] == "1,000 steps, linear from 0.01 of the rate"
    assert said["then"] == "times 0.1 after epochs 8, 11"
    assert said["optimizer"] == "SGD, momentum 0.9"
    assert said["validation"] == "4 times in each epoch, and at the end"
