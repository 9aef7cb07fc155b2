"""Which window of a video is looked at: drawn for training, sliding for validation and test.

Positions are frames divided by the stride, so that second t lies at t * fps / stride.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import ConfigError
from backend.datasets.temporal.records import Floats, Ints, TemporalVideo

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Sampling:
    """``length`` positions in a window, one at every ``stride``-th frame.

    An action belongs to a window that keeps ``trunc_thresh`` of its length. A training window
    covers a share of its length in ``crop_ratio`` (None: all of it); the rest is padded. Windows
    start, and crops end, at multiples of ``align`` positions; a video may end anywhere.
    """

    length: int = 768
    stride: int = 1
    trunc_thresh: float = 0.75
    crop_ratio: tuple[float, float] | None = (0.9, 1.0)
    align: int = 1

    def __post_init__(self) -> None:
        """Raises ConfigError for what no window can be."""
        if self.length < 1 or self.stride < 1:
            raise ConfigError(
                f"window of {self.length} positions at stride {self.stride}: both count from 1"
            )
        if not 0 < self.trunc_thresh <= 1:
            raise ConfigError(f"trunc_thresh {self.trunc_thresh:g}: expected above 0, at most 1")
        low, high = self.crop_ratio or (1.0, 1.0)
        if not 0 < low <= high <= 1:
            raise ConfigError(f"crop_ratio {low:g} to {high:g}: expected rising shares up to 1")
        if self.align < 1 or self.length % self.align:
            raise ConfigError(
                f"align {self.align}: a window of {self.length} positions is no multiple of it"
            )


@dataclass(frozen=True)
class Cut:
    """``count`` positions of a video from ``start`` on, with the actions in them.

    ``segments`` (n, 2) float32 count from ``start`` and are clipped to the cut.
    """

    start: int
    count: int
    segments: NDArray[np.float32]
    labels: Ints

    def frames(self, stride: int) -> Ints:
        """The numbers of its frames in the video, (count,)."""
        return (self.start + np.arange(self.count, dtype=np.int64)) * stride


def positions_of(video: TemporalVideo, stride: int) -> int:
    """How many positions a video has."""
    return 0 if video.file is None else -(-video.file.frames // stride)


def on_grid(video: TemporalVideo, stride: int) -> Floats:
    """The actions of a video as positions (n, 2)."""
    if video.file is not None:
        return video.file.places_of(video.segments) / stride
    return video.segments * (video.fps or 0.0) / stride


def seconds_of(positions: Floats, start: int, video: TemporalVideo, stride: int) -> Floats:
    """Positions counted from ``start`` as seconds of the video, clipped to it.

    Raises ConfigError for a video whose frame rate nothing tells.
    """
    if not video.fps:
        raise ConfigError(f"video {video.name}: nothing tells its frame rate")
    places = (positions + start) * stride
    file = video.file
    seconds = file.seconds_of(places) if file is not None else places / video.fps
    return seconds.clip(0, video.duration)


def starts_of(positions: int, length: int, overlap: float, align: int = 1) -> Ints:
    """Where sliding windows start that share ``overlap`` of their length with the next one.

    The last one is shifted back to end where the video does, or at the next multiple of
    ``align``. Raises ConfigError for an overlap outside of [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ConfigError(f"overlap {overlap:g}: expected at least 0 and below 1")
    last = max(0, _upward(positions, align) - length)
    step = max(align, int(length * (1 - overlap)) // align * align)
    return np.append(np.arange(0, last, step, dtype=np.int64), last)


def sliding_cuts(video: TemporalVideo, sampling: Sampling, overlap: float) -> tuple[Cut, ...]:
    """All windows of a video, in order; the crop ratio plays no part."""
    total = positions_of(video, sampling.stride)
    return tuple(
        _cut(video, (start, sampling.length), sampling)
        for start in starts_of(total, sampling.length, overlap, sampling.align).tolist()
    )


def trainable(video: TemporalVideo, sampling: Sampling) -> bool:
    """Is there a window that keeps enough of an action, whatever is cropped?"""
    return bool(len(_allowed(video, sampling, sampling.length)))


def draw_cut(video: TemporalVideo, sampling: Sampling, chance: np.random.Generator) -> Cut:
    """A training window, each acceptable one equally likely.

    That is what drawing again until one is acceptable gives, without the trials. Where a crop
    leaves none, the window is not cropped. Raises ConfigError unless ``trainable``.
    """
    count = whole = min(sampling.length, positions_of(video, sampling.stride))
    if sampling.crop_ratio is not None:
        low, high = (max(1, round(share * whole)) for share in sampling.crop_ratio)
        count = _upward(int(chance.integers(low, high, endpoint=True)), sampling.align)
    allowed = _allowed(video, sampling, count)
    if not len(allowed):
        count, allowed = whole, _allowed(video, sampling, whole)
    if not len(allowed):
        raise ConfigError(
            f"video {video.name}: no window of {whole} positions keeps "
            f"{sampling.trunc_thresh:.0%} of an action"
        )
    return _cut(video, (int(chance.choice(allowed)), count), sampling)


def longest_kept(sampling: Sampling) -> float:
    """Positions of the longest action of which a window keeps enough."""
    return sampling.length / sampling.trunc_thresh


def _allowed(video: TemporalVideo, sampling: Sampling, count: int) -> Ints:
    """The starts at which a window of ``count`` positions keeps enough of an action."""
    grid = on_grid(video, sampling.stride)
    total = _upward(positions_of(video, sampling.stride), sampling.align)
    count = min(_upward(count, sampling.align), total)
    kept = sampling.trunc_thresh * (grid[:, 1] - grid[:, 0])
    first = np.ceil(grid[:, 0] + kept - count - _ROUNDING).clip(0).astype(np.int64)
    last = np.floor(grid[:, 1] - kept + _ROUNDING).clip(None, total - count).astype(np.int64)
    usable = (kept <= count + _ROUNDING) & (first <= last)
    edges = np.zeros(total - count + 2, dtype=np.int64)
    np.add.at(edges, first[usable], 1)
    np.add.at(edges, last[usable] + 1, -1)
    aligned = np.arange(total - count + 1) % sampling.align == 0
    return np.flatnonzero(aligned & (np.cumsum(edges)[:-1] > 0))


def _cut(video: TemporalVideo, at: tuple[int, int], sampling: Sampling) -> Cut:
    """From a start on as many positions, or what the video has of them."""
    start, count = at
    count = min(count, positions_of(video, sampling.stride) - start)
    grid = on_grid(video, sampling.stride)
    inside = (grid - start).clip(0, count)
    lengths = grid[:, 1] - grid[:, 0]
    kept = (inside[:, 1] - inside[:, 0]) >= sampling.trunc_thresh * lengths - _ROUNDING
    kept &= inside[:, 1] > inside[:, 0]
    return Cut(start, count, inside[kept].astype(np.float32), video.labels[kept])


def _upward(number: int, align: int) -> int:
    """The next multiple of ``align`` that is not below a number."""
    return -(-number // align) * align
