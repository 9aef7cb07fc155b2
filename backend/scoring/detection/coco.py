"""COCO files, read and checked before pycocotools sees them.

pycocotools answers a wrong file with a wrong number or a traceback: an annotation whose id is
0 never counts as found, an empty list of results is an IndexError, a NaN is matched at random.
So each box is checked here and handed on with a number of our own.
"""

import hashlib
import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from backend.core.errors import DataError
from backend.scoring.json_files import is_number, read_json

CocoDict = Mapping[str, object]
ImageId = int | str
Row = tuple[int, int, tuple[float, float, float, float], float, bool, float]


@dataclass(frozen=True)
class Boxes:
    """Boxes, each at the same place in every array.

    ``images`` and ``labels`` are positions in the sorted images and classes; ``corners`` holds
    x, y, width, height in pixels. ``scores`` is 1 for ground truth.
    """

    images: NDArray[np.int32]
    labels: NDArray[np.int32]
    corners: NDArray[np.float64]
    areas: NDArray[np.float64]
    crowds: NDArray[np.bool_]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Self:
        """Rows of image, label, corners, area, crowd and score."""
        images, labels, corners, areas, crowds, scores = list(zip(*rows, strict=True)) or [()] * 6
        return cls(
            np.array(images, dtype=np.int32),
            np.array(labels, dtype=np.int32),
            np.array(corners, dtype=np.float64).reshape(-1, 4),
            np.array(areas, dtype=np.float64),
            np.array(crowds, dtype=np.bool_),
            np.array(scores, dtype=np.float64),
        )


@dataclass(frozen=True)
class Truth:
    """Checked ground truth. Images and classes are sorted by id, as pycocotools sorts them."""

    image_ids: tuple[ImageId, ...]
    class_ids: tuple[int, ...]
    names: tuple[str, ...]
    boxes: Boxes

    @property
    def digest(self) -> str:
        """Sha256 over images, classes and boxes, in whatever order they were listed."""
        boxes = self.boxes
        table = np.column_stack(
            [boxes.images, boxes.labels, boxes.corners, boxes.areas, boxes.crowds]
        )
        table = table[np.lexsort(table.T)] + 0.0  # no negative zeros
        names = json.dumps([[str(key) for key in self.image_ids], self.names])
        return hashlib.sha256(names.encode() + table.tobytes()).hexdigest()


def load_ground_truth(path: Path) -> dict[str, Any]:
    """The COCO ground truth in a JSON file. Raises DataError."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: expected COCO ground truth, an object with images, annotations "
            "and categories"
        )
    return data


def load_predictions(path: Path) -> list[dict[str, Any]]:
    """The COCO results in a JSON file. Raises DataError."""
    data = read_json(path)
    if not isinstance(data, list):
        raise DataError(
            f"{path}: expected COCO results, a list of boxes with image_id, category_id, "
            "bbox and score"
        )
    return data


def check_ground_truth(ground_truth: CocoDict) -> Truth:
    """Ground truth as numbers that can be scored.

    Raises DataError for a missing part, no images, no categories, ids or class names that
    occur twice, boxes of unknown images or categories, and boxes that are not finite or have
    a negative size. Images without boxes are kept: what is found there is a false positive.
    """
    if not isinstance(ground_truth, Mapping):
        raise DataError("ground truth: expected an object with images, annotations and categories")
    images = _ids(_part(ground_truth, "images"), "image")
    classes = _ids(_part(ground_truth, "categories"), "category")
    if not images:
        raise DataError("ground truth: it lists no images, so there is nothing to score")
    if not classes:
        raise DataError("ground truth: it lists no categories, so there is nothing to score")
    class_ids = sorted(_whole(key, "category") for key in classes)
    image_ids = sorted(images, key=lambda key: (isinstance(key, str), key))
    _check_distinct(image_ids)
    image_at = {key: position for position, key in enumerate(image_ids)}
    class_at = {key: position for position, key in enumerate(class_ids)}
    annotations = _part(ground_truth, "annotations")
    _ids(annotations, "annotation")
    return Truth(
        image_ids=tuple(image_ids),
        class_ids=tuple(class_ids),
        names=_names([classes[key] for key in class_ids]),
        boxes=Boxes.of(_truth_row(item, image_at, class_at) for item in annotations),
    )


def check_predictions(predictions: Sequence[CocoDict], truth: Truth) -> Boxes:
    """Predictions as numbers that can be scored, in their order. Raises DataError."""
    if isinstance(predictions, str | Mapping) or not isinstance(predictions, Sequence):
        raise DataError(
            "predictions: expected a list of boxes with image_id, category_id, bbox and score"
        )
    image_at = {key: position for position, key in enumerate(truth.image_ids)}
    class_at = {key: position for position, key in enumerate(truth.class_ids)}
    return Boxes.of(
        _predicted_row(item, f"predictions: entry {number}", image_at, class_at)
        for number, item in enumerate(predictions, start=1)
    )


def _part(ground_truth: CocoDict, key: str) -> list[CocoDict]:
    part = ground_truth.get(key)
    if not isinstance(part, list) or not all(isinstance(item, Mapping) for item in part):
        raise DataError(f"ground truth: '{key}' must be a list of objects; is this a COCO file?")
    return part


def _ids(items: Sequence[CocoDict], what: str) -> dict[ImageId, CocoDict]:
    found: dict[ImageId, CocoDict] = {}
    for number, item in enumerate(items, start=1):
        key = item.get("id")
        if isinstance(key, bool) or not isinstance(key, Integral | str):
            raise DataError(
                f"ground truth: {what} {number} has the id {key!r}; expected a number or a name"
            )
        key = key if isinstance(key, str) else int(key)
        if key in found:
            raise DataError(f"ground truth: two {_PLURAL[what]} have the id {key!r}")
        found[key] = item
    return found


_PLURAL = {"image": "images", "category": "categories", "annotation": "annotations"}


def _check_distinct(image_ids: Sequence[ImageId]) -> None:
    numbers = {str(key) for key in image_ids if isinstance(key, int)}
    for key in image_ids:
        if isinstance(key, str) and key in numbers:
            raise DataError(
                f"ground truth: two images have the id {key}, once a number and once a text"
            )


def _whole(key: ImageId, what: str) -> int:
    if not isinstance(key, int):
        raise DataError(f"ground truth: {what} id {key!r} is not a whole number")
    return key


def _names(categories: Sequence[CocoDict]) -> tuple[str, ...]:
    names = tuple(str(item.get("name", item["id"])) for item in categories)
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"ground truth: two categories are called '{name}'")
    return names


def _truth_row(
    item: CocoDict, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> Row:
    where = f"ground truth: annotation {item['id']!r}"
    image, label = _place(item, where, image_at, class_at)
    bbox = _bbox(item, where)
    area = _number(item.get("area", bbox[2] * bbox[3]), f"{where}: area")
    if area < 0:
        raise DataError(f"{where}: area {area:g} is negative")
    return image, label, bbox, area, bool(item.get("iscrowd", 0)), 1.0


def _predicted_row(
    item: object, where: str, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> Row:
    if not isinstance(item, Mapping):
        raise DataError(f"{where}: expected an object with image_id, category_id, bbox and score")
    image, label = _place(item, where, image_at, class_at)
    bbox = _bbox(item, where)
    score = _number(item.get("score"), f"{where}: score")
    return image, label, bbox, bbox[2] * bbox[3], False, score


def _place(
    item: CocoDict, where: str, image_at: Mapping[ImageId, int], class_at: Mapping[int, int]
) -> tuple[int, int]:
    image, label = item.get("image_id"), item.get("category_id")
    if not isinstance(image, int | str | Integral) or image not in image_at:
        raise DataError(f"{where}: image_id {image!r} is not an image of the ground truth")
    if not isinstance(label, int | Integral) or label not in class_at:
        raise DataError(
            f"{where}: category_id {reprlib.repr(label)} is not a category of the ground truth"
        )
    return image_at[image if isinstance(image, str) else int(image)], class_at[int(label)]


def _bbox(item: CocoDict, where: str) -> tuple[float, float, float, float]:
    raw = item.get("bbox")
    if not isinstance(raw, list | tuple | np.ndarray) or len(raw) != 4:
        raise DataError(f"{where}: bbox is {reprlib.repr(raw)}; expected [x, y, width, height]")
    wrong = [value for value in raw if not is_number(value)]
    if wrong:
        shown = reprlib.repr(list(raw))
        raise DataError(f"{where}: bbox {shown}: {reprlib.repr(wrong[0])} is not a finite number")
    x, y, width, height = map(float, raw)
    if width < 0 or height < 0:
        shown = reprlib.repr(list(raw))
        raise DataError(
            f"{where}: bbox {shown} has a negative size; expected [x, y, width, height]"
        )
    return x, y, width, height


def _number(value: object, where: str) -> float:
    if not is_number(value):
        raise DataError(f"{where}: {reprlib.repr(value)} is not a finite number")
    return float(value)
