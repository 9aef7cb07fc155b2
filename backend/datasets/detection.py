"""One split of a detection dataset, whatever its format was: frames with boxes in pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    ``ignored_labels`` their classes, ``EVERY_CLASS`` for all of them. ``digest`` is the sha256
    of the image's file.
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
    digest: bytes = b""


@dataclass(frozen=True)
class Findings:
    """What was left out of a split or adapted.

    ``left_out`` gives for each frame that cannot be used why. ``kept`` counts the objects under
    the names that they have in the dataset, ``dropped`` the objects of
    classes that are not asked for, ``unknown`` those of classes that nothing is known of.
    ``bad_boxes`` gives for each reason the frames, ``clipped`` the frames of boxes cut at the
    border, both one entry per box of the ``boxes`` that were looked at.
    """

    left_out: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    bad_boxes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clipped: tuple[str, ...] = ()
    boxes: int = 0


@dataclass(frozen=True)
class DetectionSplit:
    """The usable part of a split, in order of name.

    ``digest`` is the sha256 over class names, image bytes and labels; it does not depend on
    where the dataset lies. ``notes`` say what was left out or adapted, and how often, and
    ``remarks`` what is as it should be and yet good to know;
    ``findings`` say the same in numbers.
    """

    data: Path
    split: str
    classes: tuple[str, ...]
    frames: tuple[Frame, ...]
    digest: str
    notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    findings: Findings = field(default_factory=Findings)

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
