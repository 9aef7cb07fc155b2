"""How long tracks are, and which classes are taken for which: what the metrics do not say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.analysis.track_matching import match_frames
from backend.analysis.tracks import Boxes, Recording
from backend.scoring.tracking.classes import Settled
from backend.scoring.tracking.motchallenge import UNKNOWN, Tracks

ALL = ""
"""The name of the view of all classes together."""


@dataclass(frozen=True)
class Lengths:
    """The tracks of one view: how many there are, and their median length in frames."""

    tracks: int
    median: float | None


@dataclass(frozen=True)
class Confusion:
    """How often each true class (row) was taken for which (column), over matched boxes."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def right(self) -> float | None:
        """The share of matched boxes with the right class; None if there are none."""
        total = int(self.counts.sum())
        return float(np.trace(self.counts)) / total if total else None


@dataclass(frozen=True)
class Summary:
    """Both models and the truth: class (``ALL``: any) to its tracks; confusions if there are
    classes to confuse."""

    truth: Mapping[str, Lengths]
    old: Mapping[str, Lengths]
    new: Mapping[str, Lengths]
    confusion: tuple[Confusion, Confusion] | None


def summarise(recording: Recording) -> Summary:
    """Track lengths, and the confusion of classes where several are told apart."""
    old, new = recording.old, recording.new
    true = [sequence.truth for sequence in old.sequences]
    found = [[sequence.predictions for sequence in side.sequences] for side in (old, new)]
    names = old.names | {stray: str(stray) for stray in (*old.strays, *new.strays)}
    confused = None
    if len(names) > 1 and old.labelled and new.labelled:
        confused = (
            confusion(old, names, recording.threshold),
            confusion(new, names, recording.threshold),
        )
    return Summary(
        truth=lengths(true, names),
        old=lengths(found[0], names),
        new=lengths(found[1], names),
        confusion=confused,
    )


def lengths(sequences: Sequence[Tracks], names: Mapping[int, str]) -> dict[str, Lengths]:
    """Of all boxes, and of each class's: a track that changes its class counts in both."""
    views = {ALL: [np.unique(one.ids, return_counts=True)[1] for one in sequences]}
    for number, name in names.items():
        views[name] = [
            np.unique(one.ids[one.classes == number], return_counts=True)[1] for one in sequences
        ]
    return {name: _lengths(np.concatenate(counts)) for name, counts in views.items() if counts}


def confusion(side: Settled, names: Mapping[int, str], threshold: float) -> Confusion:
    """Over the boxes that CLEAR matches without regard to class."""
    places = {number: place for place, number in enumerate(names)}
    counts = np.zeros((len(places), len(places)), dtype=np.int64)
    for sequence in side.sequences:
        truth, found = Boxes(sequence.truth, names).rows, Boxes(sequence.predictions, names).rows
        for match in match_frames(truth, found, threshold).values():
            for pair in match.pairs:
                labels = int(truth.classes[pair.truth]), int(found.classes[pair.found])
                if UNKNOWN not in labels:
                    counts[places[labels[0]], places[labels[1]]] += 1
    return Confusion(tuple(names.values()), counts)


def _lengths(counts: NDArray[np.int64]) -> Lengths:
    return Lengths(len(counts), float(np.median(counts)) if len(counts) else None)
