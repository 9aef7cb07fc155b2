"""What to freeze, how fast to train, how windows are cut and how events are weighted."""

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from backend.trainers.mdfed.spec import SPEC, MdFedConfig
from studies._spec import Params, StudySpec, nearest, within

STRATEGY, RATE, DROPOUT = "freeze.strategy", "runner.optimizer.lr.all", "model.dropout"
LENGTH, DILATION = "clips.length", "clips.dilation"
FOREGROUND, POSITIVE = "loss.fg_weight", "loss.pos_weight"

RATES = (1e-4, 1e-2)
FOREGROUNDS = (1.0, 30.0)
DROPOUTS = (0.0, 0.5)
LENGTHS = (64, 96, 128)
DILATIONS = (0, 1)
POSITIVES = ("none", "sqrt", "inverse")


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """The search space of specs/mdfed.md, 3.4.

    Freezing is searched only where weights are loaded that may be kept. A distillation has no
    labels, so what weighs or widens them is left alone there.
    """
    config = _config(base)
    overrides: Params = {
        RATE: trial.suggest_float(RATE, *RATES, log=True),
        DROPOUT: trial.suggest_float(DROPOUT, *DROPOUTS),
        LENGTH: trial.suggest_categorical(LENGTH, LENGTHS),
    }
    if config.stage != 2:
        overrides |= {
            DILATION: trial.suggest_categorical(DILATION, DILATIONS),
            FOREGROUND: trial.suggest_float(FOREGROUND, *FOREGROUNDS, log=True),
            POSITIVE: trial.suggest_categorical(POSITIVE, POSITIVES),
        }
    if _freezes(config):
        overrides[STRATEGY] = trial.suggest_categorical(STRATEGY, list(trainer.strategies))
    return overrides


def first(base: TrainConfig) -> tuple[Params, ...]:
    """The config's own recipe, as far as it lies in what is searched."""
    config = _config(base)
    recipe: Params = {
        RATE: within(config.runner.optimizer.lr["all"], RATES),
        DROPOUT: within(config.model.dropout, DROPOUTS),
        LENGTH: nearest(config.clips.length, LENGTHS),
    }
    if config.stage != 2:
        recipe |= {
            DILATION: nearest(config.clips.dilation, DILATIONS),
            FOREGROUND: within(config.loss.fg_weight, FOREGROUNDS),
            POSITIVE: config.loss.pos_weight,
        }
    return (recipe | ({STRATEGY: config.freeze.strategy} if _freezes(config) else {}),)


def _config(base: TrainConfig) -> MdFedConfig:
    assert isinstance(base, MdFedConfig), "a study is checked against the kind of the config"
    return base


def _freezes(config: MdFedConfig) -> bool:
    return config.model.pretrained is not None and config.stage != 2


STUDY = StudySpec(
    name="spotting",
    description="Freezing x learning rate x dropout x window x labels x weights, for MD-FED",
    suggest=suggest,
    first=first,
    trials=24,
    trainers=(SPEC.kind,),
)
