"""T02: the detector's boxes are somewhere else than the objects."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import censuses, first_error, of_tracker
from backend.analysis.text import percent, plural
from backend.core.diagnosis import Fact
from backend.core.evidence import TrackCensus

RECALL = 0.05
"""Share of objects with a proposal at IoU 0.5."""


def judge(evidence: Evidence) -> Verdict:
    """The split with the lowest recall speaks."""
    known = [(one.recall, one) for one in censuses(evidence)
             if one.recall is not None and one.proposals]  # fmt: skip
    if not known:
        return Unknown("how many objects have a proposal was not counted")
    recall, worst = min(known, key=lambda pair: pair[0])
    return _missed(evidence, recall, worst) if recall < RECALL else Clear()


def _missed(evidence: Evidence, recall: float, worst: TrackCensus) -> Fired:
    return Fired(
        severity="error",
        headline=f"{percent(recall, 1)} of the objects of '{worst.split}' have a proposal at IoU "
        f"0.5, in {plural(worst.sampled, 'sampled frame')} with "
        f"{worst.proposals_per_frame or 0.0:.1f} proposals each.",
        cause=first_error(evidence, "N2", "N3")
        or "the proposals' coordinates have another scale, order or resolution",
        sure="proven",
        advice=ADVICE,
        evidence=(
            Fact(name=f"proposal recall of '{worst.split}'", value=recall, limit=RECALL, step=0),
            Fact(name="sampled frames", value=float(worst.sampled), step=0),
            Fact(name="proposals per frame", value=worst.proposals_per_frame or 0.0, step=0),
        ),
        step=0,
    )


ADVICE = Advice(
    "Draw some proposals on their frame: are they x, y, width and height in pixels of this very "
    "image size, or corners, shares or another resolution?"
)

RULE = Rule(
    id="T02",
    title="Proposals miss the objects",
    judge=judge,
    needs="The recall of the proposals over sampled frames (DataSurveyed).",
    condition="Hardly any object has a proposal at IoU 0.5 in a split.",
    threshold="under 5 % of the objects",
    source="specs/motrv2.md 2.5, row 2",
    example="0.4 % of the objects have a proposal: the database holds corners.",
    confirm=1,
    explains=below("T02"),
    concerns=of_tracker,
)
