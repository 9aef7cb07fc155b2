"""How fast a window of a video becomes the network's frames: ``read_frames`` against a plain loop.

* ``read_frames``: one seek, decoded in order, scaled and cropped by FFmpeg's filters.
* A plain loop, with a seek and from the file's start: PyAV's frames to RGB, then OpenCV's
  INTER_AREA, which looks at every pixel as FFmpeg's scaling does.
* Decoding alone from the same keyframe on, which nothing that shows these frames can beat.

A window lies in the middle of a made H.264 video (moving shapes with noise, a keyframe every 250
frames at most). Contestants take turns in one process, ratios are taken within a round, and their
median is printed. Seconds are CPU seconds of the process, all its threads together; with several
threads the seconds that pass are printed too. What ``read_frames`` returns is compared with the
plain loop's picture first.

    python benchmarks/bench_decoding.py [--frames 256] [--rounds 7] [--threads 1 2]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from backend.datasets.temporal import VideoFile, centre_view, probe_video, read_frames

SIZES = ((320, 180), (1280, 720))
SIDE, RATE = 160, 30
WARM_UP = 1

Pixels = NDArray[np.uint8]


class Window(NamedTuple):
    """``frames`` frames of a video from ``start`` on."""

    file: VideoFile
    start: int
    frames: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=256, help="of a window")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            file = probe_video(made(Path(folder) / "made.mp4", size, 3 * options.frames))
            compare(Window(file, options.frames, options.frames), size, options)


def compare(window: Window, size: tuple[int, int], options: argparse.Namespace) -> None:
    """All contestants on one window."""
    difference = float(np.abs(ours(window, 1).astype(int) - plain(window, 1, True)).mean())
    print(
        f"\n{window.frames} frames of {size[0]} x {size[1]} to {SIDE} x {SIDE}, from frame "
        f"{window.start:,}; {options.rounds} rounds, load {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores; mean difference of a pixel {difference:.2f} of 255"
    )
    for threads in options.threads:
        taken = rounds(contestants(window, threads), options.rounds)
        print(f"  threads {threads}")
        for name, seconds in taken.items():
            cpu, wall = (statistics.median(column) for column in zip(*seconds, strict=True))
            told = f"{window.frames / cpu:8.0f} frames per CPU second"
            if threads > 1:
                told += f", {window.frames / wall:8.0f} per second that passes"
            ratio = statistics.median(
                mine[0] / other[0]
                for mine, other in zip(taken["read_frames"], seconds, strict=True)
            )
            print(f"    {name:24}{told}   read_frames takes {ratio:5.2f} of this")


def contestants(window: Window, threads: int) -> dict[str, Callable[[], object]]:
    """Each reads the window once."""
    return {
        "read_frames": lambda: ours(window, threads),
        "plain loop, one seek": lambda: plain(window, threads, True),
        "plain loop from start": lambda: plain(window, threads, False),
        "decoding alone": lambda: sum(1 for _ in decoded(window, threads, True)),
    }


def ours(window: Window, threads: int) -> Pixels:
    """(count, 3, side, side)."""
    numbers = np.arange(window.start, window.start + window.frames)
    view = centre_view((window.file.width, window.file.height), SIDE)
    return read_frames(window.file, numbers, view, threads).frames


def plain(window: Window, threads: int, seek: bool) -> Pixels:
    """What one would write down: each frame to RGB, scaled, cropped."""
    width, height = centre_view((window.file.width, window.file.height), SIDE).scaled
    x, y = (width - SIDE) // 2, (height - SIDE) // 2
    found = np.empty((window.frames, 3, SIDE, SIDE), dtype=np.uint8)
    for number, frame in decoded(window, threads, seek):
        if number >= window.start:
            shown = frame.to_ndarray(format="rgb24")
            picture = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
            found[number - window.start] = picture[y : y + SIDE, x : x + SIDE].transpose(2, 0, 1)
    return found


def decoded(window: Window, threads: int, seek: bool) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their numbers, up to the window's last one."""
    stamps = window.file.stamps_of(np.arange(window.start + window.frames))
    with av.open(str(window.file.path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        if seek:
            container.seek(int(stamps[window.start]), stream=stream)
        for frame in container.decode(stream):
            number = int(np.searchsorted(stamps, frame.pts or 0))
            if number == len(stamps):
                return
            yield number, frame


def rounds(
    cases: dict[str, Callable[[], object]], count: int
) -> dict[str, list[tuple[float, float]]]:
    """CPU seconds and seconds of each case by round; the first one warms up."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    for number in range(count + WARM_UP):
        for name, case in cases.items():
            start = time.process_time(), time.perf_counter()
            case()
            if number >= WARM_UP:
                ends = time.process_time(), time.perf_counter()
                taken[name].append((ends[0] - start[0], ends[1] - start[1]))
    return taken


def made(path: Path, size: tuple[int, int], frames: int) -> Path:
    """A video of discs that move over a noisy ground."""
    width, height = size
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8)
    scene = cv2.resize(ground, size, interpolation=cv2.INTER_CUBIC)
    ways = rng.uniform(-6, 6, (8, 2))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = np.roll(scene, number // 2, axis=1)
            for disc, way in enumerate(ways):
                x, y = (np.array([width, height]) * (disc + 1) / 9 + way * number) % size
                cv2.circle(picture, (int(x), int(y)), height // 10, (30 * disc, 255, 90), -1)
            container.mux(stream.encode(VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
