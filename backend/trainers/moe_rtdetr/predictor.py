"""A checkpoint that answers: images in, boxes out."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from backend.core.trainer import Detection
from backend.trainers.moe_rtdetr.answers import answers
from backend.trainers.moe_rtdetr.data import as_tensor
from backend.trainers.moe_rtdetr.evaluation import Ask
from backend.trainers.moe_rtdetr.learner import Learner


class MoePredictor:
    """The boxes of RGB images, of what ``ask.prompt`` asks for if the model has a gate."""

    def __init__(self, learner: Learner, classes: Sequence[str], ask: Ask) -> None:
        self._learner = learner.eval()
        self._classes = tuple(classes)
        self._ask = ask

    @torch.no_grad()
    def predict(
        self, images: Sequence[NDArray[np.uint8]], conf: float = 0.25
    ) -> list[list[Detection]]:
        """Boxes with a score of at least ``conf``, the surest first.

        Raises ValueError for anything but uint8 images (height, width, 3).
        """
        found: list[list[Detection]] = []
        for start in range(0, len(images), self._ask.batch):
            found.extend(self._some(images[start : start + self._ask.batch], conf))
        return found

    def _some(self, images: Sequence[NDArray[np.uint8]], conf: float) -> list[list[Detection]]:
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(
                    f"expected a uint8 image (height, width, 3), got {image.dtype} {image.shape}"
                )
        device = next(self._learner.parameters()).device
        size = self._ask.image_size
        stacked = torch.stack([as_tensor(Image.fromarray(image), size) for image in images])
        gate = self._learner.gate(self._ask.prompt, len(images))
        output = self._learner.network(stacked.to(device).float() / 255, gate=gate)
        sizes = [(image.shape[0], image.shape[1]) for image in images]
        return [
            [
                Detection(
                    box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                    score=float(score),
                    label=self._classes[label],
                )
                for box, score, label in zip(
                    boxes.corners, boxes.scores, boxes.labels, strict=True
                )
            ]
            for boxes in answers(output.layers[-1], sizes, self._ask.most, conf)
        ]
