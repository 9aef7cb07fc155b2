"""Small video files whose frames tell their own number."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

WIDTH, HEIGHT, CELL = 64, 48, 16


def picture(number: int) -> NDArray[np.uint8]:
    """Twelve cells, white where the number has a bit; the last one is always grey."""
    cells = [255 * (number >> bit & 1) for bit in range(11)] + [128]
    grid = np.array(cells, dtype=np.uint8).reshape(3, 4)
    return np.repeat(np.kron(grid, np.ones((CELL, CELL), np.uint8))[..., None], 3, axis=2)


def number_of(frame: NDArray[np.uint8]) -> int:
    """The number that a picture (HEIGHT, WIDTH, 3) shows."""
    cells = frame[CELL // 2 :: CELL, CELL // 2 :: CELL].mean(axis=2).ravel() > 127
    return sum(int(cell) << bit for bit, cell in enumerate(cells[:11]))


def write(
    path: Path,
    frames: int = 60,
    stamps: Sequence[int] | None = None,
    codec: str = "libx264",
    rotation: int = 0,
) -> Path:
    """Pictures 0 to ``frames`` - 1 at 30 per second, or at these times in 1/600 s.

    Keyframes are 25 apart, and libx264 writes B-frames.
    """
    options = {"preset": "ultrafast", "bf": "3", "b-adapt": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30), options=options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 25
        stream.codec_context.time_base = Fraction(1, 600)
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            frame.pts = number * 20 if stamps is None else stamps[number]
            frame.time_base = Fraction(1, 600)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
