"""The tables of a search: what was tried, and what came out of each trial."""

from collections import Counter
from collections.abc import Mapping, Sequence

from backend.analysis import text
from backend.analysis.costs import NOTE, bought, known_costs
from backend.analysis.report.blocks import Block, cell, code, facts, table
from backend.core.records import StudyRecord, TrialRecord

Value = float | int | str | bool | None

STRATEGY = "freeze.strategy"
LEAST_VALUES = 5
"""Up to so many different numbers are listed; of more, the ends."""


def completed(study: StudyRecord) -> list[TrialRecord]:
    """Trials with a value, the best first."""
    done = [t for t in study.trials if t.state == "complete" and t.value is not None]
    sign = -1 if study.direction == "maximize" else 1
    return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def summary(study: StudyRecord) -> str:
    """How far it is, and what it is judged by."""
    counts = ", ".join(f"{count} {state}" for state, count in states(study).items())
    aims = " and ".join(f"{cell(aim.metric)} is to be {aim.direction}d" for aim in study.aims)
    return (
        f"{text.plural(len(study.trials), 'trial')} of {study.target} asked for"
        f"{f' ({counts})' if counts else ''}; {aims}."
    )


def states(study: StudyRecord) -> Counter[str]:
    """How many trials are in each state."""
    return Counter(trial.state for trial in study.trials)


def space(study: StudyRecord) -> list[Block]:
    """What was tried of each parameter."""
    rows = []
    for name in names_of(study.trials):
        tried = [trial.params[name] for trial in study.trials if name in trial.params]
        rows.append((code(name), _tried(tried)))
    return ["## What was tried", facts(rows)] if rows else []


def _tried(values: Sequence[Value]) -> str:
    numbers = [found for value in values if (found := real(value)) is not None]
    if len(numbers) == len(values) and len(set(numbers)) > LEAST_VALUES:
        return f"{text.plain(min(numbers))} to {text.plain(max(numbers))}"
    if len(numbers) == len(values):
        values = sorted(numbers)
    counts = Counter(said_of(value) for value in values)
    return ", ".join(f"{cell(value)} ({count})" for value, count in counts.items())


def front(study: StudyRecord) -> list[Block]:
    """The trials that none dominates, where there are several objectives."""
    on_it = [trial for trial in completed(study) if trial.number in study.front]
    if not on_it:
        return []
    names = names_of(study.trials)
    rows = [(str(trial.number), *_params(trial, names), *_values(trial, study)) for trial in on_it]
    head = ("trial", *map(code, names))
    numbers = tuple(cell(aim.metric) for aim in study.aims)
    note = f"The best {cell(study.metric)} first. Which one to take is a choice, not a result."
    return ["## Pareto front", note, table((*head, *numbers), rows, left=len(head))]


def listing(
    study: StudyRecord, plain: TrialRecord | None, gflops: Mapping[str, float]
) -> list[Block]:
    """Every trial, the best first; ``gflops`` is what an image costs, by run."""
    names = names_of(study.trials)
    rank = {trial.number: place for place, trial in enumerate(completed(study))}
    costly = any(trial.run in gflops for trial in study.trials)
    took = known_costs(study)
    rows = [
        (
            f"{trial.number}{_mark(trial, study, plain)}",
            *_params(trial, names),
            trial.state,
            *_values(trial, study),
            *([text.number(gflops.get(trial.run), 2)] if costly else []),
            *(cost.text(trial, text.ABSENT) for cost in took),
        )
        for trial in sorted(study.trials, key=lambda t: (rank.get(t.number, len(rank)), t.number))
    ]
    head = ("trial", *map(code, names), "state")
    numbers = (
        *(cell(aim.metric) for aim in study.aims),
        *(["GFLOP per image"] if costly else []),
        *(cost.title for cost in took),
    )
    first = f"The best {cell(study.metric)} first." if study.objectives else "The best first."
    note = f"{first} {NOTE}" if took else first
    return ["## Trials", note, table((*head, *numbers), rows, left=len(head))]


def price(study: StudyRecord) -> list[Block]:
    """What the next better value takes, of each cost in which trials differ."""
    blocks: list[Block] = []
    for cost in known_costs(study):
        priced = {cost.of(trial) for trial in completed(study)} - {None}
        front = bought(study, cost)
        if len(priced) < 2:
            continue
        names = [STRATEGY] if any(STRATEGY in trial.params for trial in front) else []
        rows = [
            (str(t.number), *_params(t, names), cost.text(t), text.number(t.value, 4))
            for t in front
        ]
        head = ("trial", *map(code, names), cost.title, cell(study.metric))
        blocks += [f"### By {cost.title}", table(head, rows, left=1 + len(names))]
    note = (
        "The trials than which no other one reaches as much for less; one run each, and a value "
        "that was searched for flatters."
    )
    return ["## What more buys", note, *blocks] if blocks else []


def _params(trial: TrialRecord, names: Sequence[str]) -> list[str]:
    return [cell(said_of(trial.params[n])) if n in trial.params else "" for n in names]


def _values(trial: TrialRecord, study: StudyRecord) -> list[str]:
    values = trial.values if study.objectives else (trial.value,)
    return [text.number(value, 4) for value in values] or [""] * len(study.aims)


def _mark(trial: TrialRecord, study: StudyRecord, plain: TrialRecord | None) -> str:
    marks = {
        "best": trial.number == study.best,
        "front": trial.number in study.front,
        "plain": plain is not None and trial.number == plain.number,
    }
    words = [word for word, here in marks.items() if here]
    return f" ({', '.join(words)})" if words else ""


def importances(study: StudyRecord) -> list[Block]:
    """What each parameter explains of each objective."""
    known = [aim for aim in study.aims if aim.importances]
    if not known:
        return []
    shares = [aim.importances or {} for aim in known]
    names = sorted({name for one in shares for name in one},
                   key=lambda name: [-one.get(name, 0.0) for one in shares])  # fmt: skip
    note = (
        "Share of the variance of the values that each parameter explains (fANOVA), as estimated "
        f"from {text.plural(len(completed(study)), 'trial')}."
    )
    heads = [f"share of {cell(aim.metric)}" for aim in known] if study.objectives else ["share"]
    shown = [(code(n), *(text.percent(one.get(n)) for one in shares)) for n in names]
    return ["## Importance", note, table(("parameter", *heads), shown, left=1)]


def names_of(trials: Sequence[TrialRecord]) -> list[str]:
    """The searched parameters, in the order in which they appear."""
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def said_of(value: Value) -> str:
    """A parameter's value in words."""
    number = real(value)
    return text.plain(number) if number is not None else "none" if value is None else str(value)


def real(value: Value) -> float | None:
    """A parameter's value if it is a number."""
    return None if isinstance(value, bool | str) or value is None else float(value)
