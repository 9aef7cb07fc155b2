"""Frames of a video by their numbers: one seek, then decoded in order, scaled while they are.

Scaling in FFmpeg keeps a window small: 768 frames of 1080p are 4.8 GB as RGB, 59 MB at 160 x 160.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from backend.core.errors import DataError
from backend.datasets.temporal.records import Ints, LoadedWindow, Pixels, TemporalVideo
from backend.datasets.temporal.video_files import VideoFile, video_stream
from backend.datasets.temporal.views import View
from backend.datasets.temporal.windows import Cut, Sampling

_TURNS = {90: [("transpose", "cclock")], 180: [("hflip", ""), ("vflip", "")],
          270: [("transpose", "clock")]}  # fmt: skip


class Decoded(NamedTuple):
    """``frames`` (n, 3, side, side) RGB; ``lost`` of them repeat the one before."""

    frames: Pixels
    lost: int


def load_window(
    video: TemporalVideo, cut: Cut, sampling: Sampling, view: View, threads: int = 1
) -> LoadedWindow:
    """A window of a video, decoded; padding repeats its last frame. Raises DataError."""
    if video.file is None:
        raise DataError(f"video {video.name}: {video.problem or 'has no file'}")
    decoded = read_frames(video.file, cut.frames(sampling.stride), view, threads)
    missing = sampling.length - cut.count
    padding = np.repeat(decoded.frames[-1:], missing, axis=0)
    return LoadedWindow(
        frames=np.concatenate([decoded.frames, padding]) if missing else decoded.frames,
        valid=np.arange(sampling.length) < cut.count,
        segments=cut.segments,
        labels=cut.labels,
        video=video.name,
        start=cut.start,
        lost=decoded.lost,
    )


def read_frames(file: VideoFile, numbers: Ints, view: View, threads: int = 1) -> Decoded:
    """The frames of these numbers, which count from 0 and do not fall.

    ``threads`` decode at once (0: as many as FFmpeg sees fit). A frame that cannot be decoded
    repeats the one before, or the first that can. Raises DataError if there is none at all.
    """
    found = np.zeros((len(numbers), 3, view.side, view.side), dtype=np.uint8)
    got = np.zeros(len(numbers), dtype=np.bool_)
    stamps = file.stamps_of(numbers)
    try:
        with _opened(file, int(stamps[0]), threads) as (stream, frames):
            graph = _graph(stream, view, file.rotation)
            for places, frame in _wanted(frames, stamps, file):
                graph.push(frame)
                shown = graph.pull()
                assert isinstance(shown, VideoFrame)
                pixels = np.asarray(shown.to_ndarray(), dtype=np.uint8)
                found[places] = view.coloured(pixels).transpose(2, 0, 1)
                got[places] = True
    except (av.FFmpegError, OSError) as error:
        if not got.any():
            raise DataError(f"{file.path}: cannot be decoded ({error})") from None
    if not got.any():
        raise DataError(f"{file.path}: has no frame at {int(numbers[0]):,} of {file.frames:,}")
    before = np.maximum.accumulate(np.where(got, np.arange(len(got)), int(got.argmax())))
    return Decoded(found if got.all() else found[before], int((~got).sum()))


def _wanted(
    frames: Iterable[VideoFrame], stamps: Ints, file: VideoFile
) -> Iterator[tuple[slice, VideoFrame]]:
    """Frames that are wanted, each with the places in ``stamps`` that it belongs at."""
    near = 0.0 if file.variable else float(file.step) / 2
    for frame in frames:
        stamp = _stamp(frame)
        first, end = np.searchsorted(stamps, (stamp - near, stamp + near), "left").tolist()
        if file.variable:
            end = int(np.searchsorted(stamps, stamp, "right"))
        if first < end:
            yield slice(first, end), frame
        if end == len(stamps):
            return


@contextmanager
def _opened(
    file: VideoFile, stamp: int, threads: int
) -> Iterator[tuple[VideoStream, Iterator[VideoFrame]]]:
    """Frames from a keyframe before ``stamp`` on.

    From the file's start if the seek went too far, as it may in containers whose index has
    decoding times only, or none.
    """
    for seek in (True, False):
        with av.open(str(file.path)) as container:
            stream = video_stream(container, file.path)
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = threads
            if seek:
                container.seek(stamp, stream=stream)
            frames = _decodable(container, stream)
            first = next(frames, None)
            reached = first is not None and _stamp(first) < stamp + float(file.step) / 2
            if reached or not seek:
                yield stream, chain([first] if first else [], frames)
                return


def _decodable(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in the order they are shown; a damaged packet costs no more than its own."""
    for packet in container.demux(stream):
        with suppress(av.error.InvalidDataError):
            yield from stream.decode(packet)


def _stamp(frame: VideoFrame) -> int:
    """Its time; in AVI, which has none, its packet's, which B-frames make a frame or two late."""
    stamp = frame.dts if frame.pts is None else frame.pts
    return 0 if stamp is None else stamp


def _graph(stream: VideoStream, view: View, rotation: int) -> Graph:
    graph = Graph()
    graph.threads = 1
    last = graph.add_buffer(template=stream)
    for name, arguments in (*_TURNS.get(rotation, ()), *view.filters()):
        added = graph.add(name, arguments)
        last.link_to(added)
        last = added
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
