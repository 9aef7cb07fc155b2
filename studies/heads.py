"""The detector on a frozen backbone: its rate, width, regularisation and labels.

The backbone sees the same frames in each trial: it has no adapters, frames are not augmented and
windows begin at its chunks. So its features are computed once and kept in the study's folder
(``reuse.folder``), and no trial decodes a frame again; results are the same without.
"""

import math

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from studies._adatad import KIND, RATE, config_of, preset_of
from studies._spec import Params, StudySpec, suggest_rate, within

DETECTOR, DECAY = f"{RATE}detector", "runner.optimizer.weight_decay"
WIDTH, DROP, THRESHOLD = "model.detector_width", "model.detector_drop_path", "windows.trunc_thresh"
ALIGN = "windows.align"

DECAYS = (1e-3, 0.5)
DROPS = (0.0, 0.4)
THRESHOLDS = (0.3, 0.9)
FACTORS = (0.5, 1.0, 2.0)


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """All of the detector that changes nothing before it."""
    config = config_of(base)
    return {
        "freeze.strategy": "head-only",
        "frames.augment": False,
        ALIGN: math.lcm(config.windows.align, preset_of(base).chunk),
        DETECTOR: suggest_rate(trial, DETECTOR, config.runner.optimizer.lr["detector"]),
        WIDTH: trial.suggest_categorical(WIDTH, widths(base)),
        DROP: trial.suggest_float(DROP, *DROPS),
        DECAY: trial.suggest_float(DECAY, *DECAYS, log=True),
        THRESHOLD: trial.suggest_float(THRESHOLD, *THRESHOLDS),
    }


def first(base: TrainConfig) -> tuple[Params, ...]:
    """The config's own recipe, as far as it lies in what is searched."""
    config = config_of(base)
    return (
        {
            DETECTOR: config.runner.optimizer.lr["detector"],
            WIDTH: _width(base),
            DROP: within(config.model.detector_drop_path, DROPS),
            DECAY: within(config.runner.optimizer.weight_decay, DECAYS),
            THRESHOLD: within(config.windows.trunc_thresh, THRESHOLDS),
        },
    )


def widths(base: TrainConfig) -> list[int]:
    """The config's width, half and twice of it, in whole attention heads."""
    heads = preset_of(base).detector_heads
    wide = {max(1, round(_width(base) * factor / heads)) * heads for factor in FACTORS}
    return sorted(width for width in wide if 8 <= width <= 2048)


def _width(base: TrainConfig) -> int:
    return config_of(base).model.detector_width or preset_of(base).detector_width


STUDY = StudySpec(
    name="heads",
    description="Detector rate x width x drop path x weight decay x labels, on a frozen backbone",
    suggest=suggest,
    first=first,
    trials=16,
    trainers=(KIND,),
)
