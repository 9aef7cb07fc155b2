"""One search: what was tried, what came out, and what that does and does not say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.analysis import text
from backend.analysis.experts import against_dense
from backend.analysis.findings import stopped_trials
from backend.analysis.report import front, outlook, trials
from backend.analysis.report.blocks import (
    Block,
    Document,
    Drawing,
    bullets,
    cell,
    code,
)
from backend.analysis.report.conclusions import Remark, steps_of
from backend.analysis.report.trials import completed, names_of, real
from backend.core.comparisons import Comparison
from backend.core.records import StudyRecord, TrialRecord

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
    blocks: list[Block] = [f"# Study report: {cell(study.name)}", trials.summary(study)]
    if study.description:
        blocks.append(f"{cell(study.description)}.")
    blocks += ["## Conclusions", bullets(remark.said for remark in remarks)]
    steps = steps_of(remarks)
    blocks += ["## Next steps", bullets(steps)] if steps else []
    blocks += [*trials.front(study), *trials.space(study), *curves]
    blocks += trials.listing(study, search.plain, search.gflops)
    blocks += [] if study.objectives else trials.price(study)
    blocks += trials.importances(study)
    return Document(title, tuple(blocks))


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
        states = ", ".join(f"{n} {state}" for state, n in trials.states(study).items()) or "none"
        return [Remark("nothing", f"No trial has a value yet (trials: {states}).")]
    return [
        *(front.about_front(study, done) if study.objectives else about_best(study, done)),
        *about_plain(search, done),
        *(Remark("dense", f"{cell(said)}.") for said in against_dense(study, search.gflops)),
        *(Remark("compared", outlook.verdict(found)) for found in search.comparisons),
        *([] if study.objectives else about_edges(done)),
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
    plain, best, study = search.plain, done[0], search.study
    if plain is None and not any("freeze.strategy" in trial.params for trial in done):
        return []  # it searched something else
    if plain is None:
        return [Remark("no-plain", "No completed trial is known to be plain full fine-tuning.")]
    if study.objectives:
        return [front.about_plain(study, plain, done)]
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
    for name in names_of(done):
        values = [real(trial.params.get(name)) for trial in done]
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


def _place(value: float, low: float, high: float) -> float:
    """Where between both ends, from 0 to 1; by ratios where they are far apart."""
    if low > 0 and high / low >= LOG_SPAN:
        value, low, high = (float(np.log(x)) for x in (value, low, high))
    return (value - low) / (high - low)
