"""T06: the scores are at most the threshold at which a track begins."""

from collections.abc import Iterator

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Turn, Unknown, Verdict
from backend.analysis.diagnostics.rules.t04_untrained_head import is_fresh
from backend.analysis.diagnostics.tracking import (
    NO_TRACKER,
    newest_tracks,
    of_tracker,
    swept_best,
    unsettled,
)
from backend.analysis.text import number, percent, plural
from backend.core.diagnosis import Fact, Shown
from backend.core.evidence import ThresholdSwept, TracksSeen

WITHIN = 0.1
"""Scores over which a lower threshold is an answer."""
ACCURACY = "val/class_accuracy"
TOPS = {"0.5": "median of the frames' highest scores", "1": "highest score"}


def judge(evidence: Evidence) -> Verdict:
    """The 99.9 % quantile of the scores against the threshold."""
    observed = newest_tracks(evidence)
    top = observed.seen.scores.get("0.999") if observed else None
    if observed is None or top is None:
        return Unknown(NO_TRACKER)
    seen = observed.seen
    if is_fresh(seen) or not (top < seen.threshold or _flickers(seen)):
        return Clear()
    waiting = unsettled(evidence)
    return _low(evidence, seen, top) if waiting is None else waiting


def _flickers(seen: TracksSeen) -> bool:
    """Do some scores reach the threshold, for a frame or two?"""
    most = seen.scores.get("0.99", 1.0)
    return seen.short == seen.births and most < seen.threshold


def _low(evidence: Evidence, seen: TracksSeen, top: float) -> Fired:
    best = swept_best(seen) if top >= WITHIN else None
    named = _named(evidence, len(seen.targets))
    return Fired(
        severity="error",
        headline=f"{plural(seen.births, 'track')} in {plural(seen.frames, 'frame')}: 99.9 % of "
        f"the scores are at most {number(top, 2)}, and a track begins at {seen.threshold:g}"
        f"{_instead(best)}.",
        cause=f"{CAUSE if top >= WITHIN else UNDER}{named}",
        sure="likely",
        advice=_advice(best),
        evidence=(
            Fact(name="99.9 % quantile of the scores", value=top, limit=seen.threshold),
            *(Fact(name=name, value=seen.highest[quantile])
              for quantile, name in TOPS.items() if quantile in seen.highest),
            *_sweep(seen),
        ),
        curves=(Shown(key=ACCURACY), Shown(key="val/swept_HOTA")),
    )  # fmt: skip


def _named(evidence: Evidence, classes: int) -> str:
    """That it already tells the classes apart, which a threshold of its own hides."""
    curve = evidence.curve(ACCURACY)
    if curve is None or classes < 2:
        return ""
    right = float(curve.values[-1])
    joined = "though" if right >= MOSTLY else "and only"
    verb = "have" if right >= MOSTLY else "already have"
    return f", {joined} {percent(right)} of the objects {verb} their class on top"


def _instead(best: ThresholdSwept | None) -> str:
    if best is None:
        return ""
    hota = "" if best.hota is None else f" with HOTA {number(best.hota)}"
    return f"; at {best.threshold:g} there would be {plural(best.tracks, 'track')}{hota}"


def _sweep(seen: TracksSeen) -> Iterator[Fact]:
    for swept in seen.swept:
        yield Fact(name=f"tracks at threshold {swept.threshold:g}", value=float(swept.tracks))


def _advice(best: ThresholdSwept | None) -> Advice:
    turn = (Turn("threshold", values=(best.threshold,)),) if best else ()
    lower = f"Begin tracks at {best.threshold:g}, which the sweep suggests. " if best else ""
    longer = (Turn("epochs", times=(2.0,)), Turn("lr", times=(3.0,)))
    return Advice(
        f"{lower}Train longer or with a higher rate: scores that are this low still rise.",
        change=turn or longer[:1],
        study=(Turn("epochs", times=(2.0, 3.0)), Turn("lr", times=(3.0, 10.0))),
    )


MOSTLY = 0.5
CAUSE = "the threshold is too high for scores that are still low: the heads are under-trained"
UNDER = "the heads are under-trained, so that a lower threshold would show next to nothing"

RULE = Rule(
    id="T06",
    title="The scores do not reach the threshold",
    judge=judge,
    needs="The scores of all queries in a validation (TracksObserved), and the planned steps.",
    condition="The 99.9 % quantile of the scores is below the threshold at which a track begins, "
    "and above that of a fresh head (T04); or the 99 % quantile is, and no track lasts 3 frames.",
    threshold=f"the run's own score threshold, proposed lower from a quantile of {WITHIN} on; "
    "after 20 % of the steps and, until the end, not while scores rise by 5 % in K validations "
    "or a loss falls as for B01",
    source="specs/motrv2.md 2.5, row 6, and 5.4: 91 % right classes, and nothing over 0.5",
    example="99.9 % of the scores are at most 0.46; at 0.4 there would be 31 tracks.",
    confirm=1,
    explains=below("T06"),
    concerns=of_tracker,
)
