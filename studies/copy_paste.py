"""How many made images per real one, at which learning rate, for the same number of steps.

An epoch with made images is longer, and more steps alone can make a model better. Each trial
therefore has as many epochs as take the optimizer steps of the base config: its epochs times
(1 + the base's ratio) / (1 + the trial's), rounded, so that the steps differ by half an epoch of
the trial at most. What is counted in epochs (warm-up, mosaic's end, real images at the end,
validations, unfreezing) is scaled with them; nobody stops early, and no trial is pruned.
"""

import optuna

from backend.config.schema import TrainConfig
from backend.core.errors import StudyError
from backend.core.trainer import TrainerSpec
from studies._spec import Params, StudySpec, learning_rates, suggest_rates

RATIO = "synthetic.ratio"
RATIOS = (0.0, 0.5, 1.0, 2.0)
ZERO_ALLOWED = ("augment.close_mosaic", "synthetic.close")
AT_LEAST_ONE = ("epochs", "val_period", "freeze.unfreeze_at")
KIND = "yolo"


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Ratio and learning rate, with the epochs that make the steps equal."""
    ratio = trial.suggest_categorical(RATIO, RATIOS)
    return {RATIO: ratio, **suggest_rates(trial, base), **equal_steps(base, ratio)}


def equal_steps(base: TrainConfig, ratio: float) -> Params:
    """All that is counted in epochs, for as many optimizer steps as the base config takes."""
    flat = base.flat()
    longer = (1 + float(flat[RATIO])) / (1 + ratio)
    warmup = "optimizer.warmup_epochs"
    return {
        warmup: round(float(flat[warmup]) * longer, 3),
        **{key: round(int(flat[key]) * longer) for key in ZERO_ALLOWED},
        **{key: max(round(int(flat[key]) * longer), 1) for key in AT_LEAST_ONE if flat[key]},
        "patience": 0,
    }


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Real images only, then each ratio, at the config's rate. Raises StudyError without
    folders to paste from."""
    flat = base.flat()
    if flat["synthetic.enabled"] != "True" or not flat["synthetic.annotated_dir"]:
        raise StudyError(
            "study 'copy_paste' has nothing to paste; name synthetic.annotated_dir and "
            "synthetic.backgrounds_dir with --set or in the config, and leave synthetic.enabled on"
        )
    rates = learning_rates(base)
    return tuple({RATIO: ratio, **rates} for ratio in RATIOS)


STUDY = StudySpec(
    name="copy_paste",
    description="Made images per real one x learning rate, at equal optimizer steps",
    suggest=suggest,
    first=first,
    trials=12,
    warmup=1.0,  # nobody is pruned: epochs of different ratios are not alike
    trainers=(KIND,),
)
