"""Skeletons drawn as frames: what the visual encoder of stages 2 and 3 sees.

A frame has two views side by side, of the far player and of the near one, as if each had a camera
of their own that follows them: in a small picture of the whole court the far player's arm would be
one pixel long. How tall a body is in its view does not change within a clip.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backend.datasets.spotting.records import Skeleton

LIMBS = (
    *((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16)),
    *((5, 6), (11, 12), (5, 11), (6, 12), (0, 5), (0, 6)),
)
COURT = (46, 88, 120)
PLAYERS = ((250, 196, 60), (236, 240, 244))
"""Colours of the far and of the near player."""
_FINE = 2  # drawn this much larger, for smooth edges
_ROOM = 2.0  # a view's height over the player's; arms reach above the head
_SURE = 0.3  # score from which a joint says where the player is
_HIPS, _ENDS = (11, 12), (0, 15, 16)


def render(
    keypoint: NDArray[np.float32], score: NDArray[np.float32], image: tuple[int, int], size: int
) -> NDArray[np.uint8]:
    """Frames (T, size, size, 3) of a clip's joints (2, T, 17, 2) and their scores (2, T, 17).

    ``image`` is (height, width) of what the joints are measured in: the view of a player who was
    never found looks at its middle. Limbs with a joint of score 0 are left out.
    """
    keypoint, score = _finite(keypoint, score)
    return _drawn(keypoint, score, _views(keypoint, score, image), size)


def frames_of(skeleton: Skeleton, indices: Sequence[int], size: int) -> NDArray[np.float32]:
    """Frames ``indices`` of the clip, float32 (T, 3, size, size) in 0..1; black outside of it."""
    keypoint, score = _finite(skeleton.keypoint, skeleton.score)
    views = _views(keypoint, score, skeleton.image)
    wanted = np.asarray(indices, dtype=np.int64)
    inside = (wanted >= 0) & (wanted < keypoint.shape[1])
    frames = np.zeros((len(wanted), 3, size, size), np.float32)
    shown = wanted[inside]
    drawn = _drawn(keypoint[:, shown], score[:, shown], views[:, shown], size)
    frames[inside] = drawn.transpose(0, 3, 1, 2) / np.float32(255)
    return frames


def _finite(
    keypoint: NDArray[np.float32], score: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A joint that is nowhere counts as missing."""
    finite = np.asarray(np.isfinite(keypoint).all(axis=-1))
    return np.where(finite[..., None], keypoint, 0), np.where(finite, score, 0)


def _views(
    keypoint: NDArray[np.float32], score: NDArray[np.float32], image: tuple[int, int]
) -> NDArray[np.float32]:
    """Left upper and right lower corner of each person's view in each frame, (2, T, 2, 2)."""
    views = np.empty((*keypoint.shape[:2], 2, 2), np.float32)
    for person in (0, 1):
        joints = np.where(score[person, ..., None] >= _SURE, keypoint[person], np.nan)
        ends = joints[:, _ENDS, 1]
        tall = (ends[:, 1:] - ends[:, :1])[np.isfinite(ends[:, 1:] - ends[:, :1])]
        height = _ROOM * float(np.median(tall)) if len(tall) else float(image[0])
        half = max(height, 2.0) * np.array((0.25, 0.5), np.float32)  # twice as high as wide
        centre = _followed(joints[:, _HIPS].mean(axis=1), image)
        views[person] = np.stack([centre - half, centre + half], axis=1)
    return views


def _followed(place: NDArray[np.float32], image: tuple[int, int]) -> NDArray[np.float32]:
    """A place (T, 2) in each frame: where it is not known, between those where it is."""
    frames = np.arange(len(place))
    known = np.isfinite(place).all(axis=1)
    if not known.any():
        return np.tile(np.array(image[::-1], np.float32) / 2, (len(place), 1))
    columns = [np.interp(frames, frames[known], place[known, axis]) for axis in (0, 1)]
    return np.stack(columns, axis=1).astype(np.float32)


def _drawn(
    keypoint: NDArray[np.float32],
    score: NDArray[np.float32],
    views: NDArray[np.float32],
    size: int,
) -> NDArray[np.uint8]:
    large = np.array((size // 2, size), np.float32) * _FINE
    low, high = views[:, :, None, 0], views[:, :, None, 1]
    points = (np.clip((keypoint - low) / (high - low), 0, 1) * (large - 1)).round().astype(int)
    points[1, ..., 0] += int(large[0])
    frames = np.empty((keypoint.shape[1], size, size, 3), np.uint8)
    for frame in range(len(frames)):
        sheet = Image.new("RGB", (size * _FINE, size * _FINE), COURT)
        draw = ImageDraw.Draw(sheet)
        for person, colour in enumerate(PLAYERS):
            _draw_person(draw, points[person, frame], score[person, frame] > 0, colour)
        frames[frame] = np.asarray(sheet.reduce(_FINE))
    return frames


def _draw_person(
    draw: ImageDraw.ImageDraw,
    points: NDArray[np.int_],
    there: NDArray[np.bool_],
    colour: tuple[int, int, int],
) -> None:
    places = [(x, y) for x, y in points.tolist()]
    for start, end in LIMBS:
        if there[start] and there[end]:
            draw.line((places[start], places[end]), fill=colour, width=_FINE)
    if there[0]:
        x, y = places[0]
        draw.ellipse((x - _FINE, y - _FINE, x + _FINE, y + _FINE), fill=colour)
