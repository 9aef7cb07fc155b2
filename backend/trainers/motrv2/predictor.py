"""A checkpoint that answers: clips in, tracks out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.core.trainer import Track
from backend.trainers.motrv2.asked_clips import Asked, array_frames, sequence_frames, video_frames
from backend.trainers.motrv2.checkpoint import Saved, restored
from backend.trainers.motrv2.inference import at_threshold, rows_shown, track_settings
from backend.trainers.motrv2.spec import Motrv2Config


class TrackPredictor:
    """The tracks of clips: folders of MOT sequences, video files, or uint8 arrays (T, H, W, 3).

    A detector's boxes come from the detection database of a sequence's data set, and for a video
    from a file of MOTChallenge detections beside it (``clip.txt`` for ``clip.mp4``). Without
    any, tracks begin at the learned queries only.
    """

    def __init__(self, saved: Saved, config: Motrv2Config) -> None:
        self._config = saved.fitting(config)
        self._network = restored(saved, config, saved.classes)
        self._names = [name or str(at) for at, name in enumerate(saved.classes, start=1)]

    def predict(
        self, clips: "Sequence[Path | NDArray[np.uint8]]", conf: float = 0.25
    ) -> list[list[Track]]:
        """Tracks by frame, counted from 0; ``conf`` is the score at which a track begins and
        above which it is shown.

        Raises ValueError for what is no clip, or has a wrong file of detections.
        """
        return [self._one(clip, conf) for clip in clips]

    def _one(self, clip: "Path | NDArray[np.uint8]", conf: float) -> list[Track]:
        threshold = min(max(conf, 1e-6), 1 - 1e-6)
        settings = at_threshold(track_settings(self._config.tracker), threshold)
        try:
            asked = self._asked(clip)
            rows = rows_shown(self._network, asked.frames, asked.size, settings)
        except DataError as error:
            raise ValueError(str(error)) from error
        return [
            Track(
                frame=int(rows.frames[row]),
                id=int(rows.ids[row]),
                box=(float(x), float(y), float(w), float(h)),
                score=float(rows.scores[row]),
                label=self._names[rows.labels[row]],
            )
            for row, (x, y, w, h) in enumerate(rows.boxes)
        ]

    def _asked(self, clip: "Path | NDArray[np.uint8]") -> Asked:
        classes = len(self._names)
        if not isinstance(clip, str | Path):
            return array_frames(np.asarray(clip), self._config)
        path = Path(clip)
        read = sequence_frames if path.is_dir() else video_frames
        return read(path, self._config, classes)
