"""Clips that a checkpoint is asked about: MOT sequences, videos and arrays as frames."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backend.core.errors import DataError
from backend.datasets.tracking.detection_db import DatabaseOptions, read_database
from backend.datasets.tracking.detection_keys import KeyRule
from backend.datasets.tracking.mot_folder import IMAGE_FOLDER, read_sequence
from backend.datasets.tracking.proposals import with_proposals
from backend.datasets.tracking.records import UNKNOWN, Floats, Ints, TrackingSplit, TrackSequence
from backend.datasets.tracking.validation import DATABASE
from backend.scoring.tracking.motchallenge import read_table
from backend.trainers.motrv2.batch import Frame
from backend.trainers.motrv2.data import SequenceFrames
from backend.trainers.motrv2.images import Size, seen, shown, whole
from backend.trainers.motrv2.spec import Motrv2Config

Pixels = NDArray[np.uint8]
"""Frames (T, H, W, 3) in RGB."""
_BOX, _SCORE, _CLASS = slice(2, 6), 6, 7


@dataclass(frozen=True)
class Detections:
    """A detector's boxes of one frame: ``boxes`` (n, 4) left, top, width, height in pixels;
    ``labels`` from 0, ``UNKNOWN`` without a class."""

    boxes: Floats
    scores: Floats
    labels: Ints


NOTHING = Detections(np.empty((0, 4)), np.empty(0), np.empty(0, np.int64))


@dataclass(frozen=True)
class Asked:
    """A clip's frames as the network sees them, to be gone through once, and its size."""

    size: Size
    frames: Iterable[Frame]


def sequence_frames(folder: Path, config: Motrv2Config, classes: int) -> Asked:
    """A MOT sequence, with the proposals of its data set's database if it has one.

    Raises DataError.
    """
    sequence = read_sequence(folder)
    if not any(sequence.images):
        raise DataError(f"{folder}: has no images in {sequence.images_in}, so it is no sequence")
    frames = SequenceFrames(_proposed(sequence, config, classes), config)
    return Asked(frames.size, frames)


def video_frames(path: Path, config: Motrv2Config, classes: int) -> Asked:
    """A video, decoded frame by frame; a detector's boxes are read from the ``.txt`` beside it.

    Raises DataError for a file that is no video, and for wrong rows.
    """
    pictures = _decoded(path)
    first = next(pictures, None)
    if first is None:
        raise DataError(f"{path}: no frame of it can be decoded as a video")
    rows = path.with_suffix(".txt")
    found = read_detections(rows, classes) if rows.is_file() and config.det_db.use else {}
    return _asked(chain([first], pictures), (first.shape[1], first.shape[0]), found, config)


def array_frames(clip: Pixels, config: Motrv2Config) -> Asked:
    """Frames in memory, without proposals. Raises DataError for another shape or type."""
    if clip.ndim != 4 or clip.shape[3] != 3 or clip.dtype != np.uint8 or not clip.size:
        raise DataError(
            f"expected a uint8 array (frames, height, width, 3), got {clip.dtype} {clip.shape}"
        )
    return _asked(clip, (clip.shape[2], clip.shape[1]), {}, config)


def read_detections(path: Path, classes: int) -> dict[int, Detections]:
    """MOTChallenge detections, ``frame,-1,x,y,w,h,score[,class]``: frame from 1 to its boxes.

    A class counts from 1; -1, 0, or one that the checkpoint has not, is unknown. Raises
    DataError, naming the line.
    """
    table, lines = read_table(path)
    if table.shape[1] <= _SCORE:
        raise DataError(f"{path}: expected frame,-1,x,y,w,h,score[,class], without a score")
    table = table[:, : _CLASS + 1]
    frames, sizes, scores = table[:, 0], table[:, 4:6], table[:, _SCORE]
    for bad, why in (
        (~np.isfinite(table[:, : _SCORE + 1]).all(1), "not every field is a number"),
        ((frames < 1) | (frames % 1 != 0), "frames are whole numbers from 1"),
        ((sizes <= 0).any(1), "a box needs width and height"),
        ((scores < 0) | (scores > 1), "a score lies in 0 to 1"),
    ):
        if bad.any():
            raise DataError(f"{path}, line {lines[int(bad.argmax())]}: {why}")
    named = table[:, _CLASS] if table.shape[1] > _CLASS else np.zeros(len(table))
    known = (named >= 1) & (named <= classes)  # not so where there is none
    labels = np.where(known, named - 1, UNKNOWN).astype(np.int64)
    return {
        int(number): Detections(table[rows, _BOX], scores[rows], labels[rows])
        for number, rows in ((one, frames == one) for one in np.unique(frames))
    }


def _proposed(sequence: TrackSequence, config: Motrv2Config, classes: int) -> TrackSequence:
    """With the proposals of det_db.json two or one folders above, else of det_db.path."""
    folder = sequence.folder.absolute()
    roots = (folder.parents[1], folder.parent)
    beside = ((root, root / DATABASE) for root in roots)
    told = [(roots[0], config.det_db.path)] if config.det_db.path else []
    places = [(root, path) for root, path in (*beside, *told) if path.is_file()]
    if not places or not config.det_db.use:
        return sequence
    root, path = places[0]
    keys = KeyRule(root, frozenset({IMAGE_FOLDER, sequence.images_in}))
    database = read_database(path, DatabaseOptions(classes=None, keys=keys))
    names = tuple(str(number) for number in range(1, classes + 1))
    split = TrackingSplit(root, "asked", names, tuple(range(1, classes + 1)), (sequence,))
    (joined,) = with_proposals(split, database).sequences
    return joined


def _decoded(path: Path) -> Iterator[Pixels]:
    """RGB frames (H, W, 3) of a video."""
    if not path.is_file():
        raise DataError(f"{path}: no such video or folder of a sequence")
    video = cv2.VideoCapture(str(path))
    try:
        while True:
            there, picture = video.read()
            if not there:
                return
            yield picture[:, :, ::-1]
    finally:
        video.release()


def _asked(
    pictures: Iterable[Pixels], size: Size, found: Mapping[int, Detections], config: Motrv2Config
) -> Asked:
    view = whole(size, config.images)
    frames = (
        _frame(shown(_tensor(picture), view), found.get(number, NOTHING), size, config)
        for number, picture in enumerate(pictures, start=1)
    )
    return Asked(size, frames)


def _tensor(picture: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)


def _frame(image: Tensor, found: Detections, size: Size, config: Motrv2Config) -> Frame:
    """A frame without objects."""
    proposals, _ = seen(found.boxes, whole(size, config.images))
    none = torch.empty(0, dtype=torch.int64)
    return Frame(
        image=image,
        boxes=torch.empty(0, 4),
        labels=none,
        ids=none,
        proposals=proposals,
        proposal_scores=torch.from_numpy(found.scores).float(),
        proposal_classes=torch.from_numpy(found.labels),
    )
