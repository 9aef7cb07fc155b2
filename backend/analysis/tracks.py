"""What two trackers found in the same sequences, as the files of their evaluations tell it.

Ground truth and predictions are MOT files (``scoring.tracking.motchallenge``). Where the images
are is said by ``sequences.json`` beside the ground truth, which an evaluation leaves there;
without one, the ground truth is a MOT folder with its images.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self, cast

import numpy as np
from PIL import Image
from pydantic import Field, ValidationError

from backend.analysis.track_frames import open_frame
from backend.core.comparisons import DataComparison
from backend.core.errors import DataError
from backend.core.records import Record
from backend.core.trainer import Track
from backend.datasets.tracking import read_sequence
from backend.scoring.files import options_of
from backend.scoring.tracking.classes import Settled, settle
from backend.scoring.tracking.motchallenge import UNKNOWN, Tracks, read_sequences
from backend.scoring.tracking.task import TASK, TrackingOptions, class_names

FRAMES_FILE = "sequences.json"
FPS = 25.0
"""Frames per second where nothing tells them."""
_LOST = "the images of this sequence are gone"


class _Listed(Record):
    """One sequence in ``sequences.json``: frame number to image, relative to the root."""

    fps: float | None = None
    width: int | None = None
    height: int | None = None
    frames: dict[int, str]


class _FramesFile(Record):
    root: str
    split: str = ""
    classes: tuple[str, ...] = ()
    sequences: dict[str, _Listed] = Field(default_factory=dict)


@dataclass(frozen=True)
class Video:
    """The frames of a sequence: number to image file, rate, and size in pixels if it is known."""

    images: Mapping[int, Path]
    fps: float = FPS
    size: tuple[int, int] | None = None


class Boxes:
    """The boxes of one sequence, frame by frame."""

    def __init__(self, rows: Tracks, names: Mapping[int, str]) -> None:
        order = np.argsort(rows.frames, kind="stable")
        self.rows = Tracks(
            rows.frames[order], rows.ids[order], rows.boxes[order], rows.classes[order]
        )
        self._names = names

    def label(self, row: int) -> str:
        """The class of a row in words; empty if it has none."""
        number = int(self.rows.classes[row])
        return "" if number == UNKNOWN else self._names.get(number, str(number))

    def at(self, number: int, place: int = 0) -> list[Track]:
        """The boxes in the frame of that number, as tracks of frame ``place``.

        Scores are NaN: the scorer does not keep them.
        """
        first, last = np.searchsorted(self.rows.frames, (number, number + 1))
        return [
            Track(
                frame=place,
                id=int(self.rows.ids[row]),
                box=cast(tuple[float, float, float, float], tuple(self.rows.boxes[row].tolist())),
                score=math.nan,
                label=self.label(row),
            )
            for row in range(int(first), int(last))
        ]

    def all(self, numbers: Sequence[int]) -> list[Track]:
        """The boxes in all of these frames, which count from 0."""
        return [track for place, n in enumerate(numbers) for track in self.at(n, place)]


@dataclass(frozen=True)
class TrackedSequence:
    """One sequence under both models. ``numbers`` are those of its frames, rising.

    ``note`` says in a sentence why there are no images, if so.
    """

    name: str
    video: Video
    numbers: tuple[int, ...]
    truth: Boxes
    old: Boxes
    new: Boxes
    note: str = ""

    def photo(self, number: int) -> Image.Image:
        """The image of a frame. Raises DataError if it is gone."""
        path = self.video.images.get(number)
        if path is None:
            raise DataError(f"{self.name}: no image of frame {number}")
        return open_frame(path)

    def files(self) -> list[Path]:
        """The image of each frame. Raises DataError if one is gone."""
        if self.note:
            raise DataError(f"{self.name}: {self.note}")
        for number in self.numbers:
            if number not in self.video.images or not self.video.images[number].is_file():
                raise DataError(f"{self.name}: the image of frame {number} is gone; restore it")
        return [self.video.images[number] for number in self.numbers]

    def blank(self) -> Image.Image:
        """A plain frame that holds all boxes, to draw on where the image is gone."""
        return Image.new("RGB", self.video.size or self._extent(), "#3a3f47")

    def _extent(self) -> tuple[int, int]:
        ends = [side.rows.boxes for side in (self.truth, self.old, self.new)]
        boxes = np.concatenate(ends)
        right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(axis=0, initial=1.0)
        return min(math.ceil(right), 8192), min(math.ceil(bottom), 8192)


@dataclass(frozen=True)
class Recording:
    """All sequences of an evaluation under both models, read once."""

    folder: Path
    old: Settled
    new: Settled
    threshold: float

    @classmethod
    def read(cls, truth: Path, predictions: tuple[Path, Path], options: TrackingOptions) -> Self:
        """Raises DataError with one sentence for files that are gone or wrong."""
        names = class_names(truth, options)
        old, new = (settle(read_sequences(truth, side)[0], names) for side in predictions)
        return cls(truth, old, new, options.threshold)

    @classmethod
    def of(cls, data: DataComparison) -> Self:
        """What a comparison was made of. Raises DataError."""
        reports = (data.baseline_report, data.candidate_report)
        files = [Path(r.predictions) for r in reports if r.predictions]
        if len(files) < 2 or not reports[0].ground_truth:
            raise DataError("these evaluations kept no predictions, so no frame can be shown")
        options = cast(TrackingOptions, options_of(TASK, reports[0].settings))
        return cls.read(Path(reports[0].ground_truth), (files[0], files[1]), options)

    @property
    def names(self) -> tuple[str, ...]:
        """The sequences, sorted by name."""
        return tuple(sequence.name for sequence in self.old.sequences)

    def sequence(self, name: str) -> TrackedSequence:
        """One sequence with its frames. Raises DataError for a name that there is not."""
        if name not in self.names:
            raise DataError(f"no sequence '{name}'; there is: {', '.join(self.names)}")
        place = self.names.index(name)
        old, new = (side.sequences[place] for side in (self.old, self.new))
        video, note = self._video(name, Path(old.truth.source))
        sides = (old.truth, old.predictions, new.predictions)
        held: set[int] = set(video.images).union(*(side.frames.tolist() for side in sides))
        truth, before, after = (Boxes(rows, self.old.names) for rows in sides)
        return TrackedSequence(name, video, tuple(sorted(held)), truth, before, after, note)

    def _video(self, name: str, truth_file: Path) -> tuple[Video, str]:
        """The frames, and why they are gone if they are."""
        try:
            video = _listed(self.folder, name) or _beside(truth_file, self.folder)
        except DataError as error:
            return Video({}), str(error)
        gone = not video.images or not next(iter(video.images.values())).is_file()
        return video, _LOST if gone else ""


def changed_most(data: DataComparison, names: Sequence[str]) -> list[str]:
    """The sequences, those that gained or lost most first."""
    changes = {unit.unit: abs(unit.delta) for unit in data.per_unit}
    return sorted(names, key=lambda name: (-changes.get(name, 0.0), name))


def _listed(folder: Path, name: str) -> Video | None:
    """The frames as ``sequences.json`` lists them; None if there is no such file."""
    path = folder / FRAMES_FILE
    if not path.is_file():
        return None
    try:
        found = _FramesFile.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        raise DataError(f"{path}: not a list of frames; evaluate again") from None
    listed = found.sequences.get(name)
    if listed is None:
        raise DataError(f"{path}: does not list the sequence '{name}'")
    images = {
        number: _inside(Path(found.root), listed.frames[number])
        for number in sorted(listed.frames)
    }
    size = (listed.width, listed.height) if listed.width and listed.height else None
    return Video(images, listed.fps or FPS, size)


def _beside(truth_file: Path, root: Path) -> Video:
    """The frames of a MOT folder, beside its ground truth."""
    folder = truth_file.parent.parent
    if truth_file.parent.name != "gt":
        return Video({})
    found = read_sequence(folder)
    inside = root if folder.is_relative_to(root) else folder
    images = {
        number: _inside(inside, str(path.relative_to(inside)))
        for number, path in zip(found.numbers.tolist(), found.images, strict=True)
        if path is not None and path.is_relative_to(inside)
    }
    size = (found.width, found.height) if found.width and found.height else None
    return Video(images, found.fps or FPS, size)


def _inside(root: Path, name: str) -> Path:
    """A file below ``root``, by its name relative to that. Raises DataError for any other one."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise DataError(f"'{name}': an image outside the data folder {root} is not shown")
    return root / relative
