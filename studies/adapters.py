"""What to train of AdaTAD, how wide its adapters are, how fast, over which windows.

Each trial tells its value and what it took: trainable parameters, minutes per epoch, memory. The
first trials are the strategies at the config's own settings, so that they are compared on equal
terms. Weights that hold adapters or a detector of their own fix their widths: start from those of
a backbone.
"""

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from backend.trainers.adatad.spec import ADAPTERS
from studies._adatad import (
    KIND,
    LAYERS,
    LENGTH,
    config_of,
    fitting_layers,
    rates_of,
    some_layers,
    window_lengths,
)
from studies._spec import Params, StudySpec, nearest, suggest_rate, within

STRATEGY, RATIO, TOP_K = "freeze.strategy", "model.adapter_ratio", "inference.top_k"
RATIOS = (0.125, 0.25, 0.5)
TOP_KS = (100, 5000)
PLAIN = ("full", "adapter", "plain-adapter", "last-layers", "head-only")


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Strategy, the width of adapters and the number of layers where they are used, the rates of
    what trains, the window and how many segments of one are kept."""
    strategy = trial.suggest_categorical(STRATEGY, list(trainer.strategies))
    overrides: Params = {STRATEGY: strategy}
    if strategy in ADAPTERS:
        overrides[RATIO] = trial.suggest_categorical(RATIO, RATIOS)
    if strategy == "last-layers":
        overrides[LAYERS] = trial.suggest_categorical(LAYERS, some_layers(base))
    for key, rate in rates_of(base, strategy).items():
        overrides[key] = suggest_rate(trial, key, rate)
    return {
        **overrides,
        LENGTH: trial.suggest_categorical(LENGTH, window_lengths(base)),
        TOP_K: trial.suggest_int(TOP_K, *TOP_KS, log=True),
    }


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Every strategy at the config's own settings, plain full fine-tuning first, then the
    narrowest and the widest adapters."""
    own = nearest(config_of(base).model.adapter_ratio, RATIOS)
    others = [ratio for ratio in (RATIOS[0], RATIOS[-1]) if ratio != own]
    plain = [_recipe(base, strategy, own) for strategy in PLAIN]
    return (*plain, *(_recipe(base, "adapter", ratio) for ratio in others))


def _recipe(base: TrainConfig, strategy: str, ratio: float) -> Params:
    config = config_of(base)
    recipe: Params = {STRATEGY: strategy}
    if strategy in ADAPTERS:
        recipe[RATIO] = ratio
    if strategy == "last-layers":
        recipe[LAYERS] = fitting_layers(base)
    return {
        **recipe,
        **rates_of(base, strategy),
        LENGTH: nearest(config.windows.length, window_lengths(base)),
        TOP_K: round(within(config.inference.top_k, TOP_KS)),
    }


STUDY = StudySpec(
    name="adapters",
    description="What trains x width of adapters x learning rates x window x top-k, for AdaTAD",
    suggest=suggest,
    first=first,
    trials=20,
    startup_trials=len(PLAIN) + len(RATIOS),  # nobody among the first is pruned by the others
    trainers=(KIND,),
)
