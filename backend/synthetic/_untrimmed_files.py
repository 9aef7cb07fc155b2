"""Made frames as an mp4 file.

The encoder is FFmpeg's own MPEG-4, which every build has under its own permissive licence, while
libx264 is GPL; measured, it also writes and decodes such small videos fastest.
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

CODEC = "mpeg4"
KEYFRAMES = 24
_QUALITY = {"qmin": "2", "qmax": "3"}


def write_video(path: Path, frames: NDArray[np.uint8], fps: int) -> None:
    """Frames (n, height, width, 3) RGB, always to the same bytes. Raises OSError."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(CODEC, rate=Fraction(fps), options=_QUALITY)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = KEYFRAMES
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
