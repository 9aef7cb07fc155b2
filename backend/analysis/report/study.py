"""One search: what was tried, what came out, and what that does and does not say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.analysis import text
from backend.analysis.experts import against_dense
from backend.analysis.findings import stopped_trials
from backend.analysis.report import outlook
from backend.analysis.report.blocks import (
    Block,
    Document,
    Drawing,
    bullets,
    cell,
    code,
    facts,
    table,
)
from backend.analysis.report.conclusions import Remark, steps_of
from backend.core.comparisons import Comparison
from backend.core.records import StudyRecord, TrialRecord

Value = float | int | str | bool | None

LEAST_TRIALS = 5
"""With fewer values of a number, the best one is at an end of them by chance more often than
not."""

EDGE = 0.05
LOG_SPAN = 30.0


@dataclass(frozen=True)
class Search:
    """A study, and the comparisons that involve runs of its trials.

    ``strategies`` are the freezing strategies that its trainer offers; ``plain`` is the trial
    of plain fine-tuning, if one was completed. ``gflops`` is what an image costs, by run.
    """

    study: StudyRecord
    comparisons: tuple[Comparison, ...] = ()
    strategies: tuple[str, ...] = ()
    plain: TrialRecord | None = None
    gflops: Mapping[str, float] = field(default_factory=dict)


def document(search: Search, curves: Sequence[Drawing] = ()) -> Document:
    """The whole report: what follows first, then the trials."""
    study = search.study
    remarks = remarks_of(search)
    title = f"Study report: {study.name}"
    blocks: list[Block] = [f"# Study report: {cell(study.name)}", _summary(study)]
    if study.description:
        blocks.append(f"{cell(study.description)}.")
    blocks += ["## Conclusions", bullets(remark.said for remark in remarks)]
    steps = steps_of(remarks)
    blocks += ["## Next steps", bullets(steps)] if steps else []
    blocks += _space(study)
    blocks += [*curves, *_trials(search), *_importances(study)]
    return Document(title, tuple(blocks))


def completed(study: StudyRecord) -> list[TrialRecord]:
    """Trials with a value, the best first."""
    done = [t for t in study.trials if t.state == "complete" and t.value is not None]
    sign = -1 if study.direction == "maximize" else 1
    return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def plain_trial(study: StudyRecord) -> TrialRecord | None:
    """The first completed trial with the recipe that the study began with: full fine-tuning."""
    recipe = next(
        (t.params for t in study.trials if t.params.get("freeze.strategy") == "full"), {}
    )
    done = sorted(completed(study), key=lambda trial: trial.number)
    begun = bool(study.trials) and study.trials[0].params == recipe
    return next((t for t in done if t.params == recipe), None) if begun else None


def remarks_of(search: Search) -> list[Remark]:
    """Everything that follows, in the order in which it is read."""
    study = search.study
    done = completed(study)
    if not done:
        states = ", ".join(f"{n} {state}" for state, n in _states(study).items()) or "none"
        return [Remark("nothing", f"No trial has a value yet (trials: {states}).")]
    return [
        *about_best(study, done),
        *about_plain(search, done),
        *(Remark("dense", f"{cell(said)}.") for said in against_dense(study, search.gflops)),
        *(Remark("compared", outlook.verdict(found)) for found in search.comparisons),
        *about_edges(done),
        *about_strategies(search, done),
        *(Remark("stopped", f"{cell(said)}.") for said in stopped_trials(study)),
        *about_failures(study),
    ]


def about_best(study: StudyRecord, done: Sequence[TrialRecord]) -> list[Remark]:
    """The best value, and why it flatters."""
    best, metric = done[0], cell(study.metric)
    said = f"Trial {best.number} has the best {metric}, {text.number(best.value, 4)}"
    if len(done) == 1:
        return [Remark("best", f"{said}; it is the only one with a value.")]
    gap = abs((best.value or 0.0) - (done[1].value or 0.0))
    winner = (
        f"It was picked as the best of {len(done)} by that value, so the value is likely to be "
        "better than new data will show."
    )
    return [
        Remark("best", f"{said}, {text.number(gap, 4)} from the next, trial {done[1].number}."),
        Remark("best-of", winner),
    ]


def about_plain(search: Search, done: Sequence[TrialRecord]) -> list[Remark]:
    """Where plain fine-tuning stands, and whether anything was shown against it."""
    plain, best = search.plain, done[0]
    if plain is None and not any("freeze.strategy" in trial.params for trial in done):
        return []  # it searched something else
    if plain is None:
        return [Remark("no-plain", "No completed trial is known to be plain full fine-tuning.")]
    if plain.number == best.number:
        others = text.plural(len(done) - 1, "other trial")
        return [Remark("plain-best", f"None of {others} has a better value than plain full "
                       f"fine-tuning (trial {plain.number}).")]  # fmt: skip
    ahead = done.index(plain)
    said = (
        f"{text.plural(ahead, 'trial')} of {len(done)} {'has' if ahead == 1 else 'have'} a better "
        f"value than plain full fine-tuning (trial {plain.number}, "
        f"{text.number(plain.value, 4)}), with one run each; a value of a search is no proof"
    )
    remarks = [Remark("plain", f"{said}.")]
    pair = {plain.run, best.run}
    if not any({f.baseline.checkpoint.run, f.candidate.checkpoint.run} == pair
               for f in search.comparisons):  # fmt: skip
        remarks.append(
            Remark(
                "not-compared",
                f"Trial {best.number} was not compared with plain full fine-tuning on the same "
                "units, so which one is better is not known.",
                "Compare them on data that no trial saw: "
                f"`assay compare {plain.run} {best.run} --split holdout`.",
            )
        )
    return remarks


def about_edges(done: Sequence[TrialRecord]) -> list[Remark]:
    """Numbers whose best value lies at an end of what was tried."""
    remarks = []
    for name in _names(done):
        values = [_real(trial.params.get(name)) for trial in done]
        tried = sorted({value for value in values if value is not None})
        best = values[0]
        if best is None or len(tried) < LEAST_TRIALS:
            continue
        low, high = tried[0], tried[-1]
        place = _place(best, low, high)
        if EDGE < place < 1 - EDGE:
            continue
        end, beyond = ("lower", "below") if place <= EDGE else ("upper", "above")
        said = (
            f"The best trial's {code(name)}, {text.plain(best)}, lies at the {end} end of what "
            f"was tried ({text.plain(low)} to {text.plain(high)})."
        )
        remarks.append(Remark("edge", said, f"Try {code(name)} {beyond} {text.plain(best)}."))
    return remarks


def about_strategies(search: Search, done: Sequence[TrialRecord]) -> list[Remark]:
    """Freezing strategies without any value."""
    known = {trial.params.get("freeze.strategy") for trial in done}
    missing = [name for name in search.strategies if name not in known]
    if not missing or known == {None}:
        return []
    names = ", ".join(code(name) for name in missing)
    return [
        Remark(
            "unexplored",
            f"No completed trial used the freezing strateg{'ies' if len(missing) > 1 else 'y'} "
            f"{names}.",
            f"Let the search try {names}.",
        )
    ]


def about_failures(study: StudyRecord) -> list[Remark]:
    """Trials that ended without a value of their own."""
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if not failed:
        return []
    why = next((trial.note for trial in failed if trial.note), "")
    said = f"{len(failed)} of {text.plural(len(study.trials), 'trial')} failed"
    return [Remark("failed", f"{said}{f', the first: {cell(why)}' if why else ''}.")]


def _summary(study: StudyRecord) -> str:
    states = ", ".join(f"{count} {state}" for state, count in _states(study).items())
    return (
        f"{text.plural(len(study.trials), 'trial')} of {study.target} asked for"
        f"{f' ({states})' if states else ''}; {cell(study.metric)} is to be {study.direction}d."
    )


def _states(study: StudyRecord) -> Counter[str]:
    return Counter(trial.state for trial in study.trials)


def _space(study: StudyRecord) -> list[Block]:
    rows = []
    for name in _names(study.trials):
        tried = [trial.params[name] for trial in study.trials if name in trial.params]
        rows.append((code(name), _tried(tried)))
    return ["## What was tried", facts(rows)] if rows else []


def _tried(values: Sequence[Value]) -> str:
    numbers = [found for value in values if (found := _real(value)) is not None]
    if len(numbers) == len(values) and len(set(numbers)) > LEAST_TRIALS:
        return f"{text.plain(min(numbers))} to {text.plain(max(numbers))}"
    if len(numbers) == len(values):
        values = sorted(numbers)
    counts = Counter(_said(value) for value in values)
    return ", ".join(f"{cell(value)} ({count})" for value, count in counts.items())


def _trials(search: Search) -> list[Block]:
    study = search.study
    names = _names(study.trials)
    rank = {trial.number: place for place, trial in enumerate(completed(study))}
    plain = search.plain.number if search.plain else None
    costly = any(trial.run in search.gflops for trial in study.trials)
    rows = [
        (
            f"{trial.number}{_mark(trial.number, study.best, plain)}",
            *(cell(_said(trial.params[name])) if name in trial.params else "" for name in names),
            trial.state,
            text.number(trial.value, 4),
            *([text.number(search.gflops.get(trial.run), 2)] if costly else []),
        )
        for trial in sorted(study.trials, key=lambda t: (rank.get(t.number, len(rank)), t.number))
    ]
    head = ("trial", *map(code, names), "state")
    numbers = (cell(study.metric), *(["GFLOP per image"] if costly else []))
    return ["## Trials", "The best first.", table((*head, *numbers), rows, left=len(head))]


def _mark(number: int, best: int | None, plain: int | None) -> str:
    words = [word for word, at in (("best", best), ("plain", plain)) if number == at]
    return f" ({', '.join(words)})" if words else ""


def _importances(study: StudyRecord) -> list[Block]:
    if not study.importances:
        return []
    rows = sorted(study.importances.items(), key=lambda item: -item[1])
    note = (
        "Share of the variance of the values that each parameter explains (fANOVA), as estimated "
        f"from {text.plural(len(completed(study)), 'trial')}."
    )
    shown = [(code(name), text.percent(share)) for name, share in rows]
    return ["## Importance", note, table(("parameter", "share"), shown, left=1)]


def _names(trials: Sequence[TrialRecord]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.params))


def _said(value: Value) -> str:
    number = _real(value)
    return text.plain(number) if number is not None else "none" if value is None else str(value)


def _real(value: Value) -> float | None:
    return None if isinstance(value, bool | str) or value is None else float(value)


def _place(value: float, low: float, high: float) -> float:
    """Where between both ends, from 0 to 1; by ratios where they are far apart."""
    if low > 0 and high / low >= LOG_SPAN:
        value, low, high = (float(np.log(x)) for x in (value, low, high))
    return (value - low) / (high - low)
