"""Sentences about how a run ended, what it was evaluated on and what it was compared with."""

from collections.abc import Iterable, Sequence

from backend.analysis import text
from backend.analysis.intervals import FEW_UNITS
from backend.analysis.report.blocks import cell
from backend.analysis.report.conclusions import Remark
from backend.analysis.report.course import Course
from backend.analysis.report.machine import InUse
from backend.analysis.report.progress import resumptions
from backend.core.comparisons import Comparison
from backend.core.diagnosis import Diagnosis
from backend.core.records import EvalReport, Finding, Run
from backend.hardware.ladder import in_words

USED = {
    "train": "which the model was trained on",
    "val": "which also picked the checkpoint",
}


def about_record(course: Course, imported: bool) -> list[Remark]:
    """A record that does not begin with the first epoch."""
    epochs, curve = course.epochs, course.finite(course.headline)
    if not epochs or epochs[0] <= 1 or (not imported and resumptions(course)):
        return []
    said = (
        f"The record holds epochs {epochs[0]} to {epochs[-1]}, {len(epochs)} in all; of epochs "
        f"1 to {epochs[0] - 1} nothing is known, nor of the weights that epoch {epochs[0]} "
        "began with"
    )
    if curve:
        first = min(curve)
        value = text.number(curve[first], 4)
        said += f". {cell(course.headline)} was first measured at epoch {first}: {value}"
    return [Remark("record", f"{said}.")]


def about_room(memory: InUse | None) -> list[Remark]:
    """A GPU of whose memory less than half was used."""
    if memory is None or memory.share > 0.5:
        return []
    said = (
        f"GPU memory did not limit this training: at most {memory.used:.1f} of "
        f"{memory.total:.1f} {memory.unit} ({text.percent(memory.share)}) were in use. Twice the "
        "batch would have fitted, and a larger card was not needed; whether a larger batch "
        "trains faster or better is not known."
    )
    return [Remark("room", said)]


def about_ending(course: Course) -> list[Remark]:
    """A run that ended before its plan."""
    epochs = course.epochs
    if not epochs or epochs[-1] >= course.planned:
        return []
    said = f"{course.planned} epochs were planned; the last with values is epoch {epochs[-1]}."
    return [Remark("ending", said)]


def about_memory(course: Course) -> list[Remark]:
    """A run that went on with less, because memory ran out."""
    if not course.recoveries:
        return []
    times = text.plural(len(course.recoveries), "time")
    last = course.recoveries[-1]
    lowered = {k: v for k, v in last.effective.items() if v != last.requested.get(k)}
    settings = ", ".join(f"{key} {in_words(value)}" for key, value in lowered.items())
    said = f"Memory ran out and the run stepped down {times}, in the end to {cell(settings)}."
    step = "Ask for what fits from the start where runs are to be compared with this one."
    return [Remark("memory", said, step)]


def about_evaluation(report: EvalReport | None, run: Run) -> list[Remark]:
    """What the final evaluation cannot say."""
    if report is None:
        said = "There is no final evaluation, so nothing is known per class or per unit."
        return [Remark("no-evaluation", said)]
    units = text.plural(report.units, report.unit)
    remarks = []
    if report.split in USED:
        said = (
            f"The final evaluation is on the {units} of '{report.split}', {USED[report.split]}, "
            "so it is likely to look better than on new data."
        )
        step = (
            "Score it on data that picked nothing, such as a holdout: "
            f"`assay evaluate {run.key} --split holdout`."
        )
        remarks.append(Remark("used-split", said, step))
    if report.units < FEW_UNITS:
        said = f"The final evaluation rests on {units}; fewer than {FEW_UNITS} decide little."
        remarks.append(Remark("few-units", said))
    return remarks


def about_comparisons(
    run: Run, comparisons: Sequence[Comparison], other: Run | None
) -> list[Remark]:
    """What comparisons decided about this run; that nothing is decided where there is none.

    ``other`` is the run that this one stands beside in the report.
    """
    remarks = [Remark("compared", verdict(found)) for found in comparisons]
    if other is not None and not any(involves(found, other) for found in comparisons):
        remarks.append(
            Remark(
                "not-compared",
                f"No comparison with '{cell(other.name)}' was made, so which of the two is better "
                "is not known.",
                f"Compare them on the same units: `assay compare {other.key} {run.key}`.",
            )
        )
    return remarks


def involves(comparison: Comparison, run: Run) -> bool:
    """Is a checkpoint of this run one of the sides?"""
    sides = (comparison.baseline, comparison.candidate)
    return any(side.checkpoint.run == run.key for side in sides)


def verdict(comparison: Comparison) -> str:
    """A comparison in one sentence, with its interval."""
    head, data = comparison.headline, comparison.target
    new, old = cell(comparison.candidate.label), cell(comparison.baseline.label)
    said = f"'{new}' {text.said(head.verdict)} '{old}' in {cell(head.name)}"
    if head.low is not None:
        level = text.level(comparison.confidence)
        said += f": {text.signed(head.delta)} ({level} interval {text.interval(head)})"
    where = cell(text.scored_on(data.units, data.unit, data.split))
    if data.units < FEW_UNITS and head.verdict in {"better", "worse"}:
        where += ", which are too few to rely on it"
    return f"{said}, on {where} (comparison `{comparison.key}`)."


def about_diagnosis(diagnosis: Diagnosis | None) -> list[Remark]:
    """The verdict of the rules, and each finding above info."""
    if diagnosis is None:
        return []
    serious = [f for f in diagnosis.findings if f.severity != "info"]
    return [
        Remark("diagnosis", f"Diagnosis: {cell(diagnosis.verdict.rstrip('.'))}."),
        *(
            Remark(
                found.rule,
                f"{found.severity.capitalize()}: {cell(found.headline.rstrip('.'))}.",
                _sentence(found.action.advice),
            )
            for found in serious
        ),
    ]


def about_findings(findings: Iterable[Finding]) -> list[Remark]:
    """Errors and warnings that somebody has to look at."""
    return [
        Remark(
            finding.rule,
            f"{finding.severity.capitalize()}: {cell(finding.message)}.",
            _sentence(finding.action),
        )
        for finding in findings
        if finding.severity != "info"
    ]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:].rstrip('.')}." if words else ""
