"""Tiny trainers of video tasks, for serving: each is its threshold, and sees bright pixels.

A video is an array (frames, height, width, 3), or a ``.npy`` file of one, which the trainer
reads itself. Copied under another name by tests, so it imports nothing of them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.config.schema import TrainConfig
from backend.core.trainer import Segment, Spot, Track

Clip = Path | NDArray[np.uint8]
SCORE = 0.5


class ClipConfig(TrainConfig):
    kind: Literal["clips"] = "clips"
    fps: float = 10.0


class _Trainer:
    def __init__(self, config: ClipConfig, work_dir: Path) -> None:
        self.config = config
        self.work_dir = work_dir


class TrackTrainer(_Trainer):
    def predictor(self, checkpoint: Path) -> "TrackPredictor":
        return TrackPredictor(int(checkpoint.read_text()))


class ActionTrainer(_Trainer):
    def predictor(self, checkpoint: Path) -> "ActionPredictor":
        return ActionPredictor(int(checkpoint.read_text()), self.config.fps)


class SpotTrainer(_Trainer):
    def predictor(self, checkpoint: Path) -> "EventPredictor":
        return EventPredictor(int(checkpoint.read_text()))


class TrackPredictor:
    """One object: the box around the bright pixels of each frame."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def predict(self, clips: Sequence[Clip], conf: float = 0.25) -> list[list[Track]]:
        return [self._one(_frames(clip)) if conf <= SCORE else [] for clip in clips]

    def _one(self, frames: NDArray[np.uint8]) -> list[Track]:
        tracks = []
        for number, frame in enumerate(frames):
            ys, xs = np.nonzero(frame[..., 0] >= self._threshold)
            if len(xs):
                x, y, w, h = xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1
                box = (float(x), float(y), float(w), float(h))
                tracks.append(Track(frame=number, id=1, box=box, score=SCORE, label="lamp"))
        return tracks


class ActionPredictor:
    """One action: from the first bright frame to the end of the last."""

    def __init__(self, threshold: int, fps: float) -> None:
        self._threshold, self._fps = threshold, fps

    def predict(self, clips: Sequence[Clip], conf: float = 0.25) -> list[list[Segment]]:
        return [self._one(_frames(clip)) if conf <= SCORE else [] for clip in clips]

    def _one(self, frames: NDArray[np.uint8]) -> list[Segment]:
        lit = np.flatnonzero(frames.max(axis=(1, 2, 3)) >= self._threshold)
        if not len(lit):
            return []
        start, end = lit[0] / self._fps, (lit[-1] + 1) / self._fps
        return [Segment(start=float(start), end=float(end), label="shine", score=SCORE)]


class EventPredictor:
    """One event: the frame at which it becomes bright."""

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def predict(self, clips: Sequence[Clip], conf: float = 0.25) -> list[list[Spot]]:
        return [self._one(_frames(clip)) if conf <= SCORE else [] for clip in clips]

    def _one(self, frames: NDArray[np.uint8]) -> list[Spot]:
        lit = np.flatnonzero(frames.max(axis=(1, 2, 3)) >= self._threshold)
        return [Spot(frame=int(lit[0]), label="far_serve_in", score=SCORE)] if len(lit) else []


def _frames(clip: Clip) -> NDArray[np.uint8]:
    frames: NDArray[np.uint8] = np.load(clip) if isinstance(clip, Path) else clip
    assert frames.dtype == np.uint8
    return frames
