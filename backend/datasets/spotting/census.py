"""Events of annotated clips, and what was odd about them, counted (rules D03 and D05)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.core.errors import DataError
from backend.core.evidence import LabelCensus
from backend.datasets.spotting.records import SpotEvent
from backend.scoring.spotting.entries import frame_number, label_names, likely_separator

_SHOWN = 5


class Census:
    """Reads the events of clips and remembers what was odd; nothing odd is an error here but a
    frame before the clip's first."""

    def __init__(self, path: Path, elements: Sequence[str], separator: str, stride: int) -> None:
        self._path = path
        self._elements = tuple(elements)
        self._place = {name: number for number, name in enumerate(elements)}
        self._separator = separator
        self._stride = stride
        self._clips = 0
        self._events = 0
        self._counts: Counter[str] = Counter(dict.fromkeys(elements, 0))
        self._unknown: Counter[str] = Counter()
        self._foreign: list[str] = []
        self._odd: Counter[str] = Counter()
        self._examples: dict[str, dict[str, None]] = {}

    def events(self, clip: str, frames: int, entries: object) -> tuple[SpotEvent, ...]:
        """A clip's events, rising; what lies past its ``frames`` is moved to its last strided
        frame. Raises DataError with clip and number of an entry that is none."""
        if not isinstance(entries, list):
            raise DataError(f"{self._path}: clip {clip}: its events must be a list")
        events = [self._event(clip, n, entry) for n, entry in enumerate(entries, start=1)]
        order = [event.frame for event in events]
        last = frames // self._stride * self._stride - 1
        strided = {min(frame, last) // self._stride for frame in order}
        self._note("negative", clip, sum(frame < 0 for frame in order))
        self._note("past_end", clip, sum(frame > last for frame in order))
        self._note("unsorted", clip, int(order != sorted(order)))
        self._note("collisions", clip, len(order) - len(strided))
        self._clips += 1
        self._events += len(events)
        placed = [SpotEvent(min(e.frame, last), e.label, e.elements) for e in events]
        return tuple(sorted(placed, key=lambda event: event.frame))

    def finish(self, split: str) -> LabelCensus:
        """What was counted. Raises DataError if events lie before their clip begins."""
        if self._odd["negative"]:
            raise DataError(
                f"{self._path}: {self._odd['negative']} events lie before the first frame of "
                f"their clip ({', '.join(self._first('negative'))}); mend the annotations"
            )
        return LabelCensus(
            split=split,
            units=self._clips,
            labels=self._events,
            counts=dict(self._counts),
            unknown=dict(self._unknown.most_common()),
            empty=self._odd["empty"],
            past_end=self._odd["past_end"],
            unsorted=self._odd["unsorted"],
            collisions=self._odd["collisions"],
            examples={name: self._first(name) for name in self._examples},
            separator=self._separator,
            better=self._better(),
        )

    def _event(self, clip: str, number: int, entry: object) -> SpotEvent:
        where = f"{self._path}: clip {clip}, event {number}"
        if not isinstance(entry, Mapping):
            raise DataError(f"{where}: expected an object with frame and label or elements")
        names = label_names(entry, self._separator, where)
        known = sorted({self._place[name] for name in names if name in self._place})
        strange = [name for name in names if name not in self._place]
        label = _text(entry, self._separator)
        self._counts.update(self._elements[number] for number in known)
        self._unknown.update(strange)
        self._note("unknown", clip, len(strange))
        self._note("empty", clip, int(not known))
        if not known and strange:
            self._foreign.append(label)
        return SpotEvent(frame_number(entry, where), label, tuple(known))

    def _note(self, what: str, clip: str, count: int) -> None:
        if count:
            self._odd[what] += count
            self._examples.setdefault(what, {})[clip] = None

    def _first(self, what: str) -> tuple[str, ...]:
        return tuple(self._examples[what])[:_SHOWN]

    def _better(self) -> str:
        best = likely_separator(self._foreign, self._place) if self._foreign else ""
        return best if best != self._separator else ""


def census_notes(census: LabelCensus, source: Path, stride: int) -> tuple[str, ...]:
    """What a person should know of the labels, each in one sentence with count and first clip."""
    tokens = list(census.unknown.items())
    named = ", ".join(f"{token!r} {count}" for token, count in tokens[:_SHOWN])
    hint = f'; under the separator "{census.better}" they have' if census.better else ""
    found = {
        "unknown": f"{sum(census.unknown.values()):,} names in labels are no known elements and "
        f"were ignored ({named}{', ...' if len(tokens) > _SHOWN else ''}){{first}}.",
        "empty": f"{census.empty:,} of {census.labels:,} events have no known element{hint}"
        "{first}.",
        "past_end": f"{census.past_end} events lie past the last strided frame of their clip and "
        "were moved to it{first}.",
        "unsorted": f"{census.unsorted} clips list their events out of order; they were sorted"
        "{first}.",
        "collisions": f"{census.collisions} events share a strided frame with an earlier one at "
        f"stride {stride} and were joined{{first}}.",
    }
    return tuple(
        f"{source}: {found[what].replace('{first}', f' (first: {names[0]})')}"
        for what, names in census.examples.items()
        if what in found
    )


def _text(entry: Mapping[str, Any], separator: str) -> str:
    label = entry.get("label")
    return label if isinstance(label, str) else separator.join(entry["elements"])
