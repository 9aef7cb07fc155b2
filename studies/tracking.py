"""What to train of a tracker, how fast and how long: new classes against what is forgotten."""

import optuna

from backend.config.schema import CUSTOM, TrainConfig
from backend.core.records import StudyObjective
from backend.core.trainer import TrainerSpec
from backend.trainers.motrv2.spec import SPEC, Motrv2Config
from studies._spec import SOURCE, Params, StudySpec, suggest_rate

STRATEGY, EPOCHS = "freeze.strategy", "epochs"
RATE, BACKBONE = "runner.optimizer.lr.all", "runner.optimizer.lr.backbone"
MILESTONES, CURRICULUM = "runner.schedule.milestones", "clips.epochs"
FACTORS = (1, 2, 3)


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Freezing strategy, learning rate, and epochs as multiples of the config's.

    The backbone's rate, where it trains, keeps its ratio to the other one, and what happens at
    an epoch (the rate's falls, longer clips) its place in the training.
    """
    config = _config(base)
    lr = config.runner.optimizer.lr
    strategy = trial.suggest_categorical(STRATEGY, _offered(config, trainer))
    rate = suggest_rate(trial, RATE, lr["all"])
    epochs = trial.suggest_categorical(EPOCHS, [factor * config.epochs for factor in FACTORS])
    overrides: Params = {STRATEGY: strategy, RATE: rate, EPOCHS: epochs}
    if strategy == "full":
        overrides[BACKBONE] = rate * lr["backbone"] / lr["all"]
    factor = epochs // config.epochs
    places = {MILESTONES: config.runner.schedule.milestones, CURRICULUM: config.clips.epochs}
    overrides |= {
        k: [round(factor * at, 6) for at in found] for k, found in places.items() if found
    }
    return overrides | ({"freeze.modules": ()} if config.freeze.strategy == CUSTOM else {})


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Plain full fine-tuning at the config's rate and epochs, then the moderate one."""
    config = _config(base)
    plain = {RATE: config.runner.optimizer.lr["all"], EPOCHS: config.epochs}
    return tuple({STRATEGY: strategy, **plain} for strategy in ("full", "moderate"))


def _config(base: TrainConfig) -> Motrv2Config:
    assert isinstance(base, Motrv2Config), "a study is checked against the kind of the config"
    return base


def _offered(config: Motrv2Config, trainer: TrainerSpec) -> list[str]:
    """Those that need no more than their name; ``minimal`` only with heads that learn."""
    freeze = config.freeze
    blind = {"minimal"} if not (freeze.train_new or freeze.allow_untrained_new) else set()
    return [name for name in trainer.strategies if name not in {CUSTOM, *blind}]


STUDY = StudySpec(
    name="tracking",
    description="Freezing strategy x learning rate x epochs: new classes against forgetting",
    suggest=suggest,
    first=first,
    metric=SPEC.headline,
    also=(StudyObjective(metric=f"{SOURCE}forgetting", direction="minimize"),),
    trials=16,
    trainers=(SPEC.kind,),
)
