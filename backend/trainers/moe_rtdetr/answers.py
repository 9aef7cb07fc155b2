"""From the last layer's queries to boxes in an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from backend.trainers.moe_rtdetr.model.outputs import Predicted

THINNEST = 1e-3
"""Pixels: what is thinner after it is cut off at the image's edge is no box."""


@dataclass(frozen=True)
class Boxes:
    """Of one image, the surest first: ``corners`` (n, 4) left, top, right, bottom in its
    pixels, ``scores`` (n), ``labels`` (n) class indices."""

    corners: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


def answers(
    predicted: Predicted, sizes: Sequence[tuple[int, int]], most: int, conf: float
) -> list[Boxes]:
    """The ``most`` surest pairs of query and class of each image, from score ``conf`` on.

    ``sizes`` are height and width in pixels. No suppression: RT-DETR answers once per object.
    Boxes are cut off at the image's edges; what has no area left is dropped.
    """
    classes = predicted.logits.shape[-1]
    scores = predicted.logits.float().sigmoid().flatten(1)
    best, place = scores.topk(min(most, scores.shape[1]))
    query = (place // classes).unsqueeze(-1).expand(-1, -1, 4)
    centres = predicted.boxes.float().gather(1, query)
    half = centres[..., 2:] / 2
    corners = torch.cat([centres[..., :2] - half, centres[..., :2] + half], -1).clamp(0, 1)
    found = zip(corners.cpu(), best.cpu(), (place % classes).cpu(), sizes, strict=True)
    return [_kept(*one, conf) for one in found]


def _kept(
    corners: torch.Tensor,
    scores: torch.Tensor,
    labels: torch.Tensor,
    size: tuple[int, int],
    conf: float,
) -> Boxes:
    height, width = size
    pixels = corners.double().numpy() * (width, height, width, height)
    real = ((pixels[:, 2:] - pixels[:, :2]) >= THINNEST).all(axis=1) & (scores.numpy() >= conf)
    return Boxes(pixels[real], scores.double().numpy()[real], labels.numpy()[real])
