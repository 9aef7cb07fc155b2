"""How many experts work, of which kind, how hard they are balanced and taught, how fast."""

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from studies._experts import EXPERTS, KIND, TOP_K, chosen, config_of, configurations, top_ks
from studies._spec import Params, StudySpec, learning_rates, suggest_rates

BALANCE, WEIGHT = "moe.balance", "moe.load_balance_weight"
SUPERVISION, STRATEGY = "moe.route_sup", "freeze.strategy"
WEIGHTS = (1e-3, 1.0)
SUPERVISIONS = (0.02, 2.0)


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Configuration, top-k, balance weight, supervision, freezing and the learning rates.

    Freezing is searched only where weights are loaded: frozen random ones learn nothing.
    """
    experts = trial.suggest_categorical(EXPERTS, list(configurations(base)))
    overrides: Params = {
        **chosen(base, experts),
        TOP_K: trial.suggest_categorical(TOP_K, top_ks(base)),
        BALANCE: "loss",
        WEIGHT: trial.suggest_float(WEIGHT, *WEIGHTS, log=True),
        SUPERVISION: trial.suggest_float(SUPERVISION, *SUPERVISIONS, log=True),
        **suggest_rates(trial, base),
    }
    if _loaded(base):
        overrides[STRATEGY] = trial.suggest_categorical(STRATEGY, list(trainer.strategies))
    return overrides


def first(base: TrainConfig) -> tuple[Params, ...]:
    """The config's own recipe, as far as it lies in what is searched."""
    moe = config_of(base).moe
    known = configurations(base)
    recipe: Params = {
        EXPERTS: moe.experts if moe.experts in known else next(iter(known)),
        TOP_K: min(moe.top_k, max(top_ks(base))),
        WEIGHT: min(max(moe.load_balance_weight, WEIGHTS[0]), WEIGHTS[1]),
        SUPERVISION: min(max(moe.route_sup, SUPERVISIONS[0]), SUPERVISIONS[1]),
        **learning_rates(base),
    }
    return (recipe | ({STRATEGY: "full"} if _loaded(base) else {}),)


def _loaded(base: TrainConfig) -> bool:
    return config_of(base).model.pretrained != "none"


STUDY = StudySpec(
    name="moe",
    description="Experts x top-k x balance x supervision x freezing x learning rates",
    suggest=suggest,
    first=first,
    trials=24,
    trainers=(KIND,),
)
