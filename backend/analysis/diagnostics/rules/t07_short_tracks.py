"""T07: tracks begin, and none of them lasts."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import (
    NO_TRACKER,
    census_of,
    first_error,
    newest_tracks,
    of_tracker,
    unsettled,
)
from backend.analysis.text import plural
from backend.core.diagnosis import Fact, Sure
from backend.core.events import TracksObserved
from backend.core.evidence import TrackCensus

SHORT = 3
"""Frames of a track below which it is none."""
FEW = 5
"""Tracks from which on they tell something."""
ALL = 0.95
"""Share of the tracks that is all of them, but for chance."""


def judge(evidence: Evidence) -> Verdict:
    """By the number of frames that each track was shown in."""
    observed = newest_tracks(evidence)
    if observed is None:
        return Unknown(NO_TRACKER)
    split = census_of(evidence, observed.split)
    if split is not None and split.frames < SHORT * split.sequences:
        return Unknown(f"the sequences have fewer than {SHORT} frames")
    if observed.seen.births < FEW or observed.seen.short < ALL * observed.seen.births:
        return Clear()
    waiting = unsettled(evidence)
    return _broken(evidence, observed) if waiting is None else waiting


def _broken(evidence: Evidence, observed: TracksObserved) -> Fired:
    seen, split = observed.seen, census_of(evidence, observed.split)
    cause, sure, advice = _why(evidence, observed, split)
    return Fired(
        severity="error",
        headline=f"{seen.short:,} of {plural(seen.births, 'track')} in "
        f"{plural(seen.frames, 'frame')} are shown in fewer than {SHORT} frames.",
        cause=cause,
        sure=sure,
        advice=advice,
        evidence=(
            Fact(name="tracks", value=float(seen.births)),
            Fact(name=f"of fewer than {SHORT} frames", value=float(seen.short),
                 limit=ALL * seen.births),
            *(Fact(name="frames of a track" if q == "0.5" else "frames of the longest track",
                   value=v, limit=float(SHORT)) for q, v in seen.lengths.items()),
            *([Fact(name="frames of an annotated track", value=split.track_length)]
              if split and split.track_length is not None else []),
        ),
    )  # fmt: skip


def _why(
    evidence: Evidence, observed: TracksObserved, split: TrackCensus | None
) -> tuple[str, Sure, Advice]:
    """The annotation first, then what is shown, then what hands queries on."""
    if ids := first_error(evidence, "N7"):
        return ids, "proven", IDS
    if split is not None and split.identities == "per-box":
        return PER_BOX, "proven", IDS
    if observed.seen.lengths.get("1") == 0:
        return TOO_SMALL, "proven", AREA
    return NOT_CARRIED, "likely", CARRY


PER_BOX = "the annotation has an id per box, so that nothing can be learnt of tracks"
TOO_SMALL = "every box of theirs is smaller than the least area that is shown"
NOT_CARRIED = (
    "queries are not carried on: the query interaction is broken or not trained, or a track is "
    "given up at its first miss"
)
IDS = Advice(
    "Give objects their identity: convert with linked ids, or train on pseudo clips and expect no "
    "tracking from them."
)
AREA = Advice("Lower the least area of a box: it counts in pixels of the original image.")
CARRY = Advice(
    "Train the query interaction module too (a strategy above minimal), on clips of 4 frames or "
    "more; look at the thresholds and the tolerance by which a track ends; with own code, at what "
    "is handed from one frame to the next."
)

RULE = Rule(
    id="T07",
    title="Tracks break off at once",
    judge=judge,
    needs="The tracks of a validation and the frames that each is shown in (TracksObserved).",
    condition="Tracks begin, and nearly all are shown in fewer than 3 frames.",
    threshold=f"95 % of at least {FEW} tracks under {SHORT} frames; after 20 % of the steps, and, "
    "until the end, not while the scores rise by 5 % in K validations "
    "or a loss falls as for B01",
    source="specs/motrv2.md 2.5, row 7",
    example="700 of 700 tracks in 160 frames are shown in fewer than 3: ids are per box (N7).",
    confirm=1,
    explains=below("T07"),
    concerns=of_tracker,
)
