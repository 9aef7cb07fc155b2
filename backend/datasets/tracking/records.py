"""One split of a tracking data set: sequences with true boxes and with a detector's proposals.

Boxes are left, top, width, height in pixels, float64. Rows lie sequence by sequence, by frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

UNKNOWN = -1
"""The label of a box that is of no declared class, or of a proposal without one."""

Identities = Literal["file", "pseudo", "per-box"]
"""Ids as annotated, linked by overlap, or one for each box (no identities at all)."""


def targets(marks: Bools, labels: Ints) -> Bools:
    """Which boxes a model learns from: of a declared class, and not to be ignored."""
    wanted: Bools = marks & (labels != UNKNOWN)
    return wanted


@dataclass(frozen=True)
class Truth:
    """The annotated boxes of a sequence, (n,) each and ``boxes`` (n, 4).

    ``labels`` are indices of the split's classes, ``UNKNOWN`` outside of them; ``class_ids`` are
    as in the file, -1 where it names none. ``marks`` False: to be ignored.
    """

    frames: Ints
    boxes: Floats
    ids: Ints
    labels: Ints
    class_ids: Ints
    marks: Bools
    visibility: Floats

    @property
    def targets(self) -> Bools:
        """The rows that a model learns from."""
        return targets(self.marks, self.labels)


@dataclass(frozen=True)
class Proposals:
    """The detector's boxes of a sequence; ``labels`` as those of the truth."""

    frames: Ints
    boxes: Floats
    scores: Floats
    labels: Ints


def no_proposals() -> Proposals:
    """Of a sequence whose detections are not known."""
    none = np.empty(0, np.int64)
    return Proposals(none, np.empty((0, 4)), np.empty(0), none)


class TrackFrame(NamedTuple):
    """One frame: ``number`` as in its file's name, ``image`` None if there is no file."""

    number: int
    image: Path | None
    boxes: Floats
    ids: Ints
    labels: Ints
    marks: Bools
    visibility: Floats
    proposals: Floats
    proposal_scores: Floats
    proposal_classes: Ints

    @property
    def targets(self) -> Bools:
        """The boxes that a model learns from."""
        return targets(self.marks, self.labels)


@dataclass(frozen=True)
class TrackSequence:
    """A video: ``numbers`` (frames,) rise, ``images`` are their files.

    Size and rate are None where nothing tells them; ``length`` is what ``seqinfo.ini`` says.
    ``images_in`` is the name of the image folder.
    ``keyed`` (frames,): the detection database has an entry; None without a database.
    """

    name: str
    folder: Path
    numbers: Ints
    images: tuple[Path | None, ...]
    width: int | None
    height: int | None
    fps: float | None
    length: int | None
    truth: Truth
    images_in: str = "img1"
    proposals: Proposals = field(default_factory=no_proposals)
    keyed: Bools | None = None

    def frame(self, place: int) -> TrackFrame:
        """The frame at a place in ``numbers``, with its boxes and proposals."""
        number, truth, found = int(self.numbers[place]), self.truth, self.proposals
        rows, made = _of(truth.frames, number), _of(found.frames, number)
        return TrackFrame(
            number, self.images[place], truth.boxes[rows], truth.ids[rows], truth.labels[rows],
            truth.marks[rows], truth.visibility[rows], found.boxes[made], found.scores[made],
            found.labels[made],
        )  # fmt: skip


@dataclass(frozen=True)
class TrackingSplit:
    """A split as read. ``class_ids`` are the files' ids of ``classes``.

    ``declared``: the data set itself names its classes. ``dropped``: name of a label filter to
    class id to how many boxes it took. ``notes`` are sentences about what was left out.
    """

    root: Path
    split: str
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    sequences: tuple[TrackSequence, ...]
    declared: bool = True
    identities: Identities = "file"
    dropped: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames all sequences have."""
        return sum(len(sequence.numbers) for sequence in self.sequences)


def _of(frames: Ints, number: int) -> slice:
    first, last = np.searchsorted(frames, (number, number + 1))
    return slice(int(first), int(last))
