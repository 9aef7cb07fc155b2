"""Where the videos of an evaluation are, as ``videos.json`` beside its ground truth says it."""

import json
import mimetypes
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import av
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from backend.core.errors import DataError

VIDEOS_FILE = "videos.json"


class _Listed(BaseModel):
    """One video: its path relative to the root, None where it had no file."""

    path: str | None = None


class _VideosFile(BaseModel):
    root: str
    videos: dict[str, _Listed] = Field(default_factory=dict)


@dataclass(frozen=True)
class Films:
    """The videos of an evaluation. ``note`` says why none is known, if so."""

    listed: _VideosFile | None
    note: str = ""

    def film(self, video: str) -> Path:
        """The file of a video. Raises DataError if there is none that may be shown."""
        if self.listed is None:
            raise DataError(self.note)
        found = self.listed.videos.get(video)
        if found is None or found.path is None:
            raise DataError(f"{video}: the evaluation had no file of this video")
        relative, root = PurePosixPath(found.path), Path(self.listed.root)
        if relative.is_absolute() or ".." in relative.parts:
            raise DataError(f"'{found.path}': a video outside the folder {root} is not shown")
        kind = mimetypes.guess_type(relative.name)[0] or ""
        if not kind.startswith("video/"):
            raise DataError(f"'{found.path}': not the name of a video file")
        if not (root / relative).is_file():
            raise DataError(f"{root / relative}: the video is gone; restore it to see it here")
        return root / relative


def read_films(folder: Path) -> Films:
    """The videos that ``videos.json`` in this folder lists; with a note if it cannot be read."""
    path = folder / VIDEOS_FILE
    if not path.is_file():
        return Films(None, "where the videos are is not known: these predictions came without "
                           f"a {VIDEOS_FILE}")  # fmt: skip
    try:
        return Films(_VideosFile.model_validate(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, ValidationError):
        return Films(None, f"{path}: not a list of videos; evaluate again")


def still(path: Path, seconds: float) -> Image.Image:
    """The frame that a video shows at this moment, the last one beyond its end.

    Raises DataError for a file that cannot be decoded there.
    """
    shown = None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(max(0, round(seconds * av.time_base)))
            for frame in container.decode(stream):
                if shown is not None and frame.time is not None and frame.time > seconds:
                    break
                shown = frame
    except (OSError, IndexError, av.error.FFmpegError) as error:
        raise DataError(f"{path}: no frame at {seconds:.2f} s can be read: {error}") from None
    if shown is None:
        raise DataError(f"{path}: no frame at {seconds:.2f} s")
    return Image.fromarray(shown.to_ndarray(format="rgb24"))
