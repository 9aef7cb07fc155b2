"""What the network is trained on."""

from typing import NamedTuple

from torch import Tensor

from backend.nn.moe.class_losses import Target


class Batch(NamedTuple):
    """B images of one size: ``images`` [B, 3, H, W], float 0..1, no mean or deviation taken off.

    ``targets`` have ``class_labels`` [T] (int64), ``boxes`` [T, 4] (cx, cy, w, h in 0..1) and
    ``areas`` [T] in pixels of the original image. ``prompts`` is one text per image in stage 2,
    ``names`` what the images are called.
    """

    images: Tensor
    targets: list[Target]
    prompts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
