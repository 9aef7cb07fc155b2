"""What to freeze, how fast to train the rest, and whether early layers train slower."""

import optuna

from backend.core.trainer import TrainerSpec
from studies._spec import StudySpec

LAYER_DECAY = (0.5, 0.65, 0.8)


def suggest(trial: optuna.Trial, trainer: TrainerSpec) -> dict[str, object]:
    """Freezing strategy, learning rate and layer-wise learning rate decay (on or off).

    Decay is only asked for where more than one layer trains; the plain full fine-tuning at the
    trainer's default learning rate is trial 0.
    """
    strategy = trial.suggest_categorical("freeze.strategy", list(trainer.strategies))
    overrides: dict[str, object] = {
        "freeze.strategy": strategy,
        "optimizer.lr0": trial.suggest_float("optimizer.lr0", 1e-4, 2e-2, log=True),
        "optimizer.layer_decay": None,
    }
    if strategy in ("full", "backbone") and trial.suggest_categorical(
        "layer_decay", [False, True]
    ):
        overrides["optimizer.layer_decay"] = trial.suggest_categorical(
            "optimizer.layer_decay", list(LAYER_DECAY)
        )
    return overrides


STUDY = StudySpec(
    name="freezing",
    description="Freezing strategy x learning rate x layer-wise learning rate decay",
    suggest=suggest,
    trials=12,
    first=(
        {"freeze.strategy": "full", "optimizer.lr0": 1e-3, "layer_decay": False},
        {"freeze.strategy": "head-only", "optimizer.lr0": 1e-3},
    ),
)
