"""Predictions and ground truth of a split as COCO files, the evidence behind every score."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import backend.trainers.yolo.hermetic  # noqa: F401 (must come before ultralytics)
from backend.core.errors import DataError
from backend.nn.finetune.weights import write_bytes
from backend.scoring.detection.class_names import matched
from backend.trainers.yolo.dataset import Example, Split
from backend.trainers.yolo.predictor import Boxes, Detector, Image, Settings

from ultralytics.utils.patches import imread  # isort: skip

CHUNK = 64
"""Decoded images held at a time."""


@dataclass(frozen=True)
class Classes:
    """The checkpoint's classes in the dataset's terms, joined by name.

    ``index`` is the dataset's class for each of the checkpoint's (None: the dataset has none);
    ``unknown`` are the dataset's classes that the checkpoint cannot predict.
    """

    index: tuple[int | None, ...]
    unknown: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the join means for the scores."""
        notes = []
        if self.unknown:
            notes.append(
                f"The checkpoint does not know {', '.join(self.unknown)}: none of them is found."
            )
        if self.extra:
            notes.append(
                f"The dataset does not have {', '.join(self.extra)}: such predictions are dropped."
            )
        return tuple(notes)


def join_classes(checkpoint: Sequence[str], split: Split) -> Classes:
    """Match classes by name. Raises DataError if none is common."""
    index = matched(checkpoint, split.names)
    if all(place is None for place in index):
        raise DataError(
            f"{split.data}: none of its classes ({_some(split.names)}) is known to the checkpoint "
            f"({_some(checkpoint)}), so there is nothing to score"
        )
    known = set(index)
    return Classes(
        index=index,
        unknown=tuple(n for number, n in enumerate(split.names) if number not in known),
        extra=tuple(n for n, place in zip(checkpoint, index, strict=True) if place is None),
    )


def capture(
    detector: Detector, split: Split, classes: Classes, settings: Settings
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """COCO ground truth and COCO results of one split.

    Image ids are 1, 2, … in order of name, category ids 1, 2, … in the dataset's order;
    ``path`` tells where an image lies, so that it can be shown.
    """
    images: list[dict[str, object]] = []
    truths: list[dict[str, object]] = []
    results: list[dict[str, object]] = []
    for start in range(0, len(split.examples), CHUNK):
        chunk = split.examples[start : start + CHUNK]
        pixels = [read_image(example) for example in chunk]
        found = detector.detect(pixels, settings)
        for number, (example, image, boxes) in enumerate(
            zip(chunk, pixels, found, strict=True), start=start + 1
        ):
            height, width = image.shape[:2]
            size = {"width": width, "height": height}
            where = {"file_name": example.name, "path": str(example.image)}
            images.append({"id": number, **where, **size})
            truths.extend(_truths(example, number, (width, height), len(truths) + 1))
            results.extend(_results(boxes, number, classes))
    categories = [{"id": n, "name": name} for n, name in enumerate(split.names, start=1)]
    truth: dict[str, object] = {"images": images, "annotations": truths, "categories": categories}
    return truth, results


def write_json(path: Path, data: object) -> None:
    """The whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, json.dumps(data, allow_nan=False).encode())


def read_image(example: Example) -> Image:
    """Its pixels, RGB. Raises DataError."""
    pixels = imread(str(example.image))
    if pixels is None:
        raise DataError(f"{example.image}: cannot be decoded")
    return np.ascontiguousarray(pixels[:, :, ::-1])


def _truths(
    example: Example, image: int, size: tuple[int, int], first: int
) -> Iterator[dict[str, object]]:
    width, height = size
    for number, (label, x, y, w, h) in enumerate(example.labels.rows, start=first):
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        yield {
            "id": number,
            "image_id": image,
            "category_id": label + 1,
            "bbox": [round(value, 4) for value in box],
            "area": round(box[2] * box[3], 4),
            "iscrowd": 0,
        }


def _results(boxes: Boxes, image: int, classes: Classes) -> Iterator[dict[str, object]]:
    for corners, score, label in zip(boxes.corners, boxes.scores, boxes.labels, strict=True):
        place = classes.index[label]
        if place is None:
            continue
        left, top, right, bottom = (float(value) for value in corners)
        yield {
            "image_id": image,
            "category_id": place + 1,
            "bbox": [round(v, 4) for v in (left, top, right - left, bottom - top)],
            "score": float(score),
        }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
