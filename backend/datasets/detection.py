"""One split of a detection dataset, whatever its format was: frames with boxes in pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.records import DatasetInput

EVERY_CLASS = -1


@dataclass(frozen=True)
class Frame:
    """One readable image. Boxes are (left, top, right, bottom) in its pixels, float64 [n, 4].

    ``labels`` are 0-based indices of the split's classes, int64 [n]. ``ignored`` are regions
    that count neither for nor against a detection (COCO's iscrowd), never training targets;
    ``ignored_labels`` their classes, ``EVERY_CLASS`` for all of them.
    """

    id: int
    path: Path
    name: str
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.float64]
    ignored_labels: NDArray[np.int64]


@dataclass(frozen=True)
class DetectionSplit:
    """The usable part of a split, in order of name.

    ``digest`` is the sha256 over class names, image bytes and labels; it does not depend on
    where the dataset lies. ``notes`` say what was left out or adapted, and how often.
    """

    data: Path
    split: str
    classes: tuple[str, ...]
    frames: tuple[Frame, ...]
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def objects(self) -> dict[str, int]:
        """Training targets of each class."""
        labels = [frame.labels for frame in self.frames]
        counts = np.bincount(np.concatenate(labels), minlength=len(self.classes))
        return dict(zip(self.classes, counts.tolist(), strict=True))

    def as_input(self) -> DatasetInput:
        """What a run records of it."""
        return DatasetInput(
            name=self.data.name if self.data.is_dir() else self.data.parent.name,
            path=str(self.data),
            split=self.split,
            digest=self.digest,
            images=len(self.frames),
            instances=sum(self.objects.values()),
        )
