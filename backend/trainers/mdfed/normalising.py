"""Skeletons as the network takes them: a person at the origin, of height 1 (specs/mdfed.md, 2.2).

Where a person stands, and how large they are in the image, goes beside the joints: without it the
far and the near player of a court are the same.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backend.datasets.spotting.records import Skeleton
from backend.datasets.spotting.skeletons import body_height

FASTEST = 3.0
"""Of a joint, in body heights per frame; an outlier is faster."""
_HIPS, _SHOULDERS = (11, 12), (5, 6)

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Pose(NamedTuple):
    """``joints`` float32 (T, 2, 17, 5): x, y, velocity x, y, score; ``roots`` (T, 2, 4): centre x,
    y and height as shares of the image, presence. Zero where missing."""

    joints: Floats
    roots: Floats


def normalise(skeleton: Skeleton) -> Pose:
    """Joints relative to mid-hip (mid-shoulder without hips), over the clip's median height.

    A person without both hips and both shoulders in a frame is absent in it. Velocity is the way
    since the frame before, 0 if the joint was missing in either. NaN stays NaN.
    """
    keypoint, score = skeleton.keypoint, skeleton.score
    centre, present = _centres(keypoint, score != 0)
    present &= np.array(skeleton.present)[:, None]
    heights = _heights(keypoint, score)
    there = (score != 0) & present[..., None]
    place = (keypoint - centre[:, :, None]) / heights[:, None, None, None]
    place = np.where(there[..., None], place, np.float32(0))
    joints = np.concatenate(
        [place, _velocity(place, there), np.where(there, score, 0)[..., None]], axis=-1
    )
    high, wide = skeleton.image
    size = np.broadcast_to(heights[:, None, None] / high, (*present.shape, 1))
    roots = np.concatenate(
        [centre / np.array([wide, high]), size, np.ones((*present.shape, 1))], axis=-1
    )
    roots = np.where(present[..., None], roots, 0)
    return Pose(_by_frame(joints), _by_frame(roots))


def _centres(keypoint: Floats, there: Bools) -> tuple[Floats, Bools]:
    """Of each person and frame (2, T, 2), and whether there is one (2, T)."""
    hips, shoulders = (there[:, :, a] & there[:, :, b] for a, b in (_HIPS, _SHOULDERS))
    middle, upper = keypoint[:, :, _HIPS].mean(axis=2), keypoint[:, :, _SHOULDERS].mean(axis=2)
    return np.where(hips[..., np.newaxis], middle, upper), hips | shoulders


def _heights(keypoint: Floats, score: Floats) -> Floats:
    """In pixels, at least one; of a person whose nose or ankles were never seen, the median extent
    of the joints that were."""
    heights = body_height(keypoint, score)
    for person in np.flatnonzero(heights == 0):
        there = score[person] != 0
        seen = there.any(axis=1)
        if seen.any():
            rows, mask = keypoint[person, seen, :, 1], there[seen]
            low = rows.min(axis=1, where=mask, initial=np.inf)
            high = rows.max(axis=1, where=mask, initial=-np.inf)
            heights[person] = np.median(high - low)
    return np.maximum(heights, np.float32(1))


def _velocity(place: Floats, there: Bools) -> Floats:
    moved = np.zeros_like(place)
    moved[:, 1:] = np.clip(np.diff(place, axis=1), -FASTEST, FASTEST)
    moved[:, 1:] *= (there[:, 1:] & there[:, :-1])[..., None]
    return moved


def _by_frame(values: NDArray[np.floating]) -> Floats:
    """Frames before persons."""
    return np.ascontiguousarray(values.swapaxes(0, 1), np.float32)
