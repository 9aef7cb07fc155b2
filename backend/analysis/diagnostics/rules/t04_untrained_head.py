"""T04: the class heads say what they said before they were trained."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.tracking import NO_TRACKER, newest_tracks, of_tracker, unsettled
from backend.analysis.text import number, plural
from backend.core.diagnosis import Fact
from backend.core.evidence import TracksSeen

FRESH = 0.05
"""Median of the frames' highest scores of a head that starts at 0.01 for each class: the highest
of some 100 logits that scatter by 0.6 around that lies at 0.04."""
TOP = 0.1
"""Highest of all of its scores."""
HALF = 0.5
"""Share of the planned steps that a head may take to leave its start."""


def judge(evidence: Evidence) -> Verdict:
    """At once if it is frozen; else only of a head that had its time and does not rise."""
    observed = newest_tracks(evidence)
    if observed is None:
        return Unknown(NO_TRACKER)
    seen = observed.seen
    if not is_fresh(seen):
        return Clear()
    if seen.untrained:
        return _fired(seen, FROZEN.format(plural(len(seen.untrained), "tensor"),
                                          ", ".join(seen.untrained)), THAW)  # fmt: skip
    if evidence.finished is None and (evidence.progress or 0.0) < HALF:
        return Unknown("half of the training is not done, and the class heads are in it")
    waiting = unsettled(evidence)
    return _fired(seen, UNMOVED, MORE) if waiting is None else waiting


def is_fresh(seen: TracksSeen) -> bool:
    """Do the scores stand where a fresh head has them, with nothing shown?"""
    median, top = seen.highest.get("0.5", 1.0), seen.highest.get("1", 1.0)
    return seen.births == 0 and median < FRESH and top < TOP


def _fired(seen: TracksSeen, cause: str, advice: Advice) -> Fired:
    median, top = seen.highest["0.5"], seen.highest["1"]
    return Fired(
        severity="error",
        headline=f"Nothing is tracked in {plural(seen.frames, 'frame')}: the highest score of a "
        f"frame is {number(median)} at the median and {number(top)} at most, where a fresh head "
        f"has 0.01 for each class; a track begins at {seen.threshold:g}.",
        cause=cause,
        sure="proven" if seen.untrained else "likely",
        advice=advice,
        evidence=(
            Fact(name="median of the frames' highest scores", value=median, limit=FRESH),
            Fact(name="highest score", value=top, limit=TOP),
            Fact(name="threshold", value=seen.threshold),
            Fact(name="tracks", value=float(seen.births), limit=1.0),
            *(Fact(name="came from no checkpoint, and is frozen", value=name)
              for name in seen.untrained),
        ),
    )  # fmt: skip


FROZEN = "{} came from no checkpoint and cannot learn, being frozen: {}"
UNMOVED = "the class heads train, and have not left the scores that they started with"
THAW = Advice(
    "Train whatever did not come from the checkpoint, whatever else is frozen.",
    change=(Turn("train_new", values=(True,)),),
)
MORE = Advice(
    "Give the heads more to go by: a higher learning rate, then more epochs. At a rate of 1e-5 a "
    "fresh head needs some 1,800 steps in one direction to come from 0.01 to 0.5.",
    change=(Turn("lr", times=(10.0,)),),
    study=(Turn("lr", times=(3.0, 10.0, 30.0)), Turn("epochs", times=(3.0,))),
)

RULE = Rule(
    id="T04",
    title="The class heads are not trained",
    judge=judge,
    needs="The scores of all queries in a validation, and what is frozen without having come from "
    "a checkpoint (TracksObserved).",
    condition="No track begins, and the scores stand where a fresh head has them.",
    threshold=f"the median of the frames' highest scores under {FRESH} and the highest under "
    f"{TOP}, for a head that starts at 0.01 per class; if nothing of it is frozen, after half "
    "of the steps and, until the end, not while the scores rise by 5 % in K validations "
    "or a loss falls as for B01",
    source="specs/motrv2.md 2.5, row 4, and 3.4",
    example="The highest score of a frame is 0.03: class_embed.0.weight and 11 others are new, "
    "and the strategy freezes them.",
    confirm=1,
    explains=below("T04"),
    concerns=of_tracker,
)
