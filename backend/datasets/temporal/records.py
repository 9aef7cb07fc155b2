"""One split of temporal action data: untrimmed videos with their actions. No torch.

Times are seconds, float64. A position is a place on the feature grid: every ``stride``-th frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.records import DatasetInput
from backend.datasets.temporal.video_files import VideoFile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Announced:
    """What the annotations say of a video's file; None where they say nothing."""

    duration: float | None = None
    fps: float | None = None
    frames: int | None = None


@dataclass(frozen=True)
class TemporalVideo:
    """A video: ``segments`` (n, 2) rise by start and lie inside of it, ``labels`` (n,).

    ``path`` is None where no file was found; ``file`` is None also where ``problem`` says why it
    cannot be used.
    """

    name: str
    segments: Floats
    labels: Ints
    announced: Announced
    path: Path | None = None
    file: VideoFile | None = None
    problem: str = ""

    @property
    def duration(self) -> float:
        """Of the file; else as annotated, infinite where that says nothing either."""
        if self.file is not None:
            return self.file.duration
        return np.inf if self.announced.duration is None else self.announced.duration

    @property
    def fps(self) -> float | None:
        """Of the file, else as annotated."""
        return self.announced.fps if self.file is None else self.file.fps


@dataclass(frozen=True)
class TemporalSplit:
    """A subset as read and cleaned.

    ``annotated`` counts its annotations before that; ``odd`` says what was done to how many:
    ``ambiguous``, ``empty``, ``duplicate``, ``outside`` and ``unknown`` (of no class that is
    wanted) left out, ``clipped`` at the video's end, each as video to number. ``searched`` is the
    folder of the videos.
    """

    source: Path
    split: str
    classes: tuple[str, ...]
    videos: tuple[TemporalVideo, ...]
    searched: Path
    annotated: int
    odd: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    digest: str = ""

    @property
    def actions(self) -> int:
        """How many actions all videos have."""
        return sum(len(video.labels) for video in self.videos)

    @property
    def usable(self) -> tuple[TemporalVideo, ...]:
        """The videos that can be decoded."""
        return tuple(video for video in self.videos if video.file is not None)

    def as_input(self) -> DatasetInput:
        """The split as MLflow's dataset input; its images are videos."""
        return DatasetInput(
            name=self.source.parent.name,
            path=str(self.source),
            split=self.split,
            digest=self.digest,
            images=len(self.videos),
            instances=self.actions,
        )


@dataclass(frozen=True)
class LoadedWindow:
    """A window, decoded: ``frames`` (T, 3, H, W) RGB, ``valid`` (T,), False where padded.

    ``segments`` (n, 2) float32 are positions counted from ``start``, the window's first position
    in the video. ``lost`` frames could not be decoded and repeat the one before.
    """

    frames: Pixels
    valid: Bools
    segments: NDArray[np.float32]
    labels: Ints
    video: str
    start: int
    lost: int = 0
