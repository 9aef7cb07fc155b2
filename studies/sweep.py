"""Every value of some keys with every other: the study that a finding proposes."""

import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import yaml

from backend.config.compose import apply_overrides, validate
from backend.config.schema import TrainConfig
from backend.core.diagnosis import Value
from backend.core.errors import ConfigError
from backend.core.trainer import TrainerSpec
from backend.tracking.home import Home
from studies import _storage
from studies._spec import HIGHEST_RATE, Params, StudySpec, learning_rates

Grid = Mapping[str, tuple[Value, ...]]

RATES = (1.0, 1 / 3, 3.0)
DIGEST = 4


def rates(base: TrainConfig) -> Grid:
    """The learning rates as they are, a third and three times of them."""
    return {
        key: tuple(min(float(f"{rate * factor:.2g}"), HIGHEST_RATE) for factor in RATES)
        for key, rate in learning_rates(base).items()
    }


def suggest_rates(trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """Without --over."""
    return suggest(rates(base), trial, trainer, base)


def first_rates(base: TrainConfig) -> tuple[Params, ...]:
    """Without --over."""
    return first(rates(base), base)


def suggest(grid: Grid, trial: optuna.Trial, trainer: TrainerSpec, base: TrainConfig) -> Params:
    """One value of each key."""
    return {key: trial.suggest_categorical(key, values) for key, values in grid.items()}


def first(grid: Grid, base: TrainConfig) -> tuple[Params, ...]:
    """All combinations."""
    return tuple(
        dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*grid.values())
    )


def _text(value: object) -> str:
    return "" if value is None else str(value)


STUDY = StudySpec(
    name="sweep",
    description="All values of --over KEY=VALUE,... with each other; without: the learning rates",
    suggest=suggest_rates,
    first=first_rates,
    warmup=1.0,  # nobody is pruned by the others: each value is to be seen on the same budget
    listed=True,
)


def over(assignments: Sequence[str], base: TrainConfig) -> StudySpec:
    """The sweep of ``key=value,value`` texts; the config's own values come first.

    Raises ConfigError for what the config refuses.
    """
    grid = parse(assignments)
    check(grid, base)
    flat = base.flat()

    def own_first(key: str) -> tuple[Value, ...]:
        return tuple(sorted(grid[key], key=lambda value: _text(value) != flat[key]))

    return of_grid({key: own_first(key) for key in grid})


def of_grid(grid: Grid) -> StudySpec:
    """The sweep over a grid."""
    said = "; ".join(f"{key} in {', '.join(map(_text, values))}" for key, values in grid.items())
    return replace(
        STUDY,
        description=f"Sweep over {said}",
        suggest=partial(suggest, grid),
        first=partial(first, grid),
    )


def parse(assignments: Sequence[str]) -> Grid:
    """Values are YAML, as behind --set. Raises ConfigError."""
    grid: dict[str, tuple[Value, ...]] = {}
    for assignment in assignments:
        key, _, text = assignment.partition("=")
        key = key.strip()
        if not key or not text.strip():
            raise ConfigError(f"--over '{assignment}': expected key=value,value")
        if key in grid:
            raise ConfigError(f"--over names '{key}' twice")
        grid[key] = _values(assignment, text)
    return grid


def _values(assignment: str, text: str) -> tuple[Value, ...]:
    try:
        found = yaml.safe_load(f"[{text}]")
    except yaml.YAMLError:
        found = text.split(",")
    values = [_number(value) for value in found]
    if any(isinstance(value, list | dict) for value in values):
        raise ConfigError(
            f"--over '{assignment}': a value is a number, a word, true, false or null"
        )
    once = {json.dumps(value): value for value in values}
    return tuple(once.values())


def _number(value: Value) -> Value:
    """YAML 1.1 reads 1e-3 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def check(grid: Grid, base: TrainConfig) -> None:
    """Raise ConfigError, naming the first combination that is no config."""
    flat, data = base.flat(), base.model_dump(mode="json")
    for key in grid:
        if key not in flat:
            raise ConfigError(f"--over {key}: the config of kind '{base.kind}' has no such key")
    for params in first(grid, base):
        said = ", ".join(f"{key}={_text(value)}" for key, value in params.items())
        validate(type(base), apply_overrides(data, params), f"--over {said}")


def stored(home: Home, name: str) -> StudySpec | None:
    """The sweep that is stored under a name; None if nothing is."""
    if name not in _storage.stored_names(home):
        return None
    listed = _storage.load_study(home, name).user_attrs.get("listed", [])
    grid: dict[str, dict[str, Value]] = {}
    for params in listed:
        for key, value in params.items():
            grid.setdefault(key, {})[json.dumps(value)] = value
    return of_grid({key: tuple(values.values()) for key, values in grid.items()}) if grid else None


def name_of(spec: StudySpec, base: TrainConfig, config: Path) -> str:
    """A name of its own for each config and grid: where the config is from, the keys, a digest."""
    listed = spec.first(base)
    origin = config.resolve().parent.name if config.stem == "config" else config.stem
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:DIGEST]
    text = "-".join(["sweep", origin, *(listed[0] if listed else ()), digest])
    return re.sub(r"[^\w.+-]+", "-", text)
