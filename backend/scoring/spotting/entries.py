"""Entries ``{frame, label | elements, score?}`` of one file, checked and turned to events."""

import reprlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backend.core.errors import DataError
from backend.scoring.json_files import is_number
from backend.scoring.spotting.matching import Bools, Events, Ints

NONE = "-"
_SEPARATORS = ("_", " ", ",", "|", "/", ";", "+")
_UNKNOWN_LIMIT = 0.05  # of the events; more means that labels are not understood
_SHOWN = 5


class Place(NamedTuple):
    """A clip of ``frames`` strided frames; entries' frames are divided by ``divisor``."""

    clip: str
    frames: int
    divisor: int


class EntryReader:
    """Reads the entries of one file and remembers what was odd about them.

    ``threshold``: entries with a score at or below it are left out; None: none are.
    """

    def __init__(
        self, path: Path, elements: Sequence[str], separator: str, threshold: float | None = None
    ) -> None:
        self.path = path
        self.elements = tuple(elements)
        self._place = {name: position for position, name in enumerate(elements)}
        self._separator = separator
        self._threshold = threshold
        self._total = 0
        self._tokens: Counter[str] = Counter()
        self._foreign: list[tuple[str, ...]] = []
        self._odd: dict[str, tuple[int, str]] = {}

    def events(self, place: Place, entries: object) -> Events:
        """The events of a clip. Raises DataError with clip and number of the entry."""
        if not isinstance(entries, list):
            raise DataError(f"{self.path}: clip {place.clip}: its events must be a list")
        frames, elements = [], []
        for number, entry in enumerate(entries, start=1):
            where = f"{self.path}: clip {place.clip}, event {number}"
            if not isinstance(entry, Mapping):
                raise DataError(f"{where}: expected an object with frame and label or elements")
            if self._confident(entry, where):
                frames.append(self._frame(entry, place, where))
                elements.append(self._elements(entry, place, where))
        self._total += len(frames)
        if frames != sorted(frames):
            self.note("clips list their events out of order; they were sorted", place.clip)
        return self._joined(place, frames, elements)

    def warnings(self) -> list[str]:
        """What was odd, each kind in one sentence.

        Raises DataError if the labels of more than 5 % of the events hold no known element.
        """
        self._refuse_foreign_labels()
        found = [
            f"{self.path}: {count} {text} (first: {clip})."
            for text, (count, clip) in self._odd.items()
        ]
        if self._tokens:
            most = ", ".join(f"{name} {n}" for name, n in self._tokens.most_common(_SHOWN))
            found.append(
                f"{self.path}: {self._tokens.total()} names in labels are no known elements "
                f"and were ignored ({most}{', ...' if len(self._tokens) > _SHOWN else ''})."
            )
        return found

    def note(self, text: str, clip: str) -> None:
        """Count one more of what ``text`` says; it goes on after the number."""
        count, first = self._odd.get(text, (0, clip))
        self._odd[text] = (count + 1, first)

    def _confident(self, entry: Mapping[str, object], where: str) -> bool:
        score = entry.get("score")
        if score is None:
            return True
        if not is_number(score):
            shown = reprlib.repr(score)
            raise DataError(f"{where}: 'score' must be a finite number, not {shown}")
        return self._threshold is None or float(score) > self._threshold

    def _frame(self, entry: Mapping[str, object], place: Place, where: str) -> int:
        raw = frame_number(entry, where)
        frame = raw // place.divisor
        if not 0 <= frame <= place.frames:
            raise DataError(
                f"{where}: frame {raw} lies outside the clip of {place.frames} frames at "
                f"stride {place.divisor}; mend it, or say whether frames are raw or strided"
            )
        if frame == place.frames:
            self.note("events lie just past the end of their clip and were moved to its last "
                       "frame", place.clip)  # fmt: skip
        return min(frame, place.frames - 1)

    def _elements(self, entry: Mapping[str, object], place: Place, where: str) -> list[int]:
        names = label_names(entry, self._separator, where)
        known = [self._place[name] for name in names if name in self._place]
        if len(known) < len(names):
            self._tokens.update(name for name in names if name not in self._place)
            if not known:
                self._foreign.append(tuple(names))
        if not known:
            self.note("events have no known element and count as frames only", place.clip)
        return known

    def _joined(self, place: Place, frames: list[int], elements: list[list[int]]) -> Events:
        at: Ints = np.unique(np.array(frames, dtype=np.int64))
        bits: Bools = np.zeros((len(at), len(self._place)), dtype=np.bool_)
        for row, members in zip(np.searchsorted(at, frames), elements, strict=True):
            bits[row, members] = True
        for _ in range(len(frames) - len(at)):
            self.note("events share a strided frame with another and were joined; a smaller "
                       "stride keeps them apart", place.clip)  # fmt: skip
        return Events(at, bits)

    def _refuse_foreign_labels(self) -> None:
        if len(self._foreign) <= _UNKNOWN_LIMIT * self._total:
            return
        share = f"{100 * len(self._foreign) / self._total:.0f} %"
        labels = [self._separator.join(names) for names in self._foreign]
        advice = "check the elements and the separator"
        best = likely_separator(labels, self._place)
        if best:
            advice = f"try --separator {best!r}".replace("'", '"')
        raise DataError(
            f"{self.path}: {share} of {self._total:,} events have no known element with the "
            f'separator "{self._separator}" (first label: "{labels[0]}"); {advice}'
        )


def frame_number(entry: Mapping[str, object], where: str) -> int:
    """The frame of an entry. Raises DataError if it is no whole number."""
    raw = entry.get("frame")
    if not is_number(raw) or isinstance(raw, bool) or not float(raw).is_integer():
        raise DataError(f"{where}: 'frame' must be a whole number, not {reprlib.repr(raw)}")
    return int(raw)


def label_names(entry: Mapping[str, object], separator: str, where: str) -> list[str]:
    """What an entry's label joins, without ``-``. Raises DataError if it has no label."""
    names = entry.get("elements")
    label = entry.get("label")
    if isinstance(label, str) and names is None:
        names = label.split(separator)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where}: needs 'label', a text, or 'elements', a list of names")
    return [name for name in names if name not in ("", NONE)]


def likely_separator(labels: Sequence[str], elements: Collection[str]) -> str:
    """The separator under which most of the labels hold a known element; empty if none do."""
    understood = {
        separator: sum(any(name in elements for name in text.split(separator)) for text in labels)
        for separator in _SEPARATORS
    }
    best = max(_SEPARATORS, key=lambda separator: understood[separator])
    return best if understood[best] else ""
