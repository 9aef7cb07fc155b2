"""Skeleton files: ``<folder>/<clip>.pkl`` as pose extractors write them, or ``.npz`` of its keys.

``keypoint`` [M persons, T, 17 COCO joints, 2 or 3], ``keypoint_score`` [M, T, 17], ``img_shape``
(height, width). Person 0 is the far one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.datasets.spotting.pickles import read_arrays
from backend.datasets.spotting.records import Skeleton

SUFFIXES = (".pkl", ".npz")
TOLERANCE = 1
"""Frames by which a skeleton may be shorter or longer than its clip."""
_PERSONS, _JOINTS = 2, 17
_KEYS = ("keypoint", "img_shape")

Floats = NDArray[np.float32]
Numbers = NDArray[Any]


class RawSkeleton(NamedTuple):
    """A file as it is: ``keypoint`` float32 [M, T, 17, 2] and ``score`` [M, T, 17] or None.

    ``image`` is (height, width); ``whole``: the coordinates are stored as integers.
    """

    keypoint: Floats
    score: Floats | None
    image: tuple[int, int]
    whole: bool

    @property
    def scores(self) -> Floats:
        """Scores that are 0 for a joint that is missing: no score, or at the origin."""
        score = np.ones(self.keypoint.shape[:3], np.float32) if self.score is None else self.score
        there = (self.keypoint != 0).any(axis=-1) & (score != 0)
        return np.where(there, score, np.float32(0))


def skeleton_file(folder: Path, clip: str) -> Path | None:
    """The file of a clip, or that the clip is called by; None if there is none."""
    endings = ("",) if clip.endswith(SUFFIXES) else SUFFIXES
    paths = (folder / f"{clip}{ending}" for ending in endings)
    return next((path for path in paths if path.is_file()), None)


def read_skeleton(path: Path, num_frames: int) -> Skeleton:
    """The skeleton of a clip of ``num_frames``, cut to it; a shorter one is not padded.

    ``notes`` tell if its length is another by more than a frame. One person alone is the far one,
    and the near one is absent. Raises DataError.
    """
    raw = read_raw(path)
    given = raw.keypoint.shape[1]
    kept, persons = min(given, num_frames), len(raw.keypoint)
    keypoint = np.zeros((_PERSONS, kept, _JOINTS, 2), np.float32)
    score = np.zeros((_PERSONS, kept, _JOINTS), np.float32)
    score[:persons] = raw.scores[:, :kept]
    keypoint[:persons] = np.where(score[:persons, ..., None] != 0, raw.keypoint[:, :kept], 0)
    notes: tuple[str, ...] = ()
    if abs(given - num_frames) > TOLERANCE:
        notes = (f"{path}: has {given} frames, but its clip {num_frames}",)
    return Skeleton(keypoint, score, raw.image, (True, persons > 1), notes)


def read_raw(path: Path) -> RawSkeleton:
    """A file as it is, checked for its form. Raises DataError."""
    content = _npz(path) if path.suffix == ".npz" else read_arrays(path)
    if not isinstance(content, Mapping) or any(key not in content for key in _KEYS):
        raise DataError(f"{path}: expected {', '.join(_KEYS)} (and keypoint_score) by name")
    stored = _numbers(path, content, "keypoint")
    if stored.ndim != 4 or stored.shape[2:] not in {(_JOINTS, 2), (_JOINTS, 3)}:
        raise DataError(f"{path}: keypoint is {_shape(stored)}, not persons x frames x 17 x 2")
    if not 1 <= len(stored) <= _PERSONS or not stored.shape[1]:
        raise DataError(
            f"{path}: keypoint has {len(stored)} persons and {stored.shape[1]} frames; expected "
            "1 or 2 persons (far, near) and at least a frame"
        )
    keypoint = _single(stored)
    score = keypoint[..., 2] if keypoint.shape[3] == 3 else None
    if content.get("keypoint_score") is not None:
        score = _single(_numbers(path, content, "keypoint_score"))
        if score.shape != keypoint.shape[:3]:
            raise DataError(f"{path}: keypoint_score is {_shape(score)}, not as keypoint")
    image = _image(path, _numbers(path, content, "img_shape"))
    return RawSkeleton(keypoint[..., :2], score, image, stored.dtype.kind in "iu")


def _npz(path: Path) -> Mapping[str, object]:
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: one array, not an archive of named ones")
            return {name: file[name] for name in file.files}
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 (a damaged archive raises whatever it likes)
        raise DataError(f"{path}: not a whole .npz file of numbers ({error})") from None


def _numbers(path: Path, content: Mapping[str, object], key: str) -> Numbers:
    try:
        values = np.asarray(content[key])
    except ValueError:  # a ragged list
        values = np.array(None)
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path}: {key} must be an array of numbers, not of {values.dtype}")
    return values


def _single(values: Numbers) -> Floats:
    with np.errstate(over="ignore"):  # becomes infinite, and is reported as that
        return values.astype(np.float32)


def _image(path: Path, values: Numbers) -> tuple[int, int]:
    if values.shape != (2,) or not (np.isfinite(values) & (values >= 1)).all():
        raise DataError(f"{path}: img_shape must be (height, width) in pixels, not {values}")
    return int(values[0]), int(values[1])


def _shape(values: Numbers) -> str:
    return " x ".join(map(str, values.shape)) or "one number"
