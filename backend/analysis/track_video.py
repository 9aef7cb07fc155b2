"""A video of what two models tracked, side by side.

VP9 in an mp4 file: browsers play it, and OpenCV, which trackeval brings, encodes it. That takes
about 0.2 CPU seconds per frame.
"""

import math
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from backend.analysis.track_frames import Side, open_frame, side_by_side
from backend.core.errors import ConfigError, DataError
from backend.core.trainer import Track

FASTEST = 240.0
"""Frames per second at most."""


def render_tracks(
    video: Path,
    frames: Sequence[Path],
    old: Sequence[Track],
    new: Sequence[Track],
    titles: tuple[str, str] = ("old", "new"),
    fps: float = 25.0,
) -> Path:
    """Draw the tracks of two models into ``frames`` (image files) and write the mp4 ``video``.

    Tracks count frames from 0, in the order of ``frames``; boxes are pixels of these. The file
    appears whole or not at all; one that is there is replaced. Returns ``video``.

    Raises:
        ConfigError: a name that does not end in .mp4, or frames per second out of range.
        DataError: no frames, one that cannot be read or is of another size, a track beyond them or
            without a finite box, or a video that cannot be written.
    """
    if video.suffix.lower() != ".mp4":
        raise ConfigError(f"{video}: videos are written as mp4; choose a name that ends in .mp4")
    if not 0 < fps <= FASTEST:
        raise ConfigError(f"fps {fps:g}: must be above 0 and at most {FASTEST:g}")
    if not frames:
        raise DataError(f"{video}: there are no frames to draw")
    sides = [(title, _by_frame(tracks, len(frames), title)) for title, tracks
             in zip(titles, (old, new), strict=True)]  # fmt: skip
    making = video.parent / f".{video.stem}.{uuid.uuid4().hex[:8]}.tmp.mp4"
    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        _write(making, _drawn(frames, sides), fps)
        making.replace(video)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{video}: cannot be written ({reason}); choose another place") from error
    finally:
        with suppress(OSError):
            making.unlink()
    return video


def _by_frame(tracks: Sequence[Track], count: int, title: str) -> dict[int, list[Track]]:
    found: dict[int, list[Track]] = defaultdict(list)
    for track in tracks:
        if not 0 <= track.frame < count:
            raise DataError(
                f"{title}: a track in frame {track.frame}, but the {count} frames count from 0"
            )
        if not all(map(math.isfinite, track.box)) or min(track.box[2:]) < 0:
            raise DataError(
                f"{title}: track {track.id} has the box {track.box} in frame {track.frame}; "
                "expected x, y, width and height in pixels"
            )
        found[track.frame].append(track)
    return found


def _drawn(
    frames: Sequence[Path], sides: Sequence[tuple[str, dict[int, list[Track]]]]
) -> Iterator[Image.Image]:
    size: tuple[int, int] | None = None
    for number, path in enumerate(frames):
        photo = open_frame(path)
        size = size or photo.size
        if photo.size != size:
            raise DataError(
                f"{path}: {photo.width} x {photo.height} pixels, but the first frame has "
                f"{size[0]} x {size[1]}"
            )
        there = [Side(title, found.get(number, [])) for title, found in sides]
        yield side_by_side(photo, there, f"frame {number + 1} of {len(frames)}")


def _write(path: Path, sheets: Iterator[Image.Image], fps: float) -> None:
    """OpenCV does not say what fails, so the file is asked. Raises OSError."""
    first = next(sheets)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"vp09"), fps, first.size)
    try:
        if not writer.isOpened():
            path.touch()  # says why a place cannot be written
            raise OSError("this build of OpenCV does not encode VP9")
        count = 0
        for sheet in chain([first], sheets):
            writer.write(np.asarray(sheet)[:, :, ::-1])
            count += 1
    finally:
        writer.release()
    read = cv2.VideoCapture(str(path))
    written = int(read.get(cv2.CAP_PROP_FRAME_COUNT))
    read.release()
    if written != count:
        raise OSError(f"{written} of {count} frames were written")
