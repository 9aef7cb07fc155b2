"""Which experts, and how many at once, against the dense model that costs the same."""

import optuna

from backend.config.schema import TrainConfig
from backend.core.trainer import TrainerSpec
from studies._experts import EXPERTS, KIND, TOP_K, chosen, configurations, top_ks
from studies._spec import Params, StudySpec

DENSE = "dense"
SEED = "seed"
SEEDS = 5


def suggest(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Configuration (or dense) and top-k; after the grid the same again with other seeds."""
    experts = trial.suggest_categorical(EXPERTS, [DENSE, *configurations(base)])
    return {
        **chosen(base, experts),
        TOP_K: trial.suggest_categorical(TOP_K, top_ks(base)),
        SEED: trial.suggest_int(SEED, base.seed, base.seed + SEEDS - 1),
    }


def first(base: TrainConfig) -> tuple[Params, ...]:
    """Each top-k with the dense model of its cost, then with each configuration."""
    return tuple(
        {EXPERTS: experts, TOP_K: k, SEED: base.seed}
        for k in top_ks(base)
        for experts in (DENSE, *configurations(base))
    )


STUDY = StudySpec(
    name="moe_top_k",
    description="Expert configuration x top-k, beside the dense model of the same cost",
    suggest=suggest,
    first=first,
    trials=12,
    warmup=1.0,  # nobody is pruned: a comparison needs every value on the same budget
    trainers=(KIND,),
)
