"""Overlap of boxes given as left, top, width, height."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def iou(truth: Floats, predictions: Floats) -> Floats:
    """IoU of every pair, (true, predicted)."""
    return overlap(truth[:, None], predictions[None])


def overlap(boxes: Floats, others: Floats) -> Floats:
    """IoU of boxes (..., 4) with others that broadcast to them, in trackeval's arithmetic."""
    shared = area = other_area = np.ones(1)
    for low, size in ((0, 2), (1, 3)):
        start, end = boxes[..., low], boxes[..., low] + boxes[..., size]
        other, other_end = others[..., low], others[..., low] + others[..., size]
        sides = np.minimum(end, other_end) - np.maximum(start, other)
        shared = shared * np.maximum(sides, 0)
        area, other_area = area * (end - start), other_area * (other_end - other)
    union = area + other_area - shared
    return shared / np.where(shared > 0, union, 1)
