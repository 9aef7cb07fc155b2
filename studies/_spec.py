"""What a study file declares, and where study files are found."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import optuna
from optuna.trial import FixedTrial

import studies
from backend.config.schema import TrainConfig
from backend.core.errors import StudyError
from backend.core.records import Direction, StudyObjective
from backend.core.trainer import TrainerSpec
from studies._adatad import KIND as ADATAD
from studies._adatad import rates_of

SOURCE = "source/"
"""Begins the keys of what is measured on the data of ``TrainConfig.source``."""

Number = TypeVar("Number", int, float)
Params = dict[str, object]
Suggest = Callable[[optuna.Trial, TrainerSpec, TrainConfig], Params]


def nothing_first(base: TrainConfig) -> tuple[Params, ...]:
    """The sampler chooses from the start."""
    return ()


@dataclass(frozen=True)
class StudySpec:
    """A search space over a base config.

    ``suggest`` draws from an Optuna trial and returns dotted overrides of the base config; it
    does not train, log or read files. ``metric`` is an event key, empty for the trainer's
    headline. ``also`` are further objectives: the study then looks for the trials that no other
    one dominates (Pareto), and Optuna, which prunes by one objective only, prunes none.
    ``first`` gives parameter sets tried before the sampler chooses: the plain recipe
    comes first, because later comparisons take trial 0 as their baseline. ``trials`` counts
    completed and pruned ones. No trial is pruned before ``warmup`` of its epochs, a share, nor
    before ``startup_trials`` trials were drawn at random. ``trainers`` are the kinds that have
    what is searched; empty: every one. ``listed``: nothing but what ``first`` gives is tried.
    """

    name: str
    description: str
    suggest: Suggest
    metric: str = ""
    direction: Direction = "maximize"
    also: tuple[StudyObjective, ...] = ()
    trials: int = 12
    first: Callable[[TrainConfig], tuple[Params, ...]] = nothing_first
    seed: int = 0
    startup_trials: int = 5
    warmup: float = 0.6
    config: Path | None = None
    trainers: tuple[str, ...] = ()
    listed: bool = False

    def count(self, base: TrainConfig) -> int:
        """How many trials it takes if nobody says otherwise."""
        return len(self.first(base)) if self.listed else self.trials

    def objectives(self, trainer: TrainerSpec) -> tuple[StudyObjective, ...]:
        """What trials are judged by; the first is the one that they are listed by."""
        metric = self.metric or trainer.headline
        return (StudyObjective(metric=metric, direction=self.direction), *self.also)

    def check(self, base: TrainConfig) -> None:
        """Raise StudyError if the config lacks what is searched or what an objective needs."""
        if self.trainers and base.kind not in self.trainers:
            raise StudyError(
                f"study '{self.name}' searches what only {' and '.join(self.trainers)} has, and "
                f"the config is of kind '{base.kind}'; name another with --config"
            )
        unmeasured = [o.metric for o in self.also if o.metric.startswith(SOURCE)]
        if unmeasured and base.source is None:
            raise StudyError(
                f"study '{self.name}' also judges trials by {' and '.join(unmeasured)}, which is "
                "measured on the source domain, and the config has no 'source'; name its data "
                "with --set source=PATH"
            )
        self.first(base)  # it refuses a config with nothing to search

    def overrides(
        self, params: Mapping[str, object], trainer: TrainerSpec, base: TrainConfig
    ) -> Params:
        """The overrides that a stored trial's parameters stand for."""
        return self.suggest(cast(optuna.Trial, FixedTrial(dict(params))), trainer, base)


RATE_SPAN = 8.0
HIGHEST_RATE = 1.0


def learning_rates(base: TrainConfig, strategy: str = "") -> dict[str, float]:
    """The learning rates that have an effect, by dotted key, as the config has them.

    A trainer with one rate has ``optimizer.lr0``; one whose rates follow what was loaded has
    ``pretrained_lr`` and ``new_lr``, or ``scratch_lr`` if nothing was; AdaTAD those of the groups
    that a freezing ``strategy`` (the config's, unless another is named) trains; any other on the
    Runner one for each of its groups.
    """
    if base.kind == ADATAD:
        return rates_of(base, strategy or base.freeze.strategy)
    flat = base.flat()
    if "scratch_lr" in flat:
        loaded = flat["model.pretrained"] != "none"
        keys = ["pretrained_lr", "new_lr"] if loaded else ["scratch_lr"]
    elif "optimizer.lr0" in flat:
        keys = ["optimizer.lr0"]
    else:
        keys = [key for key in flat if key.startswith("runner.optimizer.lr.")]
    return {key: float(flat[key]) for key in keys}


def suggest_rates(trial: optuna.Trial, base: TrainConfig, strategy: str = "") -> Params:
    """Each rate from an eighth of the config's to eight times it."""
    rates = learning_rates(base, strategy)
    return {key: suggest_rate(trial, key, rate) for key, rate in rates.items()}


def suggest_rate(trial: optuna.Trial, key: str, rate: float) -> float:
    """From an eighth of a rate to eight times it."""
    highest = max(rate, min(rate * RATE_SPAN, HIGHEST_RATE))
    return trial.suggest_float(key, rate / RATE_SPAN, highest, log=True)


def within(value: float, span: tuple[float, float]) -> float:
    """The next value that lies in a span."""
    return min(max(value, span[0]), span[1])


def nearest(value: Number, choices: Sequence[Number]) -> Number:
    """The choice that lies next to a value."""
    return min(choices, key=lambda choice: abs(choice - value))


def find(name: str) -> StudySpec:
    """The ``STUDY`` of ``studies/<name>.py``. Raises StudyError that lists the known ones."""
    if name not in names():
        raise StudyError(f"unknown study '{name}'; there is: {', '.join(names())}")
    module = importlib.import_module(f"studies.{name}")
    spec = module.STUDY
    assert isinstance(spec, StudySpec)
    return spec


def names() -> list[str]:
    """The study files: every public module of this package."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(studies.__path__)
        if not module.name.startswith("_")
    )
