"""What the numbers of a comparison do not say, in sentences."""

from backend.analysis.intervals import FEW_UNITS
from backend.analysis.paired import column_of
from backend.analysis.reports import Reports
from backend.core.comparisons import Contender, DataComparison, MetricDelta
from backend.scoring.evidence import Evidence

_NEVER = 1_000_000
_DECIDING_UNITS = 3
ALIKE = 0.05
"""Trainings whose numbers of steps differ by no larger share (of the fewer) are equally long."""


def about_sides(contenders: tuple[Contender, Contender], reports: Reports) -> tuple[str, ...]:
    """What follows from how both checkpoints, or files of predictions, came to be."""
    old, new = contenders
    given = old.checkpoint.path == reports[0].predictions
    files = "files of predictions" if given else "weight files"
    one = "Both are of one run, which" if _same_run(old, new) else "One run per side"
    warnings = [f"{one} speaks for these two {files}, not for their recipes."]
    if old.checkpoint.sha256 and old.checkpoint.sha256 == new.checkpoint.sha256:
        warnings.append("Both sides are the same file, so any difference is zero.")
    for side, contender in (("baseline", old), ("candidate", new)):
        picked = contender.selection
        if picked is not None and picked.trials > 1:
            warnings.append(
                f"The {side} was picked as the best of {picked.trials} trials of the study "
                f"'{picked.study}' by {picked.metric}: on the data that picked it, it looks "
                "better than it is; only data that no trial saw can tell."
            )
    if not _same_run(old, new):
        warnings += unequal_steps(old.steps, new.steps)
    return tuple(warnings)


def _same_run(old: Contender, new: Contender) -> bool:
    """Two checkpoints of one training: one was trained longer, and nothing else was changed."""
    return old.checkpoint.run == new.checkpoint.run != ""


def unequal_steps(baseline: int | None, candidate: int | None) -> list[str]:
    """What follows if one side was trained for clearly more optimizer steps."""
    if not baseline or not candidate:
        return []
    if abs(baseline - candidate) <= ALIKE * min(baseline, candidate):
        return []
    return [
        f"The baseline was trained for {baseline:,} optimizer steps and the candidate for "
        f"{candidate:,}: the longer training alone can explain a difference, so this shows no "
        "effect of anything else that was changed, such as made-up images; train both for "
        "equally many steps to see one."
    ]


def about_data(
    data: DataComparison, primary: str, baseline: Evidence, confidence: float
) -> tuple[str, ...]:
    """What follows from the split, the number of units and the classes that occur."""
    where = f"On the {data.role} data"
    head = next(delta for delta in data.metrics if delta.name == primary)
    warnings = [*_used_split(data, where), *_few_units(data, head, baseline, where)]
    if disagree(head, confidence):
        warnings.append(
            f"{where} the interval of {primary} says {head.verdict}, but a permutation test does "
            f"not (p {head.p_value:.3f}); take it as undecided."
        )
    warnings += _classes(data, baseline, where)
    for side, report in (("baseline", data.baseline_report), ("candidate", data.candidate_report)):
        warnings += [f"{where}, {side}: {text}" for text in report.warnings]
    return tuple(warnings)


def disagree(delta: MetricDelta, confidence: float) -> bool:
    """Does the interval claim a difference that the permutation test does not confirm?

    Twice the error rate is allowed, as both are estimates.
    """
    claimed = delta.verdict in {"better", "worse"}
    return claimed and delta.p_value is not None and delta.p_value > 2 * (1 - confidence)


def _used_split(data: DataComparison, where: str) -> list[str]:
    if data.role != "target" or data.split not in {"train", "val"}:
        return []
    return [
        f"{where} both were scored on the '{data.split}' split, which training, early stopping "
        "or a search has already used: what was picked on it looks better there than it is "
        "(winner's curse); decide on a holdout split."
    ]


def _few_units(
    data: DataComparison, head: MetricDelta, baseline: Evidence, where: str
) -> list[str]:
    """Too few units for a verdict, or too few for this difference."""
    carrying = int(baseline.carrying()[column_of(head.name, baseline)])
    said = _about_needed(head, data.unit)
    if carrying >= FEW_UNITS:
        return [f"{where} {head.name} is undecided: {said}."] if said else []
    carry = " carries" if carrying == 1 else "s carry"
    nothing = ", which decides nothing" if carrying < _DECIDING_UNITS else ""
    return [
        f"{where} only {carrying} {data.unit}{carry} ground truth{nothing}; with fewer than "
        f"{FEW_UNITS} a bootstrap interval is a rough guess, there is no p-value, and the verdict "
        f"should not be relied on{f'; {said}' if said else ''}."
    ]


def _about_needed(delta: MetricDelta, unit: str) -> str:
    if delta.needed is None:
        return ""
    if delta.needed > _NEVER:
        return f"at the spread seen here even a million {unit}s would not decide"
    rounded = float(f"{delta.needed:.2g}")
    return f"at the spread seen here about {rounded:,.0f} {unit}s would decide"


def _classes(data: DataComparison, baseline: Evidence, where: str) -> list[str]:
    carried = [
        int(units)
        for column, units in zip(baseline.columns, baseline.carrying(), strict=True)
        if column.label and column.metric == data.class_metric
    ]
    absent = sum(units == 0 for units in carried)
    rare = sum(0 < units < FEW_UNITS for units in carried)
    warnings = []
    if rare and baseline.carrying().max() >= FEW_UNITS:
        warnings.append(
            f"{where} {rare} of {len(carried) - absent} classes occur in fewer than {FEW_UNITS} "
            f"{data.unit}s; their own intervals are rough guesses."
        )
    if absent:
        warnings.append(
            f"{where} {absent} of {len(carried)} classes do not occur; the means leave them out."
        )
    return warnings
