"""What the network says at points, as scored segments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backend.scoring.evidence import Floats
from backend.scoring.temporal.soft_nms import Detections
from backend.trainers.adatad.model.points import Outputs

ToSeconds = Callable[[Floats], Floats]
"""Positions (n, 2), counted from a window's start, as seconds of its video, clipped to it."""


@dataclass(frozen=True)
class Keeping:
    """What of a window is kept before windows are merged: scores above ``min_score``, of points
    and classes the best ``top_k``."""

    min_score: float = 0.001
    top_k: int = 2000


@torch.no_grad()
def decode(
    outputs: Outputs, to_seconds: Sequence[ToSeconds], keeping: Keeping = Keeping()
) -> list[Detections]:
    """The segments of each window in seconds, best first; padding gives none.

    As in the reference, they are clipped to the video before windows are merged; what is empty
    then is dropped. Equal scores stay in the order of points and classes.
    """
    scores = outputs.logits.sigmoid().masked_fill(~outputs.valid[..., None], 0)
    windows = zip(scores.cpu(), outputs.segments.cpu(), to_seconds, strict=True)
    return [_window(score, segments, clock, keeping) for score, segments, clock in windows]


def _window(
    scores: Tensor, segments: Tensor, to_seconds: ToSeconds, keeping: Keeping
) -> Detections:
    order = scores.flatten().sort(descending=True, stable=True)
    number = min(int((order.values > keeping.min_score).sum()), keeping.top_k)
    best, classes = order.indices[:number], scores.shape[1]
    found = Detections(
        segments=to_seconds(segments[best // classes].double().numpy()),
        scores=order.values[:number].double().numpy(),
        labels=(best % classes).numpy(),
    )
    return found.taken((found.segments[:, 1] > found.segments[:, 0]).nonzero()[0])
