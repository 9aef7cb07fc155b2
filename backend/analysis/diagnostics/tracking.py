"""What a tracker does in a validation, as rules and their sentences use it."""

from collections.abc import Sequence

from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.predictions import gets_better
from backend.analysis.diagnostics.rule import Clear, Unknown, Verdict
from backend.analysis.diagnostics.series import late, window
from backend.core.events import TracksObserved
from backend.core.evidence import ThresholdSwept, TrackCensus, TracksSeen

RISES = 1.05
"""Highest scores over those of the last K validations, of a head that is still on its way."""
NO_TRACKER = "what a tracker does was not observed"


def of_tracker(evidence: Evidence) -> bool:
    """Could this be a tracker's run? Not if it told its metrics, and HOTA is none of them."""
    started = evidence.started
    return started is None or any(spec.name == "HOTA" for spec in started.metrics)


def validations(evidence: Evidence) -> list[TracksObserved]:
    """What was tracked at each validation; of a run that only evaluated, at its end."""
    told = evidence.all(TracksObserved)
    return [one for one in told if one.split == "val" and not one.final] or told


def newest_tracks(evidence: Evidence) -> TracksObserved | None:
    """The newest of them that looked at a frame."""
    return next((one for one in reversed(validations(evidence)) if one.seen.frames), None)


def idle_parts(evidence: Evidence) -> frozenset[str]:
    """Parts of a tracker without any gradient while no track begins: what hands tracks on, which
    nothing uses before there are any."""
    newest = newest_tracks(evidence)
    if newest is None or newest.seen.births:
        return frozenset()
    return frozenset(
        key.split("/")[1]
        for key, curve in evidence.curves.items()
        if key.startswith("gradient/") and key.endswith("/mean_abs") and not curve.values[-1]
    )


def unsettled(evidence: Evidence) -> Verdict | None:
    """Why it is too early to blame a head that may still be on its way; None if it is not."""
    if not late(evidence):
        return Unknown("a fifth of the training is not done")
    end = evidence.finished
    if evidence.progress == 1 or (end is not None and end.status == "finished"):
        return None
    *before, now = [_top(one.seen) for one in validations(evidence)[-window(evidence) - 1 :]]
    if not before:
        return Unknown("another validation must show whether the scores still rise")
    return Clear() if now > RISES * min(before) or gets_better(evidence) else None


def _top(seen: TracksSeen) -> float:
    return seen.scores.get("0.999", 0.0)


def censuses(evidence: Evidence) -> Sequence[TrackCensus]:
    """The tracking splits as they were counted."""
    return evidence.survey.tracks if evidence.survey else ()


def census_of(evidence: Evidence, split: str) -> TrackCensus | None:
    """One of them."""
    return next((one for one in censuses(evidence) if one.split == split), None)


def first_error(evidence: Evidence, *codes: str) -> str:
    """``N1: no frame has a key``: what the data's validation found, the first of these codes that
    is an error, as a cause; empty if there is none."""
    told = evidence.survey.findings if evidence.survey else ()
    found = [one for one in told if one.code in codes and one.level == "error"]
    first = min(found, key=lambda one: codes.index(one.code), default=None)
    return f"{first.code}: {first.sentence.rstrip('.')}" if first else ""


def swept_best(seen: TracksSeen) -> ThresholdSwept | None:
    """The lower threshold that suits best: by HOTA over classes, else by HOTA, else the highest
    one that shows a track; None if none shows any."""
    lower = [one for one in seen.swept if one.threshold < seen.threshold and one.tracks]
    return max(lower, key=_worth, default=None)


def _worth(swept: ThresholdSwept) -> tuple[float, float, float]:
    return (swept.cls_hota or 0.0, swept.hota or 0.0, swept.threshold)
