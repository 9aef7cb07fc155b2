"""What to freeze, how fast to train the rest, and whether early layers train slower."""

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from studies._spec import Params, StudySpec, learning_rate

LAYER_DECAY = (None, 0.5, 0.65, 0.8)
RATE_SPAN = 8.0


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Freezing strategy, learning rate, and layer-wise learning rate decay (None: off).

    The rate is searched from an eighth of the config's to eight times it. Decay is asked for
    only where the backbone or the neck trains.
    """
    rate = learning_rate(base)
    strategy = trial.suggest_categorical("freeze.strategy", list(trainer.strategies))
    overrides: Params = {
        "freeze.strategy": strategy,
        "optimizer.lr0": trial.suggest_float(
            "optimizer.lr0", rate / RATE_SPAN, rate * RATE_SPAN, log=True
        ),
        "optimizer.layer_decay": None,
    }
    if strategy in ("full", "backbone"):
        decay = trial.suggest_categorical("optimizer.layer_decay", LAYER_DECAY)
        overrides["optimizer.layer_decay"] = decay
    return overrides


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Plain full fine-tuning at the config's rate, then its opposite."""
    rate = learning_rate(base)
    return (
        {"freeze.strategy": "full", "optimizer.lr0": rate, "optimizer.layer_decay": None},
        {"freeze.strategy": "head-only", "optimizer.lr0": rate},
    )


STUDY = StudySpec(
    name="freezing",
    description="Freezing strategy x learning rate x layer-wise learning rate decay",
    suggest=suggest,
    first=first,
    trials=12,
)
