"""Numbers of a study: what was tried, how it went, which parameters to draw."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.core.records import StudyRecord, TrialRecord
from dashboard.formatting import MINUS, plain

STATES = ("complete", "running", "pruned", "failed", "waiting")
ABSENT = "none"
LOG_SPAN = 30.0  # a parameter whose largest value is so many times the smallest is drawn in log


@dataclass(frozen=True)
class Dimension:
    """One parameter over the finished trials. Categories are positions in ``labels``."""

    name: str
    values: tuple[float, ...]
    labels: tuple[str, ...] = ()
    log: bool = False


@dataclass(frozen=True)
class Roles:
    """Which parameters are the learning rate, the strategy and the layer decay, if any."""

    rate: str | None
    strategy: str | None
    decay: str | None


def states(study: StudyRecord) -> dict[str, int]:
    """How many trials are in each state, in the order in which people ask."""
    found: Counter[str] = Counter(trial.state for trial in study.trials)
    return {state: found[state] for state in STATES if found[state]}


def complete(study: StudyRecord) -> list[TrialRecord]:
    """Trials with a value, in order."""
    done = [t for t in study.trials if t.state == "complete" and t.value is not None]
    return sorted(done, key=lambda trial: trial.number)


def best_trial(study: StudyRecord) -> TrialRecord | None:
    """The best trial as the study names it."""
    return next((t for t in study.trials if t.number == study.best), None)


def front_trials(study: StudyRecord) -> list[TrialRecord]:
    """The trials on the Pareto front, in the order of the study; empty with one objective."""
    by_number = {trial.number: trial for trial in study.trials}
    return [by_number[number] for number in study.front]


def best_so_far(study: StudyRecord) -> tuple[list[int], list[float]]:
    """Trial numbers and the best value after each, drawn to the last trial."""
    better = max if study.direction == "maximize" else min
    numbers: list[int] = []
    values: list[float] = []
    for trial in complete(study):
        value = trial.value if trial.value is not None else math.nan
        numbers.append(trial.number)
        values.append(better(values[-1], value) if values else value)
    last = max((trial.number for trial in study.trials), default=0)
    if numbers and numbers[-1] < last:
        numbers.append(last)
        values.append(values[-1])
    return numbers, values


def roles(study: StudyRecord) -> Roles:
    """Found by the last part of the parameter's name; ``lr.all`` is the rate of all, and of
    several groups' rates the one that most trials have stands for them."""
    names = parameter_names(study)

    def ending(*ends: str) -> str | None:
        hits = [n for n in names for end in ends if n.removesuffix(".all").split(".")[-1] == end]
        return max(hits, key=len) if hits else None

    of_groups = [name for name in names if _of_group(name)]
    usual = max(of_groups, key=lambda n: sum(n in t.params for t in study.trials), default=None)
    rate = ending("lr0", "lr", "learning_rate") or usual
    return Roles(rate, ending("strategy"), ending("layer_decay"))


def _of_group(name: str) -> bool:
    """Is it the rate of a group of parameters, as ``optimizer.lr.detector``?"""
    return name.split(".")[-2:-1] == ["lr"]


def parameter_names(study: StudyRecord) -> list[str]:
    """All suggested parameters, in the order in which they first appear."""
    return list(dict.fromkeys(name for trial in study.trials for name in trial.params))


def short_names(names: Sequence[str]) -> list[str]:
    """The last part of each dotted name (``lr`` of ``lr.all``, else ``lr.detector``), or all of it
    where that is ambiguous."""
    parts = [name.removesuffix(".all").split(".") for name in names]
    ends = [".".join(part[-2:] if _of_group(".".join(part)) else part[-1:]) for part in parts]
    return [e if ends.count(e) == 1 else n for n, e in zip(names, ends, strict=True)]


def dimensions(study: StudyRecord) -> list[Dimension]:
    """The parameters that differ between finished trials, as axes."""
    done = complete(study)
    found = [
        _dimension(name, [t.params.get(name) for t in done]) for name in parameter_names(study)
    ]
    return [one for one in found if len(set(one.values)) > 1]


def _dimension(name: str, values: Sequence[object]) -> Dimension:
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == len(values):
        low, high = min(numbers), max(numbers)
        return Dimension(name, tuple(numbers), log=low > 0 and high / low >= LOG_SPAN)
    texts = [text_of(value) for value in values]
    labels = tuple(sorted(set(texts), key=lambda text: (text != ABSENT, _sort_key(text))))
    return Dimension(name, tuple(float(labels.index(text)) for text in texts), labels)


def _sort_key(text: str) -> tuple[int, float, str]:
    try:
        return 0, float(text.replace(MINUS, "-")), ""
    except ValueError:
        return 1, 0.0, text


def text_of(value: object) -> str:
    """A parameter's value as a category; absent ones (conditional parameters) share one."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ABSENT if value is None else plain(value)


def log_ticks(low: float, high: float) -> list[float]:
    """Round values for a logarithmic axis: 1, 3 or 1, 2, 5 of each power of ten."""
    steps = (1, 3) if high / low > 50 else (1, 2, 5)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in powers for step in steps]


def category(params: Mapping[str, object], name: str | None) -> str:
    """The category of one trial for a parameter that may not exist."""
    return text_of(params.get(name)) if name else ABSENT
