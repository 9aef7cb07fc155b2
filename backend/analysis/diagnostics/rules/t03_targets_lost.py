"""T03: objects that are annotated do not reach the criterion."""

from collections.abc import Iterator
from dataclasses import dataclass

from backend.analysis.diagnostics.chain import below
from backend.analysis.diagnostics.evidence import Evidence
from backend.analysis.diagnostics.rule import Advice, Clear, Fired, Rule, Unknown, Verdict
from backend.analysis.diagnostics.tracking import (
    NO_TRACKER,
    census_of,
    censuses,
    first_error,
    newest_tracks,
    of_tracker,
)
from backend.core.diagnosis import Fact
from backend.core.events import TracksObserved
from backend.core.evidence import TrackCensus

ENOUGH = 20
"""Objects of a class that should have been met."""


@dataclass(frozen=True)
class _Lost:
    """Classes without a target, of ``of`` in a split that has so many ``boxes``."""

    split: str
    classes: tuple[str, ...]
    of: int
    boxes: int
    cause: str


def judge(evidence: Evidence) -> Verdict:
    """By class: what the validation of the data left, and what the network was given of it."""
    splits, observed = censuses(evidence), newest_tracks(evidence)
    if not any(one.boxes for one in splits):
        return Unknown("the annotated objects were not counted" if observed else NO_TRACKER)
    lost = [found for one in splits for found in _left_out(evidence, one)]
    lost += _on_the_way(evidence, observed)
    return _fired(lost) if lost else Clear()


def _left_out(evidence: Evidence, split: TrackCensus) -> Iterator[_Lost]:
    """Annotated, and no target: a class without any box is only rare (D03, D06)."""
    classes = tuple(name for name, count in split.counts.items() if not count)
    named = first_error(evidence, "N8", "N6", "N5")
    if split.boxes and not split.targets:
        yield _Lost(split.split, tuple(split.counts), len(split.counts), split.boxes,
                    named or "all boxes are filtered out, or marked to be ignored")  # fmt: skip
    elif classes and named:
        yield _Lost(split.split, classes, len(split.counts), split.boxes, named)


def _on_the_way(evidence: Evidence, observed: TracksObserved | None) -> Iterator[_Lost]:
    """A target in the data, and none that the network was given."""
    split = census_of(evidence, observed.split) if observed else None
    if observed is None or split is None or not split.frames:
        return
    share = observed.seen.frames / split.frames
    classes = tuple(
        name for name, count in split.counts.items()
        if count * share >= ENOUGH and not observed.seen.targets.get(name)
    )  # fmt: skip
    if classes:
        yield _Lost(split.split, classes, len(split.counts), split.boxes,
                    "they are lost between the annotation and the network: a filter or a mapping "
                    "of labels in the code that reads them")  # fmt: skip


def _fired(lost: list[_Lost]) -> Fired:
    first = lost[0]
    some = len(first.classes) < first.of
    which = f"{len(first.classes)} of {first.of} classes" if some else "any class"
    listed = f" ({', '.join(first.classes[:10])})" if some else ""
    return Fired(
        severity="error",
        headline=f"No target of {which} of '{first.split}' reaches the criterion{listed}, out of "
        f"{first.boxes:,} that are annotated.",
        cause=first.cause,
        sure="proven",
        advice=ADVICE,
        evidence=tuple(
            Fact(name=f"targets of {name} in '{one.split}'", value=0.0, limit=1.0)
            for one in lost for name in one.classes
        ),
        step=0,
    )  # fmt: skip


ADVICE = Advice(
    "Remove the filter or correct the mapping of class ids, and count again: each annotated class "
    "must have targets before it can be learnt."
)

RULE = Rule(
    id="T03",
    title="Objects do not reach the criterion",
    judge=judge,
    needs="The tracking splits as counted, with what their validation found (DataSurveyed), or "
    "the targets that the network was given (TracksObserved).",
    condition="Boxes are annotated, and none of them, or of some classes, is a target.",
    threshold="0 targets of a class with an error N5, N6 or N8; of one with at least "
    f"{ENOUGH} expected objects in a validation; of all classes",
    source="specs/motrv2.md 2.5, row 3: the public code drops class ids 3 to 6 and 9 to 11",
    example="No target of Attack, Block, Reception and Service: the filter 'person' drops them.",
    confirm=1,
    explains=below("T03"),
    concerns=of_tracker,
)
