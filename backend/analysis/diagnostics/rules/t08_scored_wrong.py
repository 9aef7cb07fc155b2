"""T08: there are tracks, and the metric does not see them."""

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import NO_TRACKER, newest_tracks, of_tracker, unsettled
from backend.analysis.text import number, percent, plural
from backend.core.diagnosis import Fact, Shown, Sure
from backend.core.evidence import TracksSeen

NOTHING = 0.01
"""HOTA that is none."""
FEW = 5
"""Tracks from which on they should score."""
SEES = 0.3
"""Share of the objects that the network itself places and names."""
HOTA, OVER_CLASSES, ACCURACY = "val/HOTA", "val/cls_HOTA", "val/class_accuracy"


def judge(evidence: Evidence) -> Verdict:
    """HOTA whatever the class against its mean over classes, which one of them is zero."""
    observed = newest_tracks(evidence)
    if observed is None:
        return Unknown(NO_TRACKER)
    hota, over = _last(evidence, HOTA), _last(evidence, OVER_CLASSES)
    if hota is None:
        return Unknown("HOTA was not logged")
    if observed.seen.births < FEW or min(hota, hota if over is None else over) >= NOTHING:
        return Clear()
    waiting = unsettled(evidence)
    return _unseen(evidence, observed.seen, hota) if waiting is None else waiting


def _last(evidence: Evidence, key: str) -> float | None:
    curve = evidence.curve(key)
    return None if curve is None else float(curve.values[-1])


def _unseen(evidence: Evidence, seen: TracksSeen, hota: float) -> Fired:
    named, over = _last(evidence, ACCURACY), _last(evidence, OVER_CLASSES)
    placed = hota >= NOTHING
    zero = (
        f"their mean HOTA over classes {number(over)}" if placed else f"their HOTA {number(hota)}"
    )
    apart = f", and HOTA whatever the class {number(hota)}" if placed else ""
    return Fired(
        severity="error",
        headline=f"{plural(seen.births, 'track')} in {plural(seen.frames, 'frame')} are shown, "
        f"and {zero} is zero{apart}.",
        cause=CLASSES if placed else BOXES,
        sure=_sure(named),
        advice=COLUMN if placed else PLACE,
        evidence=(
            Fact(name="tracks", value=float(seen.births)),
            Fact(name=HOTA, value=hota, limit=NOTHING),
            *([Fact(name=OVER_CLASSES, value=over, limit=NOTHING)] if over is not None else []),
            *([Fact(name="objects that the network places and names", value=percent(named))]
              if named is not None else []),
        ),
        curves=tuple(Shown(key=key) for key in (HOTA, OVER_CLASSES, ACCURACY)),
    )  # fmt: skip


def _sure(named: float | None) -> Sure:
    """A network that finds the objects itself proves that what is scored is something else."""
    return "likely" if named is not None and named >= SEES else "possible"


CLASSES = "the classes that are scored are others than those of the truth: the class column"
BOXES = "what is scored is elsewhere than the truth: the frames' numbers or the boxes' scale"
COLUMN = Advice(
    "Hold a row of the predictions against one of the truth: is the class counted from 1 in both, "
    "and named alike?"
)
PLACE = Advice(
    "Hold a row of the predictions against one of the truth: is the frame's number that of the "
    "file, and are boxes in pixels of the original image?"
)

RULE = Rule(
    id="T08",
    title="There are tracks, and the metric is zero",
    judge=judge,
    needs="The tracks of a validation (TracksObserved), and HOTA, over classes too.",
    condition="Tracks are shown, and HOTA, or its mean over classes, is zero.",
    threshold=f"HOTA under {NOTHING} with at least {FEW} tracks; likely if the network itself "
    f"places and names {percent(SEES)} of the objects; after 20 % of the steps, and, until the "
    "end, not while the scores rise by 5 % in K validations "
    "or a loss falls as for B01",
    source="specs/motrv2.md 2.5, row 8",
    example="64 tracks, HOTA 0.48, and its mean over classes 0: classes are written from 0.",
    confirm=1,
    explains=below("T08"),
    concerns=of_tracker,
)
