"""T01: not one of the detector's boxes reaches the tracker."""

from collections.abc import Sequence

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import (
    NO_TRACKER,
    censuses,
    first_error,
    newest_tracks,
    of_tracker,
)
from backend.analysis.text import plural
from backend.core.diagnosis import Fact
from backend.core.evidence import TrackCensus


def judge(evidence: Evidence) -> Verdict:
    """By the database of each split, and by what the network was given."""
    splits, observed = censuses(evidence), newest_tracks(evidence)
    refused = first_error(evidence, "N1", "N2")
    if not splits and observed is None:
        return Unknown(NO_TRACKER)
    if splits and not refused and all(one.proposals is None for one in splits):
        return Unknown("the tracker is given no detector's boxes")
    dry = [one for one in splits if not one.proposals]
    if dry:
        return _none([f"'{one.split}'" for one in dry], dry, refused or KEYS)
    if observed is not None and observed.seen.proposals == 0:
        there = sum(one.proposals or 0 for one in splits if one.split == observed.split)
        lost = f"the database has {there:,}: they are lost on the way to the network"
        return _none([f"'{observed.split}'"], splits, lost if there else KEYS)
    return Clear()


def _none(names: Sequence[str], splits: Sequence[TrackCensus], cause: str) -> Fired:
    frames = sum(one.frames for one in splits)
    counted = f": 0 in {plural(frames, 'frame')}" if frames else ""
    return Fired(
        severity="error",
        headline=f"No proposal of {' and '.join(names)} reaches the model{counted}.",
        cause=cause,
        sure="proven" if cause != KEYS else "likely",
        advice=ADVICE,
        evidence=(
            Fact(name="proposals that reach the model", value=0.0, limit=1.0),
            *(Fact(name=f"proposals of '{one.split}' in the database",
                   value=float(one.proposals or 0), limit=1.0) for one in splits),
        ),
        step=0,
    )  # fmt: skip


KEYS = "the database's keys or its order of fields do not fit the frames"
ADVICE = Advice(
    "Hold a key of the detection database against the path of a frame, and declare its order of "
    "fields; 'assay dataset check' shows both."
)

RULE = Rule(
    id="T01",
    title="No proposals reach the model",
    judge=judge,
    needs="The tracking splits as counted (DataSurveyed), or what reached the network "
    "(TracksObserved).",
    condition="A detection database is in use, and 0 of its boxes reach the model in a split.",
    threshold="0 proposals",
    source="specs/motrv2.md 2.5, row 1",
    example="0 proposals in 160 frames: the keys have 6 digits, the frames 8.",
    confirm=1,
    explains=below("T01"),
    concerns=of_tracker,
)
