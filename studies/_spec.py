"""What a study file declares, and where study files are found."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import optuna
from optuna.trial import FixedTrial

import studies
from backend.core.errors import StudyError
from backend.core.records import Direction
from backend.core.trainer import TrainerSpec

Suggest = Callable[[optuna.Trial, TrainerSpec], dict[str, object]]


@dataclass(frozen=True)
class StudySpec:
    """A search space over a base config.

    ``suggest`` draws from an Optuna trial and returns dotted overrides of the config; it does
    not train, log or read files. ``metric`` is an event key, empty for the trainer's headline.
    ``first`` are parameter sets tried before the sampler chooses: the plain recipe comes first,
    because later comparisons take trial 0 as their baseline. ``trials`` counts completed and
    pruned ones.
    """

    name: str
    description: str
    suggest: Suggest
    metric: str = ""
    direction: Direction = "maximize"
    trials: int = 12
    first: tuple[Mapping[str, object], ...] = ()
    seed: int = 0
    startup_trials: int = 5
    warmup_epochs: int = 3
    config: Path | None = None

    def suggest_fixed(
        self, params: Mapping[str, object], trainer: TrainerSpec
    ) -> dict[str, object]:
        """The overrides that a stored trial's parameters stand for."""
        return self.suggest(cast(optuna.Trial, FixedTrial(dict(params))), trainer)


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
