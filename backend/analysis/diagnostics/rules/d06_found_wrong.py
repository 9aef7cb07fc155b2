"""D06: the validation of the data found something: N1 to N9, S1 to S4, V1 to V10."""

from collections.abc import Sequence

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.text import plain
from backend.core.diagnosis import Fact
from backend.core.evidence import DataFinding


def judge(evidence: Evidence) -> Verdict:
    """One sentence of each kind and all numbers, the gravest first, which decides."""
    told = evidence.survey
    if told is None or not (told.validated or told.tracks or told.findings):
        return Unknown("the trainer did not validate its data")
    findings = sorted(told.findings, key=lambda one: GRAVEST_FIRST.index(one.level))
    return _wrong(findings) if findings else Clear()


def _wrong(findings: Sequence[DataFinding]) -> Fired:
    gravest = findings[0].level
    kinds: dict[str, DataFinding] = {}
    for one in findings:
        kinds.setdefault(one.code, one)
    more = len(findings) - len(kinds)
    rest = f"; {more} more of these kinds" if more else ""
    return Fired(
        severity="stop" if gravest == "error" else "warning" if gravest == "warning" else "info",
        headline=f"{'; '.join(map(_said, kinds.values()))}{rest}.",
        cause=_said(findings[0]) if len(kinds) > 1 else "",
        sure="proven",
        advice=ADVICE[gravest],
        evidence=tuple(Fact(name=_placed(one), value=_numbers(one), step=0) for one in findings),
        step=0,
    )


def _numbers(found: DataFinding) -> str:
    """``wanted 1, declared 8``."""
    return ", ".join(f"{name.replace('_', ' ')} {plain(v)}" for name, v in found.numbers.items())


def _said(found: DataFinding) -> str:
    return f"{_placed(found)}: {found.sentence.rstrip('.')}"


def _placed(found: DataFinding) -> str:
    return f"{found.code} ({found.split})" if found.split else found.code


GRAVEST_FIRST = ("error", "warning", "note")
ADVICE = {
    "error": Advice(
        "Mend the data or what the config says of them; 'assay check CONFIG' tells in seconds "
        "whether they are right. No setting of the training helps before: start no study."
    ),
    "warning": Advice(
        "Training goes on. Keep the findings beside every number that comes out of it."
    ),
    "note": Advice("Nothing: it is as the config has it."),
}

RULE = Rule(
    id="D06",
    title="The data were found wrong before the first step",
    judge=judge,
    needs="The findings of the data's validation (DataSurveyed), which tracking and temporal data "
    "have.",
    condition="The validation found something, N1 to N9, S1 to S4 or V1 to V10.",
    threshold="stop if one of the findings is an error, else a warning, info for notes alone; the "
    "limits of each are those of 'assay dataset check'",
    source="specs/motrv2.md 2.4; the brief's failed run is N4 + N6 + N8",
    example="N4: the detection database tells no classes, but there are 8.",
    confirm=1,
    explains=below("D06"),
)
