"""What to freeze, how fast to train the rest, and whether early layers train slower."""

import optuna

from backend.config.schema import CUSTOM, TrainConfig
from backend.core.trainer import TrainerSpec
from studies._adatad import LAYERS, fitting_layers
from studies._spec import Params, StudySpec, learning_rates, suggest_rates

DECAY = "optimizer.layer_decay"
LAYER_DECAY = (None, 0.5, 0.65, 0.8)
HEADS_ONLY = {"mdfed": "encoder+gru", "motrv2": "moderate"}
"""Where the strategy that trains the heads only is not called ``head-only``."""


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Freezing strategy, learning rates, and layer-wise learning rate decay (None: off).

    Decay is asked for only where the trainer has it and the backbone or the neck trains.
    """
    offered = [name for name in trainer.strategies if name != CUSTOM]
    strategy = trial.suggest_categorical("freeze.strategy", offered)
    overrides: Params = {"freeze.strategy": strategy, **suggest_rates(trial, base, strategy)}
    if strategy == "last-layers":
        overrides[LAYERS] = fitting_layers(base)
    if base.freeze.strategy == CUSTOM:
        overrides["freeze.modules"] = ()
    if strategy == "full" and base.flat().get("freeze.unfreeze_at"):
        overrides["freeze.unfreeze_at"] = None
    if DECAY in base.flat():
        trained = strategy in ("full", "backbone")
        overrides[DECAY] = trial.suggest_categorical(DECAY, LAYER_DECAY) if trained else None
    return overrides


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Plain full fine-tuning at the config's rates, then its opposite."""
    decay = {DECAY: None} if DECAY in base.flat() else {}
    heads = HEADS_ONLY.get(base.kind, "head-only")
    return (
        {"freeze.strategy": "full", **learning_rates(base, "full"), **decay},
        {"freeze.strategy": heads, **learning_rates(base, heads)},
    )


STUDY = StudySpec(
    name="freezing",
    description="Freezing strategy x learning rates x layer-wise learning rate decay",
    suggest=suggest,
    first=first,
    trials=12,
)
