"""D01: input files are missing."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.text import percent, sentence
from backend.core.diagnosis import Fact, Severity
from backend.core.evidence import InputCensus

ERROR, STOP = 0.05, 0.5
"""Shares of missing files."""


def judge(evidence: Evidence) -> Verdict:
    """The split with the largest share of missing files speaks."""
    told = [c for c in evidence.survey.inputs if c.expected] if evidence.survey else []
    if not told:
        return Unknown("the trainer did not count its input files")
    lacking = sorted((c for c in told if c.found < c.expected), key=_share, reverse=True)
    return _missing(lacking) if lacking else Clear()


def _share(census: InputCensus) -> float:
    return 1 - census.found / census.expected


def _missing(lacking: list[InputCensus]) -> Fired:
    worst = lacking[0]
    gone, severity = worst.expected - worst.found, _severity(_share(worst))
    headline = (
        f"{gone:,} of {worst.expected:,} {worst.what} of '{worst.split}' are missing in "
        f"{worst.searched}"
    )
    filled = ", and each is replaced by zeros" if worst.policy == "zeros" else ""
    return Fired(
        severity=severity,
        headline=f"{headline}{filled}.",
        cause=f"{gone:,} of {worst.expected:,} {worst.what} are missing{filled}",
        sure="proven",
        advice=_advice(worst, severity),
        evidence=tuple(
            Fact(name=f"missing in '{c.split}'", value=float(c.expected - c.found), limit=0.0)
            for c in lacking
        ),
        step=0,
    )


def _severity(share: float) -> Severity:
    if share >= STOP:
        return "stop"
    return "error" if share >= ERROR else "warning"


def _advice(census: InputCensus, severity: Severity) -> Advice:
    names = ", ".join(census.missing[:5])
    found = f" {sentence(census.elsewhere)}" if census.elsewhere else ""
    text = f"Correct the folder: {census.searched} was searched for {names or census.what}.{found}"
    there = (Turn("pose_dir", values=(census.folder,)),) if census.folder else ()
    if severity == "stop":
        said = f"{text} No setting helps until the input is there: start no study."
        return Advice(said, change=there)
    rest = f"Or leave the {percent(_share(census), 1)} out of the loss (mask)."
    return Advice(f"{text} {rest}", change=there or (Turn("missing", values=("mask",)),))


RULE = Rule(
    id="D01",
    title="Input files are missing",
    judge=judge,
    needs="A census of the input files of each split (DataSurveyed).",
    condition="At least one expected input file is not there.",
    threshold="warning above 0; error from 5 %, stop from 50 % of a split's files",
    source="specs/mdfed.md 1 and 8: the public loader replaces a missing file by zeros",
    example="pose_dir points to an empty folder: 160 of 160 skeleton files are missing.",
    confirm=1,
    explains=below("D01"),
)
