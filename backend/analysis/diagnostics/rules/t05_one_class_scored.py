"""T05: a track's score is read from the first class alone."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import NO_TRACKER, newest_tracks, of_tracker
from backend.analysis.text import number, plural
from backend.core.diagnosis import Fact
from backend.core.evidence import TracksSeen


def judge(evidence: Evidence) -> Verdict:
    """A score that suffices, and no track."""
    observed = newest_tracks(evidence)
    if observed is None:
        return Unknown(NO_TRACKER)
    seen = observed.seen
    top = seen.highest.get("1", 0.0)
    if len(seen.targets) > 1 and seen.births == 0 and seen.first_class < seen.threshold <= top:
        return _blind(seen, top)
    return Clear()


def _blind(seen: TracksSeen, top: float) -> Fired:
    return Fired(
        severity="error",
        headline=f"Nothing is tracked in {plural(seen.frames, 'frame')}, although scores reach "
        f"{number(top, 2)} and a track begins at {seen.threshold:g}: those of the first of "
        f"{len(seen.targets)} classes reach {number(seen.first_class, 2)} only.",
        cause="births are decided by the first class's score, not by the highest of all classes",
        advice=ADVICE,
        evidence=(
            Fact(name="highest score of the first class", value=seen.first_class,
                 limit=seen.threshold),
            Fact(name="highest score of all classes", value=top, limit=seen.threshold),
            Fact(name="tracks", value=float(seen.births), limit=1.0),
        ),
    )  # fmt: skip


ADVICE = Advice(
    "Take the highest score over classes as a query's score, in training and in inference alike; "
    "the public code reads column 0, which is right for one class only."
)

RULE = Rule(
    id="T05",
    title="Only the first class is scored",
    judge=judge,
    needs="The highest scores in a validation, of all classes and of the first (TracksObserved).",
    condition="No track begins although a score reaches the threshold, and the first class's do "
    "not, among several classes.",
    threshold="the run's own score threshold",
    source="specs/motrv2.md 2.5, row 5: the public code reads logit column 0",
    example="Scores reach 0.83, those of class 1 only 0.02, and no track begins at 0.5.",
    confirm=1,
    explains=below("T05"),
    concerns=of_tracker,
)
