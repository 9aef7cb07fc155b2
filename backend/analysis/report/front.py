"""What a search with several objectives says: a front to choose from, and no best trial."""

from collections.abc import Sequence

from backend.analysis import text
from backend.analysis.report.blocks import cell
from backend.analysis.report.conclusions import Remark
from backend.core.records import StudyRecord, TrialRecord


def about_front(study: StudyRecord, done: Sequence[TrialRecord]) -> list[Remark]:
    """Who is on it, from where to where it reaches, and why its values flatter.

    ``done`` are the completed trials, the best in the first objective first.
    """
    on_it = [trial for trial in done if trial.number in study.front]
    first, last = on_it[0], on_it[-1]
    if len(done) == 1:
        said = f"Trial {first.number} is the only one with values: {_reached(study, first)}."
        return [Remark("front", said)]
    if len(on_it) == 1:
        said = (
            f"Trial {first.number} alone is on the Pareto front: {_reached(study, first)}, and "
            f"none of {text.plural(len(done) - 1, 'other trial')} is better in either"
        )
        return [Remark("front", f"{said}."), _flattery(1, len(done))]
    said = (
        f"{len(on_it)} of {text.plural(len(done), 'trial')} are on the Pareto front, "
        f"{_list(on_it)}: no trial is better than one of these in every objective."
    )
    reach = (
        f"It reaches from {_reached(study, first)} (trial {first.number}) to "
        f"{_reached(study, last)} (trial {last.number})."
    )
    step = (
        "Choose from the front by what matters to you, and compare what you choose between on "
        f"data that no trial saw: `assay compare {first.run} {last.run} --split holdout`."
    )
    return [
        Remark("front", said),
        Remark("front-reach", reach, step),
        _flattery(len(on_it), len(done)),
    ]


def about_plain(study: StudyRecord, plain: TrialRecord, done: Sequence[TrialRecord]) -> Remark:
    """Where plain fine-tuning stands."""
    there = f"Plain full fine-tuning (trial {plain.number}, {_reached(study, plain)})"
    if plain.number in study.front:
        return Remark("plain-front", f"{there} is on the front: no trial dominates it.")
    above = [trial for trial in done if _dominates(study, trial, plain)]
    verb = "dominates" if len(above) == 1 else "dominate"
    said = (
        f"{there} is not on the front: {_list(above)} {verb} it, with one run each; a value of a "
        "search is no proof"
    )
    step = (
        "Compare on data that no trial saw: "
        f"`assay compare {plain.run} {above[0].run} --split holdout`."
    )
    return Remark("plain", f"{said}.", step)


def _dominates(study: StudyRecord, one: TrialRecord, other: TrialRecord) -> bool:
    signs = [1 if aim.direction == "maximize" else -1 for aim in study.aims]
    gains = [s * (a - b) for s, a, b in zip(signs, one.values, other.values, strict=True)]
    return min(gains) >= 0 < max(gains)


def _reached(study: StudyRecord, trial: TrialRecord) -> str:
    pairs = zip(study.aims, trial.values, strict=True)
    return " with ".join(f"{cell(aim.metric)} {text.number(value, 4)}" for aim, value in pairs)


def _list(trials: Sequence[TrialRecord]) -> str:
    numbers = [str(trial.number) for trial in trials]
    *others, last = numbers
    return f"trials {', '.join(others)} and {last}" if others else f"trial {last}"


def _flattery(picked: int, trials: int) -> Remark:
    they = "They were" if picked > 1 else "It was"
    said = (
        f"{they} picked from {trials} by these values, so the values are likely to be better than "
        "new data will show; each was trained once, and another seed may change who is on it."
    )
    return Remark("front-of", said)
