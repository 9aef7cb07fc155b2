"""What a video file holds, found without decoding more than two of its frames.

The frame times come from the container's index where that is whole and even, else from all
packets: only so are variable rates, edit lists and files that were cut off told for certain.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from backend.core.errors import DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

EVEN = 0.5
"""Frames of a constant rate lie within this share of a frame's time of an even grid."""


@dataclass(frozen=True)
class VideoFile:
    """A video that can be decoded; width and height as it is shown.

    ``frames`` are there to decode, ``promised`` is what its header says (0: nothing). ``first``
    and ``step`` are the first frame's time and the mean distance in units of ``time_base``
    (seconds); ``stamps`` (frames,) are all times where the rate is variable, else None.
    ``rotation`` is in degrees counter-clockwise, 0, 90, 180 or 270.
    """

    path: Path
    frames: int
    promised: int
    width: int
    height: int
    codec: str
    time_base: Fraction
    first: int
    step: Fraction
    stamps: Ints | None = None
    rotation: int = 0

    @property
    def fps(self) -> float:
        """Frames per second, the mean where the rate is variable."""
        return float(1 / (self.step * self.time_base))

    @property
    def duration(self) -> float:
        """Seconds, the last frame's own time included."""
        return float(self.frames * self.step * self.time_base)

    @property
    def variable(self) -> bool:
        """Does the frame rate vary?"""
        return self.stamps is not None

    def stamps_of(self, numbers: Ints) -> Ints:
        """Times of frames by their number from 0, in units of ``time_base``."""
        if self.stamps is not None:
            return np.asarray(self.stamps[numbers])
        return np.asarray(self.first + np.rint(numbers * float(self.step)), dtype=np.int64)

    def places_of(self, seconds: Floats) -> Floats:
        """Where times lie among the frames: t * fps, at a variable rate between their times."""
        if self.stamps is None:
            return seconds * self.fps
        times, numbers = self._clock(self.stamps)
        return np.asarray(np.interp(seconds, times, numbers))

    def seconds_of(self, places: Floats) -> Floats:
        """The times of places among the frames: the inverse of ``places_of``."""
        if self.stamps is None:
            return places / self.fps
        times, numbers = self._clock(self.stamps)
        return np.asarray(np.interp(places, numbers, times))

    def _clock(self, stamps: Ints) -> tuple[Floats, Floats]:
        """Seconds and number of each frame, and of the end."""
        times = np.append((stamps - self.first) * float(self.time_base), self.duration)
        return times, np.arange(len(times), dtype=np.float64)


def probe_video(path: Path) -> VideoFile:
    """Read what a file holds, and decode a frame in its middle and one near its end.

    Raises DataError: not there, no video in it, no frame rate, not decodable.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            stream = video_stream(container, path)
            file = _probed(container, stream, path)
        rotation = _decoded(file)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"{path}: cannot be decoded ({_reason(error)})") from None
    return _turned(file, rotation)


def probe_videos(paths: Iterable[Path], threads: int = 4) -> Mapping[Path, VideoFile | str]:
    """Each file, or a sentence on why it cannot be used."""

    def probed(path: Path) -> VideoFile | str:
        try:
            return probe_video(path)
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")

    found = list(paths)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return dict(zip(found, pool.map(probed, found), strict=True))


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video that is no cover picture. Raises DataError if there is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise DataError(f"{path}: has no video stream")


def _probed(container: InputContainer, stream: VideoStream, path: Path) -> VideoFile:
    base = stream.time_base
    if not base:
        raise DataError(f"{path}: has no time base, so no frame has a time")
    indexed = _from_index(stream, path)
    even = indexed is not None and _is_even(indexed)
    stamps = indexed if indexed is not None and even else _from_packets(container, stream)
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        raise DataError(
            f"{path}: has {len(stamps)} frames with a time, so no frame rate (fps 0); a video "
            "needs at least two"
        )
    return VideoFile(
        path=path,
        frames=len(stamps),
        promised=stream.frames,
        width=stream.width,
        height=stream.height,
        codec=stream.codec_context.name,
        time_base=base,
        first=int(stamps[0]),
        step=Fraction(int(stamps[-1] - stamps[0]), len(stamps) - 1),
        stamps=None if _is_even(stamps) else stamps,
    )


def _from_index(stream: VideoStream, path: Path) -> Ints | None:
    """Times by the index of frames that lie inside of the file; None if it cannot be relied on."""
    entries, start = list(stream.index_entries), stream.start_time
    if start is None or not entries or len(entries) != stream.frames:
        return None
    if any(entry.is_discard for entry in entries):
        return None
    size = path.stat().st_size
    inside = sum(entry.pos + entry.size <= size for entry in entries)
    stamps = np.array([entry.timestamp for entry in entries[:inside]], dtype=np.int64)
    return stamps - stamps[:1] + start  # an index has decoding times, which begin earlier


def _from_packets(container: InputContainer, stream: VideoStream) -> Ints:
    """Times of all packets, as far as the file can be read."""
    found: list[int] = []
    try:
        for packet in container.demux(stream):
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None and packet.size and not packet.is_discard:
                found.append(stamp)
    except av.FFmpegError:
        pass  # cut off: what came before it counts
    return np.unique(np.array(found, dtype=np.int64))


def _is_even(stamps: Ints) -> bool:
    if len(stamps) < 3:
        return True
    grid = np.linspace(stamps[0], stamps[-1], len(stamps))
    step = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    return bool(np.abs(stamps - grid).max() <= EVEN * step)


def _decoded(file: VideoFile) -> int:
    """Decode a frame in the middle and one a second before the end; the rotation it is shown in.

    Raises FFmpegError, DataError.
    """
    rotation = 0
    late = file.frames - 1 - round(min(file.fps, file.frames / 4))
    with av.open(str(file.path)) as container:
        stream = video_stream(container, file.path)
        for number in (file.frames // 2, late):
            stamp = int(file.stamps_of(np.array([number]))[0])
            container.seek(stamp, stream=stream)
            frame = next(container.decode(stream), None)
            if frame is None:
                raise DataError(f"{file.path}: cannot be decoded (no frame after {number:,})")
            rotation = frame.rotation
    return rotation % 360


def _turned(file: VideoFile, rotation: int) -> VideoFile:
    if not rotation:
        return file
    facts = {**vars(file), "rotation": rotation}
    if rotation % 180:
        facts |= {"width": file.height, "height": file.width}
    return VideoFile(**facts)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
