"""Images in, boxes out: the same code serves a model and scores it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.trainer import Detection

from ultralytics.utils.nms import non_max_suppression  # isort: skip

Image = NDArray[np.uint8]
GREY = (114, 114, 114)
NO_LIMIT = 1e9
"""Seconds per image for non-maximum suppression: Ultralytics gives up on a busy machine after
2 s and silently drops boxes, which would make scores depend on the load."""


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image: corners in its pixels (n, 4), scores (n), class indices (n)."""

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """What decides which boxes come out. ``multi``: one place may be given several classes,
    as COCO scoring wants it. ``square``: each image is framed to imgsz x imgsz."""

    imgsz: int
    conf: float
    iou: float
    max_det: int
    multi: bool = True
    square: bool = False


@dataclass(frozen=True)
class Framed:
    """An image scaled and padded for the network: ``pixels`` (3, height, width)."""

    pixels: NDArray[np.uint8]
    scale: float
    left: int
    top: int
    size: tuple[int, int]

    def undo(self, corners: torch.Tensor) -> NDArray[np.float32]:
        """Corners in the original image's pixels, cut off at its edges."""
        height, width = self.size
        points = corners.clone()
        points[:, 0::2] = ((points[:, 0::2] - self.left) / self.scale).clamp(0, width)
        points[:, 1::2] = ((points[:, 1::2] - self.top) / self.scale).clamp(0, height)
        return points.cpu().numpy().astype(np.float32)


class Detector:
    """A network that is asked for boxes. Images are RGB, uint8, (height, width, 3)."""

    def __init__(self, network: Any, device: torch.device, batch: int = 16) -> None:
        self._network = network.to(device).eval()
        self._device = device
        self._batch = batch
        self._stride = max(int(network.stride.max()), 32)

    def detect(self, images: Sequence[Image], settings: Settings) -> Iterator[Boxes]:
        """The boxes of each image, in order; neighbours of one shape share a batch."""
        framed = (frame(image, settings.imgsz, self._stride, settings.square) for image in images)
        for _, same in groupby(framed, key=lambda item: item.pixels.shape):
            for batch in _batches(list(same), self._batch):
                yield from self._run(batch, settings)

    @torch.inference_mode()
    def _run(self, batch: Sequence[Framed], settings: Settings) -> Iterator[Boxes]:
        stacked = torch.from_numpy(np.stack([item.pixels for item in batch]))
        output = self._network(stacked.to(self._device).float() / 255)
        found = non_max_suppression(
            output,
            settings.conf,
            settings.iou,
            multi_label=settings.multi,
            max_det=settings.max_det,
            nc=len(self._network.names),
            max_time_img=NO_LIMIT,
        )
        return iter(
            [
                Boxes(
                    corners=item.undo(rows[:, :4]),
                    scores=rows[:, 4].cpu().numpy(),
                    labels=rows[:, 5].cpu().numpy().astype(np.int64),
                )
                for item, rows in zip(batch, found, strict=True)
            ]
        )


class YoloPredictor:
    """A checkpoint that answers."""

    def __init__(self, detector: Detector, names: Sequence[str], settings: Settings) -> None:
        self._detector = detector
        self._names = tuple(names)
        self._settings = settings

    def predict(self, images: Sequence[Image], conf: float = 0.25) -> list[list[Detection]]:
        """Boxes with a score above ``conf``, the surest first, for each RGB image."""
        wanted = Settings(
            imgsz=self._settings.imgsz,
            conf=conf,
            iou=self._settings.iou,
            max_det=self._settings.max_det,
            multi=False,
        )
        return [self._detections(boxes) for boxes in self._detector.detect(images, wanted)]

    def _detections(self, boxes: Boxes) -> list[Detection]:
        return [
            Detection(
                box=(float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3])),
                score=float(score),
                label=self._names[label],
            )
            for corners, score, label in zip(
                boxes.corners, boxes.scores, boxes.labels, strict=True
            )
        ]


def frame(image: Image, imgsz: int, stride: int, square: bool = False) -> Framed:
    """Scale the longer edge to ``imgsz`` and pad both with grey to multiples of ``stride``.

    The border is at least half a stride in sum, as in Ultralytics' validation, so that scores
    here and during training agree. ``square``: to ``imgsz`` x ``imgsz``, as a graph of fixed shape
    takes it. Raises ValueError for anything but (height, width, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(
            f"expected a uint8 image (height, width, 3), got {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    scale = imgsz / max(height, width)
    new_width, new_height = max(round(width * scale), 1), max(round(height * scale), 1)
    scaled = image
    if (new_height, new_width) != (height, width):
        scaled = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    across, down = (
        (imgsz if square else math.ceil(side / stride + 0.5) * stride) - side
        for side in (new_width, new_height)
    )
    left, top = across // 2, down // 2
    padded = cv2.copyMakeBorder(
        scaled, top, down - top, left, across - left, cv2.BORDER_CONSTANT, value=GREY
    )
    pixels = np.ascontiguousarray(padded.transpose(2, 0, 1))
    return Framed(pixels, scale, left, top, (height, width))


def _batches(items: list[Framed], size: int) -> Iterator[list[Framed]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
