"""Frames as RT-DETR takes them: resized to one size without keeping their shape, boxes with them.

Randomness is that of ``random``, which the Runner seeds for each sample.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from backend.core.errors import DataError
from backend.datasets.detection import DetectionSplit, Frame
from backend.datasets.recolouring import recolouring
from backend.nn.moe.class_losses import Target
from backend.trainers.moe_rtdetr.model.batch import Batch
from backend.trainers.moe_rtdetr.spec import AugmentConfig

GREY = (114, 114, 114)  # beside a frame that was zoomed out
VISIBLE = 0.25
"""The least share of an object that must remain in a zoomed frame for it to stay a target."""
HUE = 0.1
"""The share of the colour circle that ``hsv: 1`` may turn hues by; more makes other objects."""
THREADS = 4

_BILINEAR = Image.Resampling.BILINEAR


class Sample(NamedTuple):
    """A frame at the size of the network: ``image`` [3, H, W], uint8, and its target."""

    image: Tensor
    target: Target
    name: str = ""


class Place(NamedTuple):
    """Where a whole frame lies in the picture: left, top, width and height in its pixels; a
    part may lie outside."""

    left: int
    top: int
    width: int
    height: int


class Frames:
    """A split as samples, read from disk each time. ``image_size`` is height and width."""

    def __init__(
        self,
        split: DetectionSplit,
        image_size: tuple[int, int],
        augment: AugmentConfig | None = None,
    ) -> None:
        self._frames = split.frames
        self._size = image_size
        self._augment = augment

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        """A sample; augmented, if that was asked for. Raises DataError for an unreadable image."""
        frame, augment = self._frames[index], self._augment
        image = read_image(frame)
        if augment is None:
            place = Place(0, 0, self._size[1], self._size[0])
            return _sample(_resized(image, self._size), frame, place, self._size)
        place = _zoomed(self._size, augment.scale)
        picture = _recoloured(_placed(image, place, self._size), augment.hsv)
        sample = _sample(picture, frame, place, self._size)
        return _mirrored(sample) if random.random() < augment.fliplr else sample

    def target(self, index: int) -> Target:
        """What is to be found in an image as it is, without reading it."""
        place = Place(0, 0, self._size[1], self._size[0])
        return _target(self._frames[index], place, self._size)


def collate(samples: Sequence[Sample]) -> Batch:
    """A batch of samples of one size."""
    images = torch.stack([sample.image for sample in samples])
    targets = [sample.target for sample in samples]
    return Batch(images.float() / 255, targets, names=tuple(s.name for s in samples))


def batches(
    split: DetectionSplit, image_size: tuple[int, int], batch: int
) -> Iterator[tuple[Batch, list[Frame]]]:
    """The frames of a split in order, as they are; the next batch is read meanwhile."""
    frames = Frames(split, image_size)
    with ThreadPoolExecutor(THREADS) as pool:
        indices = iter(range(len(frames)))
        ahead = [pool.submit(frames.__getitem__, i) for i in islice(indices, batch)]
        for start in range(0, len(frames), batch):
            samples = [sample.result() for sample in ahead]
            ahead = [pool.submit(frames.__getitem__, i) for i in islice(indices, batch)]
            yield collate(samples), list(split.frames[start : start + batch])


def read_image(frame: Frame) -> Image.Image:
    """The image as it is shown, in RGB. Raises DataError if it is not what it was."""
    try:
        with Image.open(frame.path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{frame.path}: cannot be read any more ({error})") from None
    if image.size != (frame.width, frame.height):
        raise DataError(
            f"{frame.path}: is {image.width} x {image.height} now and was "
            f"{frame.width} x {frame.height} when the dataset was read; start again"
        )
    return image


def as_tensor(image: Image.Image, size: tuple[int, int]) -> Tensor:
    """An RGB image as the network takes it: [3, H, W], uint8, of this height and width."""
    return _pixels(_resized(image, size))


def _pixels(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize((size[1], size[0]), _BILINEAR)


def _zoomed(size: tuple[int, int], scale: float) -> Place:
    """A random zoom by at most ``scale``, in or out, at a random place."""
    height, width = size
    factor = random.uniform(1 - scale, 1 + scale)
    wide, high = max(round(width * factor), 1), max(round(height * factor), 1)
    left, top = (round(random.random() * free) for free in (width - wide, height - high))
    return Place(left, top, wide, high)


def _placed(image: Image.Image, place: Place, size: tuple[int, int]) -> Image.Image:
    """The frame at its place: cut where it reaches out, grey where it does not reach."""
    height, width = size
    left, top = max(place.left, 0), max(place.top, 0)
    right = min(place.left + place.width, width)
    bottom = min(place.top + place.height, height)
    across, down = image.width / place.width, image.height / place.height
    cut = ((left - place.left) * across, (top - place.top) * down,
           (right - place.left) * across, (bottom - place.top) * down)  # fmt: skip
    part = image.resize((right - left, bottom - top), _BILINEAR, box=cut)
    if part.size == (width, height):
        return part
    sheet = Image.new("RGB", (width, height), GREY)
    sheet.paste(part, (left, top))
    return sheet


def _recoloured(image: Image.Image, most: float) -> Image.Image:
    """Saturation and brightness times 1 +- ``most``, hues turned by a share of it."""
    if not most:
        return image
    turn = random.uniform(-most, most) * HUE
    saturation, brightness = (random.uniform(1 - most, 1 + most) for _ in range(2))
    matrix = recolouring(turn, saturation, brightness)
    with_offsets = np.column_stack([matrix, np.zeros(3)])
    return image.convert("RGB", matrix=tuple(with_offsets.ravel().tolist()))


def _sample(picture: Image.Image, frame: Frame, place: Place, size: tuple[int, int]) -> Sample:
    """The picture with the objects that are still seen in it."""
    return Sample(_pixels(picture), _target(frame, place, size), frame.name)


def _target(frame: Frame, place: Place, size: tuple[int, int]) -> Target:
    height, width = size
    scale = np.array([place.width / frame.width, place.height / frame.height] * 2)
    moved = frame.boxes * scale + np.array([place.left, place.top] * 2)
    seen = np.clip(moved, 0, [width, height, width, height])
    kept = _area(seen) >= VISIBLE * _area(moved)
    seen = seen[kept]
    centres, sizes = (seen[:, :2] + seen[:, 2:]) / 2, seen[:, 2:] - seen[:, :2]
    boxes = np.concatenate([centres, sizes], axis=1) / [width, height, width, height]
    return {
        "class_labels": torch.from_numpy(frame.labels[kept]),
        "boxes": torch.from_numpy(boxes).float(),
        "areas": torch.from_numpy(_area(seen) / (scale[0] * scale[1])).float(),
    }


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return area


def _mirrored(sample: Sample) -> Sample:
    boxes = sample.target["boxes"].clone()
    boxes[:, 0] = 1 - boxes[:, 0]
    return Sample(sample.image.flip(2), {**sample.target, "boxes": boxes}, sample.name)
