"""A checkpoint that answers: video files in, actions out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.core.trainer import Segment
from backend.datasets.temporal import TemporalVideo, probe_video
from backend.datasets.temporal.records import Announced
from backend.trainers.adatad.checkpoint import Saved, restored
from backend.trainers.adatad.data import SlidingWindows
from backend.trainers.adatad.inference import look
from backend.trainers.adatad.spec import AdaTadConfig


class SegmentPredictor:
    """The actions in videos, by the path of each file."""

    def __init__(self, saved: Saved, config: AdaTadConfig) -> None:
        self._config = saved.fitting(config)
        self._classes = saved.classes
        self._network = restored(saved, config)

    def predict(
        self, clips: "Sequence[Path | NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Segment]]:
        """Actions in seconds, best first; ``conf`` is the least score after soft-NMS.

        Raises ValueError for what is no video file.
        """
        return [self._one(clip, conf) for clip in clips]

    def _one(self, clip: "Path | NDArray[np.uint8]", conf: float) -> list[Segment]:
        if not isinstance(clip, str | Path):
            raise ValueError(
                "an array of frames has no frame rate, so its actions have no time in seconds; "
                "give the path of a video file"
            )
        try:
            video = _unlabelled(Path(clip))
            windows = SlidingWindows([video], self._config, self._config.inference.overlap)
            found = look(self._network, windows, self._config)[video.name]
        except DataError as error:
            raise ValueError(str(error)) from error
        rows = zip(
            found.segments.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
        )
        return [
            Segment(start=start, end=end, label=self._classes[label], score=score)
            for (start, end), label, score in rows
            if score >= conf
        ]


def _unlabelled(path: Path) -> TemporalVideo:
    """A file as a video that nothing is known of. Raises DataError."""
    return TemporalVideo(
        name=path.name,
        segments=np.empty((0, 2)),
        labels=np.empty(0, np.int64),
        announced=Announced(),
        path=path,
        file=probe_video(path),
    )
