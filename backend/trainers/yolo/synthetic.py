"""Ultralytics' dataset with made images behind the real ones.

The indices from the number of real images on stand for made ones, each made anew whenever it is
asked for, also as a part of a mosaic or mixup. ``labels``, ``im_files`` and caches are those of
the real images only.
"""

import random
from collections.abc import Iterable
from typing import Any

import numpy as np

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.datasets.pasting import Pasting

from ultralytics.data.dataset import YOLODataset  # isort: skip


class PastedDataset(YOLODataset):
    """``closed``: every index gives a real image, each as often as the others (within one), and
    the length stays. The global ``random`` decides what is made, so that the engine's seed of an
    epoch does."""

    def __init__(self, pasting: Pasting, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.closed = False
        self._composer = pasting.composer
        self._made = pasting.made(self.ni)
        if self.cache != "ram":  # places that the mosaic's buffer empties, as those of real ones
            for kept in (self.ims, self.im_hw0, self.im_hw):
                kept.extend([None] * self._made)
        self.max_buffer_length = min(len(self), self.batch_size * 8, 1000)

    def __len__(self) -> int:
        return int(self.ni + getattr(self, "_made", 0))

    def get_image_and_label(self, index: int) -> dict[str, Any]:
        if index < self.ni or self.closed:
            return dict(super().get_image_and_label(index % self.ni))
        self.remember(index)
        return dict(self.update_labels_info(self._label(index)))

    def remember(self, index: int) -> None:
        """Mosaics are made of what was seen last: made images take part as real ones do."""
        if self.cache == "ram" or index in self.buffer:
            return
        self.buffer.append(index)
        if 1 < len(self.buffer) >= self.max_buffer_length:
            old = self.buffer.pop(0)
            self.ims[old], self.im_hw0[old], self.im_hw[old] = None, None, None

    def _label(self, index: int) -> dict[str, Any]:
        made = self._composer.make(np.random.default_rng(random.getrandbits(64)))
        side = self._composer.side
        corners = made.boxes.astype(np.float32) / side
        centres = (corners[:, :2] + corners[:, 2:]) / 2
        return {
            "im_file": f"made {index - self.ni}",
            "cls": made.labels.astype(np.float32).reshape(-1, 1),
            "bboxes": np.hstack([centres, corners[:, 2:] - corners[:, :2]]),
            "segments": [],
            "keypoints": None,
            "normalized": True,
            "bbox_format": "xywh",
            "img": np.ascontiguousarray(made.image[..., ::-1]),  # BGR
            "ori_shape": (side, side),
            "resized_shape": (side, side),
            "ratio_pad": (1.0, 1.0),
        }


def refill(dataset: YOLODataset, buffer: Iterable[int]) -> None:
    """Load what the mosaic's buffer held when the run was interrupted, as far as it is still
    there: the data may have changed since."""
    for index in (index for index in buffer if index < len(dataset)):
        if isinstance(dataset, PastedDataset) and index >= dataset.ni:
            dataset.remember(index)
        else:
            dataset.load_image(index)
